"""What `estimate` says of the native runner's memory, held against the runner."""

import json
import subprocess

import pytest

from export.estimate import estimate
from model.config import PRESETS
from runner.build import runner_program
from tests.packages import make_package

FULL_SIZE = 749 << 20  # bytes: mobilellm-pro, N = 8,192, its ring filled; benchmarks/results/2026-11-21-bench.json


def test_the_full_model_is_estimated_within_five_percent_of_what_was_measured() -> None:
    assert estimate("mobilellm-pro", max_context=8192).memory.in_runner == pytest.approx(FULL_SIZE, rel=0.05)


@pytest.mark.slow
def test_the_native_runner_peaks_within_five_percent_of_the_estimate() -> None:
    made = make_package(PRESETS["nano"], "8da4w-g32", max_context=2048, chunk=128)
    command = [str(runner_program()), "bench", str(made.package / "model.pte")]
    command += ["-p", "128", "-n", "8", "--depth", "1900", "--threads", "1", "-r", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = estimate(str(made.checkpoint), max_context=2048, prefill_chunk=128)
    assert found.memory.in_runner == pytest.approx(json.loads(done.stdout)["memory"]["peak_bytes"], rel=0.05)
