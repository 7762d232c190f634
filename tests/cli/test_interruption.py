"""Ctrl-C, SIGTERM and kill -9 at every stage of a command: exit code 130, one line, nothing half-written.

The signals are real: sent to this process in the middle of the work, or to a process of its own.
"""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest

from cli.main import main

LINE = "pocketlm: error: interrupted; nothing half-written was kept\n"


def interrupting(function: Callable[..., Any], *, call: int, number: int = signal.SIGINT) -> Callable[..., Any]:
    """The function, sending the signal when it has done its work for the `call`-th time."""
    num_calls = 0

    def wrapped(*args: Any, **named: Any) -> Any:
        nonlocal num_calls
        num_calls += 1
        result = function(*args, **named)
        if num_calls == call:
            os.kill(os.getpid(), number)
        return result

    return wrapped


@pytest.fixture
def interrupt(monkeypatch) -> Callable[..., None]:
    """Makes a function of the project send Ctrl-C once."""

    def arm(where: str, *, call: int = 1) -> None:
        place, _, name = where.rpartition(".")
        monkeypatch.setattr(resolve_name(place), name, interrupting(resolve_name(where), call=call))

    return arm


@pytest.fixture
def interrupted(tmp_path, capfd) -> Callable[..., str]:
    """Runs a command line that Ctrl-C ends; gives its stdout. The disk must be as it was before."""

    def run(*argv: object) -> str:
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert main([*map(str, argv)]) == 130
        out, err = capfd.readouterr()
        assert err.endswith(LINE) and err.count("error:") == 1 and "Traceback" not in err
        after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert after == before
        assert not [path for path in tmp_path.rglob(".*")]
        return out

    return run


@pytest.fixture
def checkpoint(tmp_path, capfd) -> Path:
    folder = tmp_path / "checkpoint"
    assert main(["convert", "--preset", "nano", str(folder)]) == 0
    capfd.readouterr()
    return folder


@pytest.mark.parametrize(
    "moment",
    [
        ("model.checkpoint._random_tensors", 1),
        ("model.checkpoint.adopt_tokenizer", 1),
        ("model.checkpoint.dump_json", 3),
    ],
)
@pytest.mark.parametrize("is_there", [False, True])
def test_convert(tmp_path, interrupt, interrupted, moment, is_there):
    out = tmp_path / "new" / "out"
    if is_there:
        assert main(["convert", "--preset", "nano", "--seed", "1", str(out)]) == 0
    interrupt(moment[0], call=moment[1])
    interrupted("convert", "--preset", "nano", out, "--overwrite")
    assert out.exists() == out.parent.exists() == is_there


@pytest.mark.parametrize("moment", [("quant.checkpoint.quantize_layer", 5), ("quant.checkpoint.shutil.copyfile", 1)])
@pytest.mark.parametrize("is_there", [False, True])
def test_quantize(checkpoint, tmp_path, interrupt, interrupted, moment, is_there):
    out = tmp_path / "new" / "out"
    if is_there:
        assert main(["quantize", str(checkpoint), str(out), "--recipe", "float"]) == 0
    interrupt(moment[0], call=moment[1])
    interrupted("quantize", checkpoint, out, "--overwrite")
    assert out.exists() == out.parent.exists() == is_there


@pytest.mark.parametrize(
    "moment",
    [
        ("export.export._lower_to", 1),
        ("export.export.check_program", 1),
        ("export.export.measure_golden", 1),
        ("export.package.sha256_file", 2),
        ("export.package.copy_content", 2),
    ],
)
@pytest.mark.parametrize("options", [[], ["--zip"]])
def test_export(tiny_int4, tmp_path, interrupt, interrupted, monkeypatch, moment, options):
    program = (tiny_int4.package / "model.pte").read_bytes()
    monkeypatch.setattr("export.export._lower_to", lambda path, *_: path.write_bytes(program))
    old = Path(shutil.copytree(tiny_int4.package, tmp_path / "old"))
    if moment[0] == "export.package.copy_content" and options:
        moment = ("export.package_zip.copy_content", 2)
    for out in (tmp_path / "new" / "out", old):
        interrupt(moment[0], call=moment[1])
        interrupted(
            "export",
            tiny_int4.checkpoint,
            out,
            "--max-context",
            241,
            "--prefill-chunk",
            16,
            "--overwrite",
            *options,
        )
        assert not (tmp_path / "new").exists()


