"""Whole runs of two processes: one voice, whole states after any kill, one line and the right exit code on an error."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cli.main import main
from tests.train.killed_run import ROOT
from tests.train.several import Ended, Server
from tests.train.small_run import RUN, STEPS, hidden_files, result, write_run_file
from train.metrics import read_metrics

KILLED = -signal.SIGKILL
CLOSE = 1e-4  # of weights after a whole run (docs/numerics.md)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as made:
        yield made


@pytest.fixture(scope="module")
def run_file(tmp_path_factory) -> Path:
    text = RUN.replace("micro_batch_tokens = 64", "micro_batch_tokens = 128")
    return write_run_file(tmp_path_factory.mktemp("small"), text)


@pytest.fixture(scope="module")
def stopped(server, run_file) -> Path:
    """A run of two processes that was stopped after step 8, with states of steps 4 and 8."""
    out = run_file.parent / "stopped"
    ends = server.run("train", run_file, out, "--max-steps", 8)
    assert [end.code for end in ends] == [0, 0], ends
    assert states(out) == [4, 8]
    return out


@pytest.fixture(scope="module")
def whole(server, run_file, stopped) -> dict[str, Any]:
    """What it gives at its end when nothing interrupts it."""
    return to_the_end(server, run_file, Path(shutil.copytree(stopped, run_file.parent / "whole")))


@pytest.fixture
def out(stopped, tmp_path) -> Path:
    return Path(shutil.copytree(stopped, tmp_path / "out"))


def states(out: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in (out / "checkpoints").iterdir())


def to_the_end(server: Server, run_file: Path, out: Path, size: int = 2) -> dict[str, Any]:
    ends = server.run("train", run_file, out, "--resume", size=size)
    assert [end.code for end in ends] == [0] * size, ends
    assert hidden_files(out) == []
    return result(out)


def errors(ends: list[Ended]) -> list[str]:
    """Every error that any of the processes reported."""
    said = "".join(end.said for end in ends)
    assert "Traceback" not in said and "unexpected" not in said
    return [line for line in said.splitlines() if line.startswith("pocketlm: error: ")]


def test_a_run_of_two_is_the_run_of_one_but_for_the_last_bits(server, run_file, whole):
    alone = run_file.parent / "alone"
    assert main(["train", str(run_file), str(alone)]) == 0
    one = result(alone)
    assert one["checkpoint"].keys() == whole["checkpoint"].keys()
    assert len(one["figures"]) == len(whole["figures"])
    for a, b in zip(one["figures"], whole["figures"], strict=True):
        assert a == pytest.approx(b, abs=1e-5)
    first, second = (load_file(run_file.parent / name / "checkpoint/model.safetensors") for name in ("alone", "whole"))
    assert first.keys() == second.keys()
    assert all(torch.allclose(first[name], second[name], rtol=0, atol=CLOSE) for name in first)


def test_only_the_first_process_speaks(server, run_file, tmp_path):
    ends = server.run("train", run_file, tmp_path / "out")
    assert [end.code for end in ends] == [0, 0]
    assert f"step {STEPS}/{STEPS}" in ends[0].said and "next: pocketlm quantize" in ends[0].said
    assert ends[1].said == ""
    records = read_metrics(tmp_path / "out" / "metrics.jsonl")
    assert [record["step"] for record in records if "loss" in record] == [*range(1, STEPS + 1)]
    assert records[0]["processes"] == 2
    assert (tmp_path / "out" / "loss.svg").is_file()


@pytest.mark.parametrize(
    "kill",
    [
        (1, "shard-00002", 1),  # while a state is written
        (0, "state.json", 1),  # when all shards are there
        pytest.param((0, "rmtree", 1), marks=pytest.mark.slow),  # the oldest state goes
        pytest.param((0, "checkpoint.json", 1), marks=pytest.mark.slow),  # in the middle of the trained checkpoint
    ],
)
def test_a_kill_of_either_process_leaves_whole_states_and_the_run_ends_with_the_same_bytes(
    server, run_file, whole, out, kill
):
    ends = server.run("train", run_file, out, "--resume", folder=out, kill=kill)
    assert ends[kill[0]].code == KILLED
    assert ends[1 - kill[0]].code in (4, 128 + signal.SIGTERM)
    assert len(errors(ends)) <= 1
    assert to_the_end(server, run_file, out) == whole


def test_a_kill_while_the_text_is_tokenized_ends_the_others(server, run_file, tmp_path, whole):
    out = tmp_path / "out"
    ends = server.run("train", run_file, out, folder=out, kill=(0, "open", 5))
    assert [end.code for end in ends] == [KILLED, 128 + signal.SIGTERM]
    assert to_the_end(server, run_file, out) == whole


def test_one_process_goes_on_where_two_have_stopped(run_file, whole, out):
    assert main(["train", str(run_file), str(out), "--resume"]) == 0
    for a, b in zip(result(out)["figures"], whole["figures"], strict=True):
        assert a == pytest.approx(b, abs=1e-5)


# What goes wrong


@pytest.mark.parametrize(
    ("rank", "number", "code"),
    [
        (0, signal.SIGTERM, 143),
        (1, signal.SIGINT, 130),
        pytest.param(0, signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(1, signal.SIGTERM, 143, marks=pytest.mark.slow),
    ],
)
def test_an_interruption_of_either_process_ends_both_with_its_code(server, run_file, out, whole, rank, number, code):
    place = (rank, "shard-00002" if rank else "shard-00001", 1)
    ends = server.run("train", run_file, out, "--resume", folder=out, kill=place, number=number)
    assert [end.code for end in ends] == [code, code], ends
    assert errors(ends) == ["pocketlm: error: interrupted; nothing half-written was kept"] * (number == signal.SIGINT)
    assert ends[0].said.count(f"the last good state is {out}/checkpoints/step-00000008; go on with --resume") == 1
    assert states(out) == [4, 8]
    assert to_the_end(server, run_file, out) == whole


def test_a_loss_that_is_not_finite_is_one_error_of_all(server, run_file, tmp_path):
    out = tmp_path / "out"
    huge = ("--set", "optimizer.lr=1e30", "--set", "optimizer.warmup_steps=0", "--set", "train.save_every=1")
    ends = server.run("train", run_file, out, *huge)
    assert [end.code for end in ends] == [1, 1]
    (said,) = errors(ends)
    step = states(out)[-1] + 1
    assert f"not finite at step {step}; the last good state is {out}/checkpoints/step-{step - 1:08d}" in said
    assert "go on with --resume" not in ends[0].said + ends[1].said


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_full_disk_under_either_process_keeps_the_older_states(server, run_file, out, whole, rank):
    ends = server.run("train", run_file, out, "--resume", limit=(rank, 20_000))
    assert [end.code for end in ends] == [4, 4], ends
    (said,) = errors(ends)
    assert "step-00000012" in said and "File too large" in said
    assert f"the last good state is {out}/checkpoints/step-00000008; go on with --resume" in ends[0].said
    assert states(out) == [4, 8] and hidden_files(out) == []
    assert to_the_end(server, run_file, out) == whole


def test_what_the_first_process_finds_wrong_all_end_with(server, run_file, tmp_path, out):
    ends = server.run("train", run_file, tmp_path / "other", "--set", "data.sources=nowhere")
    assert [end.code for end in ends] == [1, 1] and len(errors(ends)) == 1
    ends = server.run("train", run_file, out)
    assert [end.code for end in ends] == [1, 1]
    assert "pass --resume to go on with it" in errors(ends)[0] and len(errors(ends)) == 1
    ends = server.run("train", tmp_path / "no.toml", out)
    assert [end.code for end in ends] == [1, 1] and len(errors(ends)) == 1


# Started as a person starts it


def command(*argv: object) -> list[str]:
    return [sys.executable, "-m", *map(str, argv)]


def start(*argv: object, cwd: Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return subprocess.Popen(
        command(*argv),
        cwd=cwd,
        env=environment | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def wait_for_step(process: subprocess.Popen[str], metrics: Path, step: int) -> None:
    line = f'{{"step": {step}, "loss"'
    while not metrics.is_file() or line not in metrics.read_text():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


@pytest.mark.slow
def test_the_option_starts_the_processes_and_gives_back_one_result(run_file, whole, tmp_path):
    process = start("cli", "train", run_file, tmp_path / "out", "--processes", 2, "--json", cwd=tmp_path)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert json.loads(out)["step"] == STEPS
    assert result(tmp_path / "out") == whole


@pytest.mark.slow
def test_torchrun_does_the_same(run_file, whole, tmp_path):
    launcher = ("torch.distributed.run", "--nproc-per-node", 2, "--master-port", 29533)
    process = start(*launcher, "-m", "cli", "train", run_file, tmp_path / "out", "--json", cwd=tmp_path)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert json.loads(out)["step"] == STEPS
    assert result(tmp_path / "out") == whole


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_of_the_launcher_ends_all(server, run_file, whole, tmp_path, number, code):
    process = start("cli", "train", run_file, tmp_path / "out", "--processes", 2, cwd=tmp_path)
    wait_for_step(process, tmp_path / "out" / "metrics.jsonl", 5)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err and err.count("pocketlm: error: ") <= 1
    assert to_the_end(server, run_file, tmp_path / "out") == whole


@pytest.mark.slow
@pytest.mark.parametrize("which", ["launcher", 0, 1])
def test_kill_9_of_any_process_ends_all_and_the_run_ends_with_the_same_bytes(server, run_file, whole, tmp_path, which):
    process = start("cli", "train", run_file, tmp_path / "out", "--processes", 2, cwd=tmp_path)
    wait_for_step(process, tmp_path / "out" / "metrics.jsonl", 6)
    ranks = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    assert len(ranks) == 2
    os.kill(process.pid if which == "launcher" else ranks[which], signal.SIGKILL)
    _, err = process.communicate(timeout=120)  # ends when the last of them has closed its stderr
    if which != "launcher":
        assert process.returncode == 4, err
        assert err.count("pocketlm: error: ") == 1 and "start again with --resume" in err
    end = time.monotonic() + 60
    while any(is_running(pid) for pid in ranks):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert to_the_end(server, run_file, tmp_path / "out") == whole
