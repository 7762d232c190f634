"""What a run is said to need, against a real one: memory of a process, and what is counted by hand."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from model.config import PRESETS, ModelConfig
from tests.train.small_run import write_run_file
from train.cost import activation_bytes, estimate_cost, training_flops
from train.run_file import read_run

WITHIN = 0.15  # docs/numerics.md
SHAPE = """
[model.config]
vocab_size = {vocab}
dim = 128
num_layers = 4
num_heads = 2
num_kv_heads = 1
head_dim = 64
ffn_dim = 384
global_layers = [0]
sliding_window = 64
max_context = 2048
[data]
sources = ["text"]
held_out_every = 10
[train]
steps = 100
window = {window}
batch_tokens = {tokens}
evaluate_tokens = 2048
threads = 1
[optimizer]
warmup_steps = 10
"""


# VmHWM begins with the program; ru_maxrss on Linux begins with the memory of the process that started it.
_REPORT = """
import sys
from pathlib import Path
from cli.main import main
code = main(sys.argv[2:])
line = next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM:"))
Path(sys.argv[1]).write_text(line.split()[1])
sys.exit(code)
"""


def peak_bytes(report: Path, *argv: object) -> int:
    """The most resident memory that a command line ever had."""
    subprocess.run(
        [sys.executable, "-c", _REPORT, str(report), *map(str, argv)],
        cwd=Path(__file__).resolve().parent.parent.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return int(report.read_text()) * 1024


@pytest.mark.parametrize(
    ("vocab", "window", "tokens"),
    [(512, 256, 2048), pytest.param(8192, 2048, 8192, marks=pytest.mark.slow)],
)
def test_the_memory_estimate_is_near_the_peak_of_a_real_run(tmp_path, vocab, window, tokens):
    run_file = write_run_file(tmp_path, SHAPE.format(vocab=vocab, window=window, tokens=tokens))
    estimate = estimate_cost(read_run(run_file)).memory_bytes
    peak = peak_bytes(tmp_path / "peak", "train", run_file, tmp_path / "out", "--max-steps", 2)
    print(f"estimated {estimate >> 20} MiB, measured {peak >> 20} MiB: {estimate / peak - 1:+.1%}")
    assert estimate == pytest.approx(peak, rel=WITHIN)


def test_the_numbers_of_a_run_add_up(tmp_path):
    settings = read_run(write_run_file(tmp_path))
    cost = estimate_cost(settings)
    assert cost.parameters == settings.model.shape.num_parameters
    assert cost.tokens == settings.train.steps * settings.train.batch_tokens
    assert cost.seconds > 0 and cost.device == "cpu"
    assert "GFLOP/s" in cost.basis and "threads: 1" in cost.basis
    assert set(cost.to_json()) == {"parameters", "tokens", "memory_bytes", "seconds", "device", "basis"}


def test_smaller_pieces_need_less_memory_and_longer_windows_more():
    nano = PRESETS["nano"]

    def bytes_of(rows: int, window: int, is_half: bool = False) -> int:
        return activation_bytes(nano, rows=rows, window=window, is_half=is_half)

    assert 7 * bytes_of(1, 512) < bytes_of(8, 512) < 8 * bytes_of(1, 512)  # the masks come once
    assert bytes_of(2, 2048) > bytes_of(8, 512)
    assert bytes_of(8, 512, is_half=True) < bytes_of(8, 512)
    deep = dataclasses.replace(nano, num_layers=12)
    assert bytes_of(1, 512) < activation_bytes(deep, rows=1, window=512, is_half=False) < 2 * bytes_of(1, 512)


def test_the_work_of_a_token_is_six_operations_a_weight_and_attention():
    config = ModelConfig(
        vocab_size=10,
        dim=4,
        num_layers=1,
        num_heads=1,
        num_kv_heads=1,
        head_dim=4,
        ffn_dim=8,
        global_layers=(0,),
        sliding_window=4,
        max_context=16,
    )
    matrices = 4 * (4 * 4) + 3 * (4 * 8)
    assert training_flops(config, 16) == 6 * (matrices + 10 * 4) + 12 * 4 * 16