def test_an_interrupted_step_of_several_targets_leaves_none(tiny_int4, tmp_path, interrupt, interrupted, monkeypatch):
    import dataclasses

    from export.target import TARGETS

    monkeypatch.setitem(TARGETS, "second", dataclasses.replace(TARGETS["xnnpack"], name="second"))
    program = (tiny_int4.package / "model.pte").read_bytes()
    monkeypatch.setattr("export.export._lower_to", lambda path, *_: path.write_bytes(program))
    interrupt("export.export.check_program", call=2)
    options = ("--max-context", 241, "--prefill-chunk", 16, "--target", "xnnpack,second")
    interrupted("export", tiny_int4.checkpoint, tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_more_ctrl_c_does_not_disturb_the_cleanup(checkpoint, tmp_path, interrupt, interrupted):
    interrupt("quant.checkpoint.quantize_layer", call=5)
    interrupt("model.files._remove")
    interrupt("shutil.rmtree")
    interrupt("cli.command.describe")
    interrupted("quantize", checkpoint, tmp_path / "out")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("zipped", [False, True])
def test_generate(tiny_int4, tmp_path, interrupt, interrupted, monkeypatch, zipped):
    package = tiny_int4.package
    if zipped:
        package = Path(shutil.make_archive(str(tmp_path / "package"), "zip", package))
        (tmp_path / "tmp").mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    interrupt("cli.streaming.ReplyStream.take", call=5)
    out = interrupted("generate", package, "Once", "--max-new-tokens", 100_000)
    assert out and not out.endswith("\n")  # what had come was shown
    if zipped:
        assert list((tmp_path / "tmp").iterdir()) == []


def test_chat_keeps_the_question_and_answers_it_the_next_time(tiny_int4, tmp_path, interrupt, monkeypatch, capfd):
    file = tmp_path / "talk.json"
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hello\nNever read\n"))
    interrupt("chat.session.ReplyStream.take", call=5)
    assert main(["chat", str(tiny_int4.package), "--history", str(file), "--max-new-tokens", "100000"]) == 130
    assert capfd.readouterr().err.endswith(LINE)
    assert [m["content"] for m in json.loads(file.read_text())["messages"]] == ["Hello"]
    assert os.listdir(tmp_path) == ["talk.json"]
    monkeypatch.undo()
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert main(["chat", str(tiny_int4.package), "--history", str(file), "--max-new-tokens", "4"]) == 0
    assert "answering the saved message: Hello" in capfd.readouterr().err
    assert [m["role"] for m in json.loads(file.read_text())["messages"]] == ["user", "assistant"]


@pytest.fixture
def talking(tiny_int4, root) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a command that talks for ever, and waits for its first words."""
    started = []

    def start(*argv: object, text: str = "") -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", argv[0], tiny_int4.package, *argv[1:], "--max-new-tokens", "1000000"],
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
        started.append(process)
        process.stdin.write(text.encode())
        process.stdin.flush()
        assert process.stdout.read(20)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize(("number", "code", "says"), [(signal.SIGINT, 130, LINE), (signal.SIGTERM, 143, "")])
def test_the_phones_runner_ends_with_its_parent(talking, number, code, says):
    process = talking("generate", "Once", "--runner", "native")
    if not Path("/proc/self").exists():
        pytest.skip("no /proc here: the children of a process are listed there")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err.decode()) == (code, says)
    assert len(children) == 1 and not Path(f"/proc/{children[0]}").exists()


def test_a_killed_chat_has_saved_its_question(talking, tiny_int4, tmp_path, monkeypatch, capfd):
    file = tmp_path / "talk.json"
    talking("chat", "--history", file, text="Hello\n").kill()
    assert [m["content"] for m in json.loads(file.read_text())["messages"]] == ["Hello"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("/quit\n"))
    assert main(["chat", str(tiny_int4.package), "--history", str(file), "--max-new-tokens", "4"]) == 0
    assert "answering the saved message: Hello" in capfd.readouterr().err
    assert [m["role"] for m in json.loads(file.read_text())["messages"]] == ["user", "assistant"]
