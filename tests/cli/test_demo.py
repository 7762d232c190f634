"""The demo from argv to its last line, on the tests' tiny model; its own model runs in test_demo_nano.py.

Lowering is left out: the export gets the program of the shared package, which all its checks then read.
"""

import errno
import json
import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from cli.demo_steps import self_test, verify_integers
from cli.jobs import export_job
from cli.main import main, pocketlm
from model.errors import GateError
from tests.cli.test_interruption import LINE, interrupting
from tests.packages import CHUNK, CONTEXT, TINY, Made


@pytest.fixture
def tiny(tiny_int4: Made, monkeypatch) -> Made:
    """The demo's model is the tiny one, exported with the options of its shared package."""
    program = (tiny_int4.package / "model.pte").read_bytes()

    def export(*paths: Path, **options: Any) -> Any:
        return export_job(*paths, **options | {"max_context": CONTEXT, "prefill_chunk": CHUNK})

    monkeypatch.setattr("cli.demo_steps.MODEL", tiny_int4.checkpoint.parent / "checkpoint")
    monkeypatch.setattr("cli.jobs.export_job", export)
    monkeypatch.setattr("export.export._lower_to", lambda path, *_: path.write_bytes(program))
    return tiny_int4


@pytest.fixture
def say(capfd) -> Callable[..., tuple[int, str, str]]:
    def run(*argv: object) -> tuple[int, str, str]:
        code = main([*map(str, argv)])
        out, err = capfd.readouterr()
        return code, out, err

    return run


