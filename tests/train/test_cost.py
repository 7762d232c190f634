"""What a run is said to need, against a real one: memory of a process, and what is counted by hand."""

import dataclasses
import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from model.checkpoint import load_model, random_checkpoint
from model.config import PRESETS, ModelConfig
from quant.fake_quant import prepare_qat
from tests.train.small_run import write_run_file
from train.cost import estimate_cost, training_flops
from train.cost_memory import activation_bytes, counted, kept_bytes, step_bytes
from train.objective import qat_plan
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
    compare(write_run_file(tmp_path, SHAPE.format(vocab=vocab, window=window, tokens=tokens)), tmp_path)


@pytest.mark.parametrize(
    ("vocab", "window", "tokens", "overrides"),
    [
        (512, 256, 2048, []),
        pytest.param(512, 256, 2048, ["qat.learn_ranges=true"], marks=pytest.mark.slow),
        pytest.param(8192, 512, 2048, ["distill.chunk=2048"], marks=pytest.mark.slow),
        pytest.param(512, 256, 8192, [], marks=pytest.mark.slow),
        pytest.param(512, 256, 4096, ["train.activation_checkpointing=true"], marks=pytest.mark.slow),
    ],
)
def test_the_memory_estimate_of_a_qat_run_is_near_its_peak(tmp_path, vocab, window, tokens, overrides):
    run_file = write_run_file(tmp_path, qat_run(tmp_path, vocab, window, tokens))
    compare(run_file, tmp_path, overrides)


@pytest.mark.slow
def test_the_memory_estimate_of_recomputed_layers_is_near_the_peak(tmp_path):
    run_file = write_run_file(tmp_path, SHAPE.format(vocab=512, window=256, tokens=4096))
    compare(run_file, tmp_path, ["train.activation_checkpointing=true", "model.config.num_layers=8"])


def compare(run_file: Path, folder: Path, overrides: Sequence[str] = ()) -> None:
    estimate = estimate_cost(read_run(run_file, overrides), base=run_file.parent).memory_bytes
    options = [word for override in overrides for word in ("--set", override)]
    peak = peak_bytes(folder / "peak", "train", run_file, folder / "out", "--max-steps", 2, *options)
    print(f"estimated {estimate >> 20} MiB, measured {peak >> 20} MiB: {estimate / peak - 1:+.1%}")
    assert estimate == pytest.approx(peak, rel=WITHIN)


def qat_run(folder: Path, vocab: int, window: int, tokens: int) -> str:
    """A run file that begins with a checkpoint of that shape, which is written beside it."""
    head, rest = SHAPE.format(vocab=vocab, window=window, tokens=tokens).split("[data]")
    config = ModelConfig.from_json(tomllib.loads(head)["model"]["config"])
    random_checkpoint(config, folder / "float", seed=0)
    return f'objective = "qat"\n[model]\ncheckpoint = "float"\n[data]{rest}'


def test_several_processes_divide_the_state_and_the_windows(tmp_path):
    settings = read_run(write_run_file(tmp_path, qat_run(tmp_path, 512, 256, 2048)), ["qat.learn_ranges=true"])
    big = dataclasses.replace(settings, model=dataclasses.replace(settings.model, config=PRESETS["mobilellm-pro"]))
    one, many = (step_bytes(big, PRESETS["mobilellm-pro"], processes=n) for n in (1, 8))
    assert many < one / 2
    state = PRESETS["mobilellm-pro"].num_parameters * (16 + 4)
    assert state / 8 < many and state < one
    assert estimate_cost(settings, base=tmp_path, processes=2).processes == 2


def test_what_a_step_keeps_is_what_autograd_keeps(tmp_path):
    """The stand-ins of the estimate against the real fake quantization, tensor by tensor."""
    settings = read_run(write_run_file(tmp_path, qat_run(tmp_path, 512, 256, 2048)), ["qat.learn_ranges=true"])
    recipe, plan, _ = qat_plan(settings)
    outside, layers = kept_bytes(
        settings.model.shape, plan, rows=2, window=64, is_half=False, rounds_inputs=True, learns=True
    )
    model = prepare_qat(load_model(tmp_path / "float"), plan, recipe, learn_ranges=True)
    weights = {p.untyped_storage()._cdata for p in model.parameters()}
    with counted(model) as sizes:
        hidden = model.hidden(torch.zeros(2, 64, dtype=torch.int64))
    found = [sum(n for key, (n, at) in sizes.items() if at == place and key not in weights) for place in range(4)]
    assert hidden.requires_grad
    assert layers == pytest.approx(found, rel=0.01)
    assert outside > 0


def test_the_numbers_of_a_run_add_up(tmp_path):
    settings = read_run(write_run_file(tmp_path))
    cost = estimate_cost(settings)
    assert cost.parameters == settings.model.shape.num_parameters
    assert cost.tokens == settings.train.steps * settings.train.batch_tokens
    assert cost.seconds > 0 and cost.device == "cpu"
    assert "GFLOP/s" in cost.basis and "threads: 1" in cost.basis
    assert set(cost.to_json()) == {"parameters", "tokens", "memory_bytes", "seconds", "device", "basis", "processes"}


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
