"""A run that SIGKILL ends anywhere and that --resume takes up again ends with the bytes of an uninterrupted one."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from tests.train.killed_run import Forker
from tests.train.small_run import STEPS, hidden_files, result, write_run_file

KILLED = -signal.SIGKILL
SECONDS = 600  # for a command on a busy machine
FEWEST_OPERATIONS = 50  # on files in one run


@pytest.fixture(scope="module")
def run_file(tmp_path_factory) -> Path:
    return write_run_file(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def forker() -> Iterator[Forker]:
    with Forker() as made:
        yield made


@pytest.fixture(scope="module")
def whole(run_file) -> dict[str, Any]:
    """What the run gives when nothing interrupts it."""
    out = run_file.parent / "whole"
    assert main(["train", str(run_file), str(out)]) == 0
    made = result(out)
    assert [record["step"] for record in made["figures"] if "loss" in record] == [*range(1, STEPS + 1)]
    assert set(made["checkpoint"]) >= {"checkpoint.json", "model.safetensors", "tokenizer.json"}
    return made


def resume_to_the_end(forker: Forker, run_file: Path, out: Path) -> None:
    code, said, _ = forker.run("train", run_file, out, "--resume", folder=out)
    assert code == 0, said
    assert hidden_files(out) == []


def test_one_run_killed_again_and_again_ends_with_the_same_bytes(run_file, forker, whole, tmp_path):
    out = tmp_path / "out"
    for place in (
        ("open", 5),  # tokenizing
        (".run.json.partial", 2),  # the run begins
        ("state.json", 2),  # in the middle of the second state
        (".metrics.jsonl.partial", 2),  # taking it up again
        ("rmtree", 1),  # the oldest state goes
        ("checkpoint.json", 1),  # in the middle of the trained checkpoint
    ):
        assert forker.run("train", run_file, out, "--resume", folder=out, kill=place)[0] == KILLED, place
    resume_to_the_end(forker, run_file, out)
    assert result(out) == whole


@pytest.mark.slow
def test_a_run_killed_at_any_operation_on_a_file_ends_with_the_same_bytes(run_file, forker, whole, tmp_path):
    operations = forker.run("train", run_file, tmp_path / "all", folder=tmp_path / "all")[2]
    assert len(operations) >= FEWEST_OPERATIONS
    for number, operation in enumerate(operations, start=1):
        out = tmp_path / str(number)
        assert forker.run("train", run_file, out, folder=out, kill=("", number))[0] == KILLED, operation
        resume_to_the_end(forker, run_file, out)
        assert result(out) == whole, operation


@pytest.mark.slow
def test_a_run_whose_every_resumption_is_killed_one_operation_later_ends_with_the_same_bytes(
    run_file, forker, whole, tmp_path
):
    out, code, kills = tmp_path / "out", KILLED, 0
    while code == KILLED:
        kills += 1
        code, said, _ = forker.run("train", run_file, out, "--resume", folder=out, kill=("", kills))
    assert code == 0, said
    assert kills > 10
    assert result(out) == whole


def start(*argv: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, argv)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
    )


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parent.parent.parent)}


def kill_after_step(process: subprocess.Popen[bytes], metrics: Path, step: int, delay: float) -> None:
    """Kills the process from outside when its metrics have the line of a step."""
    line = f'{{"step": {step}, "loss"'.encode()
    while not metrics.is_file() or line not in metrics.read_bytes():
        assert process.poll() is None, "the run ended before the step"
        time.sleep(0.001)
    time.sleep(delay)
    process.kill()


@pytest.mark.slow
def test_a_run_killed_at_ten_random_points_ends_with_the_same_bytes_each_time(run_file, forker, whole, tmp_path):
    drawn = random.Random(20261120)
    operations = len(forker.run("train", run_file, tmp_path / "all", folder=tmp_path / "all")[2])
    spans = [(operations * i // 5 + 1, operations * (i + 1) // 5) for i in range(5)]  # a point from each fifth of a run
    points = [("operation", drawn.randint(*span), 0.0) for span in spans]
    points += [("step", step, drawn.uniform(0.0, 0.05)) for step in drawn.sample(range(1, STEPS), 5)]
    for kind, number, delay in points:
        out = tmp_path / f"{kind}-{number}"
        if kind == "operation":
            process = start("tests.train.killed_run", out, number, "train", run_file, out)
        else:
            process = start("cli", "train", run_file, out)
            kill_after_step(process, out / "metrics.jsonl", number, delay)
        assert process.wait(SECONDS) == KILLED, (kind, number)
        assert start("cli", "train", run_file, out, "--resume").wait(SECONDS) == 0
        assert result(out) == whole, (kind, number)
        assert hidden_files(out) == []
