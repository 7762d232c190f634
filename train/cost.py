"""What a run will need, before it begins: parameters, tokens, memory and time.

Shapes: B sequences, T tokens of a window, V vocabulary.
"""

from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from model.config import ModelConfig
from model.transformer import Transformer
from train.engine import deterministic, find_device
from train.settings import RunSettings

_STATE_BYTES = 16  # a parameter in float32: weight, gradient and two moments (AdamW)
# Measured (docs/numerics.md): Python with torch and what a run loads, before any tensor; and how much more memory the
# allocator holds than the tensors of a forward pass fill.
_PROCESS_BYTES = 340 << 20
_SLACK = 1.12
_PROBE = 2048  # rows and columns of the matrix product that is timed
_PROBES = 3
# A step reaches this share of the speed of one large matrix product; the rest goes to norms, rotations, attention and
# the loss (measured for nano on two CPU cores, docs/numerics.md).
_EFFICIENCY = 0.6


@dataclass(frozen=True, kw_only=True)
class Cost:
    parameters: int
    tokens: int  # that the run predicts
    memory_bytes: int  # of the process on a CPU, of the GPU's memory there
    seconds: float  # of the steps, without evaluation
    device: str
    basis: str  # what the time rests on

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def estimate_cost(settings: RunSettings) -> Cost:
    """Memory by counting what a step keeps, time by one large matrix product timed now.

    Raises:
        ValueError: the device is not there.
    """
    config, loop = settings.model.shape, settings.train
    device = find_device(loop.device)
    is_half = loop.precision == "bfloat16"
    kept = max(activation_bytes(config, rows=loop.micro_batch // w, window=w, is_half=is_half) for w in loop.windows)
    memory = config.num_parameters * _STATE_BYTES + kept + (_PROCESS_BYTES if device.type == "cpu" else 0)
    with deterministic(device, loop.threads) as threads:
        speed = _matrix_speed(device, torch.bfloat16 if is_half else torch.float32)
    first = (loop.steps - loop.final_steps) * loop.batch_tokens
    last = loop.final_steps * loop.batch_tokens
    work = first * training_flops(config, loop.window) + last * training_flops(config, loop.windows[-1])
    return Cost(
        parameters=config.num_parameters,
        tokens=loop.steps * loop.batch_tokens,
        memory_bytes=memory,
        seconds=work / (speed * _EFFICIENCY),
        device=device.type,
        basis=f"a matrix product ran at {speed / 1e9:,.0f} GFLOP/s"
        + (f", threads: {threads}" if device.type == "cpu" else ""),
    )


def training_flops(config: ModelConfig, window: int) -> float:
    """Floating-point operations a token, forward and backward: 6 a matrix weight (arXiv 2001.08361, section 2.1),
    and attention's two products over the positions that a layer computes, masked ones included (12 * H * D * T / 2).
    """
    matrices = sum(rows * columns for rows, columns in config.layer_matrices.values()) * config.num_layers
    attention = config.num_layers * config.num_heads * config.head_dim * window
    return 6.0 * (matrices + config.vocab_size * config.dim) + 12.0 * attention


def activation_bytes(config: ModelConfig, *, rows: int, window: int, is_half: bool) -> int:
    """Bytes that a forward pass keeps for its backward pass, counted without computing, and the loss's own.

    Args:
        rows: sequences in memory at once.
        window: tokens of each.
    """
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage._cdata] = storage.nbytes()
        return tensor

    with FakeTensorMode():  # tensors without data
        model = Transformer(config)
        weights = {p.untyped_storage()._cdata for p in model.parameters()}
        with (
            torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
            torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_half),
        ):
            hidden = model.hidden(torch.zeros(rows, window, dtype=torch.int64))
    kept = int(_SLACK * sum(size for key, size in sizes.items() if key not in weights))
    del hidden
    # Logits, their log-softmax and its gradient, float32, and the logits' gradient before it reaches the head.
    return kept + 3 * 4 * rows * window * config.vocab_size


def _matrix_speed(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of one large matrix product, the best of a few."""
    a = torch.ones(_PROBE, _PROBE, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(_PROBES):
        began = perf_counter()
        float((a @ a)[0, 0])  # reading a number waits for a GPU
        best = min(best, perf_counter() - began)
    return 2.0 * _PROBE**3 / best
