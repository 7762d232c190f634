"""`pocketlm verify` through the command line: exit codes, what is printed, what is kept."""

import json
import shutil
from pathlib import Path

import pytest

from cli.main import main
from quant.checkpoint import load_quantized
from tests.export.changed_coreml import change_coreml, constants, flip_bytes, open_program
from tests.export.changed_package import change_program, find_weight, flip, place_of


@pytest.fixture
def say(capfd):
    """Runs a command line; gives its exit code, stdout and stderr."""

    def run(*argv) -> tuple[int, str, str]:
        code = main([*map(str, argv)])
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture
def forged(tiny_int4, tmp_path) -> Path:
    """A package with one code of its tied table changed, and every hash right."""
    pte, weight = find_weight(tiny_int4.package, load_quantized(tiny_int4.checkpoint)["embedding"].codes)
    return change_program(tiny_int4.package, tmp_path / "forged", flip(place_of(pte, weight.content), 1))


def test_an_equal_package_is_exit_code_0_and_a_certificate_on_stdout(say, tiny_int4):
    code, out, err = say("verify", tiny_int4.package, "--against", tiny_int4.checkpoint)
    assert code == 0, err
    assert out.startswith("package against quantized: bit for bit equal\n")
    assert "106,496 codes and 3,328 scales of 15 matrices" in out
    assert str(tiny_int4.package.parent) not in out  # a certificate holds no path of this machine


def test_the_certificate_is_kept_as_the_json_that_is_printed(say, tiny_int4, tmp_path):
    kept = tmp_path / "proofs" / "certificate.json"
    code, out, _ = say("verify", tiny_int4.package, "--against", tiny_int4.checkpoint, "--json", "-o", kept)
    assert code == 0
    assert json.loads(out) == json.loads(kept.read_text(encoding="utf-8"))
    assert json.loads(out)["equal"] is True
    again = ("verify", tiny_int4.package, "--against", tiny_int4.checkpoint, "-o", kept)
    code, _, err = say(*again)
    assert code == 1 and "--overwrite" in err
    assert say(*again, "--overwrite")[0] == 0


def test_a_changed_code_is_exit_code_3_in_one_line_that_names_the_layers_and_nothing_is_kept(
    say, tiny_int4, forged, tmp_path
):
    kept = tmp_path / "certificate.json"
    code, out, err = say("verify", forged, "--against", tiny_int4.checkpoint, "-o", kept)
    problem = "1 of 20480 codes differ, first at [0, 0]"
    assert code == 3 and not kept.exists()
    error = next(line for line in err.splitlines() if line.startswith("pocketlm: error: "))
    assert f"embedding: {problem}; head: {problem}" in error
    assert "NOT equal: 2 problems" in out
    code, out, _ = say("verify", forged, "--against", tiny_int4.checkpoint, "--json")
    data = json.loads(out)
    assert (code, data["equal"], len(data["problems"])) == (3, False, 2)


def test_a_hash_that_is_not_the_manifests_is_exit_code_3_and_names_the_file(say, tiny_int4, tmp_path):
    package = Path(shutil.copytree(tiny_int4.package, tmp_path / "package"))
    content = bytearray((package / "model.pte").read_bytes())
    content[-1] ^= 1
    (package / "model.pte").write_bytes(content)
    code, out, err = say("verify", package, "--against", tiny_int4.checkpoint)
    assert (code, out) == (3, "") and err.count("\n") == 1 and "model.pte is damaged" in err


def test_what_cannot_be_compared_is_one_line_and_exit_code_1(say, tiny_int4, other_int4, tmp_path):
    for package, checkpoint, words in (
        (tiny_int4.package, other_int4.checkpoint, "another model"),
        (tiny_int4.package, tmp_path, "checkpoint.json is missing"),
        (tiny_int4.checkpoint, tiny_int4.checkpoint, "it is a checkpoint"),
    ):
        code, out, err = say("verify", package, "--against", checkpoint)
        assert (code, out) == (1, "") and err.count("\n") == 1 and words in err
    assert say("verify", tiny_int4.package)[0] == 2


def test_a_certificate_never_replaces_what_it_is_about(say, tiny_int4):
    for place in (tiny_int4.package, tiny_int4.checkpoint, tiny_int4.package / "certificate.json"):
        code, _, err = say("verify", tiny_int4.package, "--against", tiny_int4.checkpoint, "-o", place, "--overwrite")
        assert code == 1 and err.count("\n") == 1
    assert not (tiny_int4.package / "certificate.json").exists()
    assert (tiny_int4.package / "model.pte").is_file()


def test_a_coreml_package_with_changed_bytes_inside_is_exit_code_3_and_names_the_layer(say, tiny_ane, tmp_path):
    file = open_program(tiny_ane.package)
    change = flip_bytes(file, constants(file).linears[0].content, 1)
    package = change_coreml(tiny_ane.package, tmp_path / "forged", change)
    code, _, err = say("verify", package, "--against", tiny_ane.checkpoint)
    assert code == 3 and "layers.0.attention.q_proj: 1 of 8192 codes differ" in err


def test_steps_bound_what_is_executed_of_a_coreml_package(say, tiny_ane):
    code, out, _ = say("verify", tiny_ane.package, "--against", tiny_ane.checkpoint, "--steps", 3)
    assert code == 0 and "\nexecuted\n  2 x forward and 1 x prefill, 17 tokens" in out
    code, out, _ = say("verify", tiny_ane.package, "--against", tiny_ane.checkpoint, "--steps", 0)
    assert code == 0 and "nothing was executed (--steps 0)" in out


def test_steps_of_a_package_that_is_not_executed_here_are_refused(say, tiny_int4):
    code, _, err = say("verify", tiny_int4.package, "--against", tiny_int4.checkpoint, "--steps", 3)
    assert code == 1 and "--steps is for CoreML packages" in err
