"""What a run will need, before it begins: parameters, tokens, memory (train/cost_memory.py) and time."""

from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from model.checkpoint import read_info
from model.config import ModelConfig
from train.cost_memory import step_bytes
from train.engine import deterministic, find_device
from train.settings import RunSettings

# Measured (docs/numerics.md): Python with torch and what a run loads, before any tensor.
_PROCESS_BYTES = 340 << 20
_PROBE = 2048  # rows and columns of the matrix product that is timed
_PROBES = 3
# A step reaches this share of the speed of one large matrix product; the rest goes to norms, rotations, attention and
# the loss (measured for nano on two CPU cores, docs/numerics.md).
_EFFICIENCY = 0.6
_FAKE_QUANTIZED = 1.05  # times the work of a step (nano, benchmarks/results/2026-11-21-qat-price.json)


@dataclass(frozen=True, kw_only=True)
class Cost:
    parameters: int
    tokens: int  # that the run predicts
    memory_bytes: int  # of a process on a CPU, of the GPU's memory there
    processes: int
    seconds: float  # of the steps, without evaluation
    device: str
    basis: str  # what the time rests on

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def estimate_cost(settings: RunSettings, *, base: Path = Path(), processes: int = 1) -> Cost:
    """Memory by counting what a step keeps, time by one large matrix product timed now.

    Args:
        base: what relative paths of the settings start from.
        processes: that the run is divided between.

    Raises:
        ValueError: the device is not there, or the teacher cannot be read.
    """
    config, loop = settings.model.shape, settings.train
    device = find_device(loop.device)
    teacher = _teacher(settings, base)
    is_gpu = device.type == "cuda"
    memory = step_bytes(settings, teacher, processes=processes, is_gpu=is_gpu) + (0 if is_gpu else _PROCESS_BYTES)
    with deterministic(device, loop.threads) as threads:
        speed = _matrix_speed(device, torch.bfloat16 if loop.precision == "bfloat16" else torch.float32)
    first = (loop.steps - loop.final_steps) * loop.batch_tokens
    last = loop.final_steps * loop.batch_tokens
    work = first * _step_flops(settings, teacher, loop.window) + last * _step_flops(settings, teacher, loop.windows[-1])
    if is_gpu:  # processes on one CPU share its cores
        work /= processes
    return Cost(
        parameters=config.num_parameters,
        tokens=loop.steps * loop.batch_tokens,
        memory_bytes=memory,
        processes=processes,
        seconds=work / (speed * _EFFICIENCY),
        device=device.type,
        basis=f"a matrix product ran at {speed / 1e9:,.0f} GFLOP/s"
        + (f", threads: {threads}" if device.type == "cpu" else ""),
    )


def _teacher(settings: RunSettings, base: Path) -> ModelConfig | None:
    """The shape of the teacher that a run loads."""
    distill = settings.distill
    if distill is None or distill.cross_entropy == 1.0:
        return None
    return settings.model.shape if distill.teacher is None else read_info(base / distill.teacher).config


def _step_flops(settings: RunSettings, teacher: ModelConfig | None, window: int) -> float:
    """Floating-point operations a token of a run: forward and backward are 3 parts, a forward pass alone is one."""
    own = training_flops(settings.model.shape, window) * (_FAKE_QUANTIZED if settings.objective == "qat" else 1.0)
    asked = teacher is not None and settings.distill is not None and settings.distill.cache is None
    return (
        own
        + (own / 3 if settings.train.activation_checkpointing else 0.0)
        + (training_flops(teacher, window) / 3 if teacher is not None and asked else 0.0)
    )


def training_flops(config: ModelConfig, window: int) -> float:
    """Floating-point operations a token, forward and backward: 6 a matrix weight (arXiv 2001.08361, section 2.1),
    and attention's two products over the positions that a layer computes, masked ones included (12 * H * D * T / 2).
    """
    matrices = sum(rows * columns for rows, columns in config.layer_matrices.values()) * config.num_layers
    attention = config.num_layers * config.num_heads * config.head_dim * window
    return 6.0 * (matrices + config.vocab_size * config.dim) + 12.0 * attention


def _matrix_speed(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of one large matrix product, the best of a few."""
    a = torch.ones(_PROBE, _PROBE, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(_PROBES):
        began = perf_counter()
        float((a @ a)[0, 0])  # reading a number waits for a GPU
        best = min(best, perf_counter() - began)
    return 2.0 * _PROBE**3 / best