def test_the_json_says_what_was_measured_and_proved(tiny, tmp_path, say):
    code, out, err = say("demo", tmp_path / "demo", "--json")
    assert code == 0, err
    data = json.loads(out)
    with safe_open(tiny.checkpoint / "model.safetensors", "pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    codes = [rows * width * 2 for name, (rows, width) in two_dimensional(shapes, ".codes")]  # two in a byte
    scales = [rows * width for name, (rows, width) in two_dimensional(shapes, ".scales")]
    assert data["verified"] == {"matrices": len(codes), "codes": sum(codes), "scales": sum(scales)}
    assert data["golden"]["repeated"] == data["golden"]["compared"] > 0
    assert data["parameters"] == TINY.num_parameters
    assert data["program_bytes"] == (tmp_path / "demo" / "package" / "model.pte").stat().st_size
    assert data["package_bytes"] == sum(p.stat().st_size for p in (tmp_path / "demo" / "package").iterdir())
    assert data["checkpoint_bytes"] == (tiny.checkpoint.parent / "checkpoint" / "model.safetensors").stat().st_size
    assert data["new_tokens"] > 0 and data["decode_tokens_per_s"] > 0 and data["time_to_first_token_s"] > 0
    assert data["peak_memory_bytes"] > 100 << 20  # torch alone
    assert [line[:3] for line in err.splitlines() if line[0] != " "] == ["1/5", "2/5", "3/5", "4/5", "5/5"]


def two_dimensional(shapes: dict[str, list[int]], suffix: str) -> list[tuple[str, list[int]]]:
    return [(name, shape) for name, shape in shapes.items() if name.endswith(suffix)]


def test_people_see_the_text_the_table_and_commands_that_work(tiny, tmp_path, say, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["pocketlm", "demo"])
    code, out, err = say("demo")
    assert code == 0, err
    assert out.startswith("\ndef read_json(path):")
    for row in ("parameters", "package", "first token", "decode", "export", "peak memory"):
        assert re.search(rf"^  {row} +\S", out, re.MULTILINE), row
    assert f"{TINY.num_parameters:,}" in out and "all equal" in err
    lines = [line.strip() for line in out.partition("Try next:\n")[2].splitlines()]
    commands = [shlex.split(re.sub(r" {3,}\(.*\)$", "", line))[1:] for line in lines]
    assert all(line.startswith("pocketlm ") for line in lines) and len(lines) >= 4
    assert {command[0] for command in commands} <= set(pocketlm.commands)
    for command in commands:
        if command[1].startswith("demo"):
            assert say(*command, *(["--max-new-tokens", "3"] if command[0] == "generate" else []))[0] == 0, command


def test_the_default_model_is_that_of_the_source_tree(root):
    assert resolve_name("cli.demo_steps.MODEL") == root / "assets" / "nano"


def test_without_the_model_it_says_where_that_comes_from_and_makes_nothing(tmp_path, say, monkeypatch):
    monkeypatch.setattr("cli.demo_steps.MODEL", tmp_path / "nowhere")
    code, out, err = say("demo", tmp_path / "demo")
    assert (code, out) == (1, "") and err.count("\n") == 1
    assert str(tmp_path / "nowhere") in err and "Clone the repository" in err and "pocketlm convert" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_file", [False, True])
def test_a_place_that_it_has_not_made_stays_as_it_is(tiny, tmp_path, say, is_file):
    (tmp_path / "mine").write_text("precious")
    code, out, err = say("demo", tmp_path / "mine" if is_file else tmp_path)
    assert (code, out) == (1, "") and err.count("\n") == 1 and "was not made by the demo" in err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert (tmp_path / "mine").read_text() == "precious"


MOMENTS = [
    ("quant.checkpoint.quantize_layer", 3),
    ("export.export.check_program", 1),
    ("export.export.measure_golden", 1),
    ("export.verify.compare_integers", 1),
    ("export.golden.repeat_golden", 1),
    ("chat.reply.ReplyStream.take", 5),
]


def test_ctrl_c_leaves_nothing_half_written_and_the_next_run_goes_through(tiny, tmp_path, say, monkeypatch):
    for where, call in MOMENTS:
        place, _, name = where.rpartition(".")
        with monkeypatch.context() as patch:
            patch.setattr(resolve_name(place), name, interrupting(resolve_name(where), call=call, number=signal.SIGINT))
            code, _, err = say("demo", tmp_path / "demo")
        assert code == 130 and err.endswith(LINE) and "Traceback" not in err, where
        names = {path.name for path in (tmp_path / "demo").iterdir()}
        assert names <= {"package", "pocketlm-demo.txt", "quantized"}, where
    assert say("demo", tmp_path / "demo", "--json")[0] == 0


@pytest.mark.parametrize("where", ["quant.checkpoint.write_checkpoint", "export.package.copy_content"])
def test_a_full_disk_is_exit_code_4_and_one_line_that_says_so(tiny, tmp_path, say, monkeypatch, where):
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    place, _, name = where.rpartition(".")
    monkeypatch.setattr(resolve_name(place), name, fail)
    code, out, err = say("demo", tmp_path / "demo")
    assert (code, out) == (4, "") and err.count("error:") == 1
    assert "no space left on the disk" in err.splitlines()[-1] and "free some space" in err
    assert not [path for path in (tmp_path / "demo").rglob(".*")]


def test_a_code_that_differs_is_named_by_its_layer(tiny_int4, tmp_path):
    (tmp_path / "quantized").mkdir()
    for path in tiny_int4.checkpoint.iterdir():
        (tmp_path / "quantized" / path.name).write_bytes(path.read_bytes())
    weights = load_file(tmp_path / "quantized" / "model.safetensors")
    weights["layers.1.feed_forward.up_proj.codes"][5, 7] ^= 0x10
    save_file(weights, tmp_path / "quantized" / "model.safetensors")
    with pytest.raises(
        GateError, match=r"layers\.1\.feed_forward\.up_proj: 1 of 6144 codes differ, first at \[5, 15\]"
    ):
        verify_integers(tmp_path / "quantized", tiny_int4.package)


def test_a_golden_id_that_does_not_come_again_is_exit_code_3(tiny_int4, tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    for path in tiny_int4.package.iterdir():
        (package / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((package / "manifest.json").read_text())
    assert self_test(package)["compared"] == manifest["golden"]["compared"] > 1
    manifest["golden"]["ids"][1] += 1
    (package / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(GateError, match=f"in place of {manifest['golden']['ids'][1]} at step 2"):
        self_test(package)


def test_the_help_does_not_promise_noise(say):
    code, out, _ = say("demo", "--help")
    assert code == 0 and "random" not in out and "assets/nano" in out
