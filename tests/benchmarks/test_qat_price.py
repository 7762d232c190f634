"""The price of QAT: what a process measures of its own steps, and what becomes of the figures."""

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.qat_price import FLOAT, OBJECTIVES, Setup, serve, summarize, write_run
from model.checkpoint import random_checkpoint
from tests.packages import TINY
from train.run_file import read_run

SETUP = Setup(
    preset="nano",
    device="cpu",
    batch_tokens=32,
    micro_batch_tokens=16,
    window=16,
    precision="float32",
    recompute=False,
    learn_ranges=True,
    threads=1,
)


def run_file(folder: Path, objective: str) -> Path:
    random_checkpoint(TINY, folder / "checkpoint", seed=0, tokenizer="none", overwrite=True)
    return write_run(folder, objective, SETUP)


def test_each_objectives_run_file_says_what_it_is_called(tmp_path):
    made = {name: read_run(run_file(tmp_path, name)) for name in OBJECTIVES}
    assert [settings.objective for settings in made.values()] == ["next-token", "qat", "qat", "qat"]
    shares = [settings.distill.cross_entropy for name, settings in made.items() if name != FLOAT]
    assert shares == [1.0, 0.0, 0.0]
    assert all(settings.qat.learn_ranges for name, settings in made.items() if name != FLOAT)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_process_answers_with_the_time_of_each_step_that_really_trains_and_with_its_peak(tmp_path, objective):
    ours, theirs = multiprocessing.Pipe()
    for request in (True, True, True, False):
        ours.send(request)
    serve(run_file(tmp_path, objective), theirs)
    assert ours.recv() is None
    steps = [ours.recv() for _ in range(3)]
    assert all(wall > 0 and processor > 0 for wall, processor, _ in steps)
    assert len({loss for _, _, loss in steps}) == 3
    start, peak = ours.recv()
    assert 0 < start <= peak


def test_ratios_are_those_of_the_rounds_and_not_of_the_medians():
    steps = {FLOAT: [(1.0, 2.0, 0.5), (10.0, 20.0, 0.4), (2.0, 4.0, 0.3)]}
    steps["qat"] = [(2.0, 6.0, 0.5), (20.0, 60.0, 0.4), (8.0, 12.0, 0.3)]
    made = summarize(steps, {FLOAT: (1 << 20, 3 << 20), "qat": (1 << 20, 5 << 20)}, batch_tokens=100)
    price = made["objectives"]["qat"]
    assert (made["repeats"], price["tokens_per_s"]) == (3, 12.5)
    assert price["wall_ratio_to_first"]["median"] == 2.0  # 2, 2 and 4; of the medians it would be 4
    assert price["processor_ratio_to_first"]["median"] == 3.0
    assert (price["peak_mib"], price["peak_ratio_to_first"]) == (5.0, 1.667)
    assert (price["peak_above_start_mib"], price["peak_above_start_ratio_to_first"]) == (4.0, 2.0)
    assert made["objectives"][FLOAT]["wall_ratio_to_first"]["median"] == 1.0


@pytest.mark.slow
def test_the_benchmark_prints_one_json_value_with_a_price_for_each_objective(root, tmp_path):
    options = "--batch-tokens 64 --window 32 --threads 1 -r 2 -o"
    command = [sys.executable, "-m", "benchmarks.qat_price", *options.split(), str(tmp_path / "result.json")]
    done = subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=900, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert list(result["objectives"]) == list(OBJECTIVES)
    assert result == json.loads((tmp_path / "result.json").read_text())
    for price in result["objectives"].values():
        assert price["tokens_per_s"] > 0 and price["peak_mib"] > price["peak_above_start_mib"] > 0
