"""The file of packed weights: the same numbers, and never one that belongs to something else."""

import json
import shutil
import subprocess

import pytest

from runner.build import runner_program
from tests.packages import other_int4, tiny_int4  # noqa: F401 (fixtures)


def generate(package, *options):
    command = [str(runner_program()), "generate", str(package), "--ids", "1,2,3,4,5", "-n", "12", *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def ids(done):
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["id"] for line in done.stdout.splitlines()[:-1]]


def was_mapped(done):
    return "packed weights mapped" in done.stderr


@pytest.fixture
def package(tmp_path, tiny_int4):  # noqa: F811
    shutil.copytree(tiny_int4.package, tmp_path / "package")
    return tmp_path / "package"


def test_packed_weights_are_mapped_from_the_second_start_on_and_give_the_same_ids(package, tmp_path):
    file = tmp_path / "packed"
    plain, made, mapped = generate(package), *(generate(package, "--weights-cache", file) for _ in range(2))
    assert [was_mapped(done) for done in (plain, made, mapped)] == [False, False, True]
    assert ids(plain) == ids(made) == ids(mapped)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["package", "packed", "packed.key"]


@pytest.mark.parametrize("harm", ["flipped", "cut", "longer", "key", "no key", "other model", "touched"])
def test_a_file_that_is_not_exactly_the_models_is_made_again(package, tmp_path, harm, other_int4):  # noqa: F811
    file = tmp_path / "packed"
    wanted = ids(generate(package, "--weights-cache", file))
    data, key = file.read_bytes(), (tmp_path / "packed.key")
    if harm == "flipped":
        file.write_bytes(data[:5000] + bytes([data[5000] ^ 1]) + data[5001:])
    elif harm == "cut":
        file.write_bytes(data[: len(data) // 2])
    elif harm == "longer":
        file.write_bytes(data + b"\0" * 8)
    elif harm == "key":
        key.write_text("{")
    elif harm == "no key":
        key.unlink()
    elif harm == "touched":
        (package / "model.pte").touch()
    else:
        shutil.rmtree(package)
        shutil.copytree(other_int4.package, package)
        wanted = ids(generate(package))
    again, then = (generate(package, "--weights-cache", file) for _ in range(2))
    assert [was_mapped(again), was_mapped(then)] == [False, True]
    assert ids(again) == ids(then) == wanted


def test_a_place_that_cannot_be_written_is_said_before_any_work(package, tmp_path):
    for place, code, message in (
        (tmp_path, 2, "is a folder; name a file"),
        (tmp_path / "nowhere" / "packed", 4, "no room for packed weights in"),
        (tmp_path / ("x" * 250), 2, "XNNPACK takes 240"),
    ):
        done = generate(package, "--weights-cache", place)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert message in done.stderr
