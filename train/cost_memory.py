"""The bytes that a step of a run has in memory, counted without computing: on fake tensors, as autograd keeps them.

Shapes: M positions, C model width, V vocabulary, N rows, K columns, S scales a row.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from model.config import ModelConfig
from model.transformer import Transformer
from quant.recipe import LayerScheme
from train.objective import qat_plan
from train.settings import RunSettings

_STATE_BYTES = 16  # a parameter in float32: weight, gradient and two moments (AdamW)
_FLOAT_BYTES = 4
# Measured (docs/numerics.md): how much more memory the allocator holds than what a forward pass keeps fills. On a CPU
# the many copies that fake quantization makes and drops leave holes between what is kept.
_SLACK, _QAT_SLACK = 1.12, 1.6
_RECOMPUTED = 3.5  # times what a layer keeps: computing it again, and its gradients
_LOSS_BLOCKS = 8 << 20  # the chunked loss goes through its logits in blocks of a cache's size
_QUANTIZING = 1 << 24  # elements of a weight that are quantized at a time (quant/integers.py) ...
_QUANTIZING_COPIES = 4  # ... and how many float32 copies of them there are meanwhile


def step_bytes(settings: RunSettings, teacher: ModelConfig | None, *, processes: int = 1, is_gpu: bool = False) -> int:
    """Bytes of one process's tensors when a step needs most.

    Args:
        teacher: its shape; None where the run has none.
        processes: that the run's state and windows are divided between.
    """
    loop = settings.train
    at_once = max(
        _window_bytes(
            settings, teacher, rows=-(-(loop.micro_batch // window) // processes), window=window, is_gpu=is_gpu
        )
        for window in loop.windows
    )
    return _state_bytes(settings, teacher, processes) + at_once


def activation_bytes(config: ModelConfig, *, rows: int, window: int, is_half: bool) -> int:
    """Bytes that a forward pass keeps for its backward pass, and those of the loss of next tokens.

    Args:
        rows: sequences in memory at once.
        window: tokens of each.
    """
    outside, layers = kept_bytes(config, {}, rows=rows, window=window, is_half=is_half)
    return int(_SLACK * (outside + sum(layers))) + _logits_bytes(config, rows * window)


def _window_bytes(
    settings: RunSettings, teacher: ModelConfig | None, *, rows: int, window: int, is_gpu: bool = False
) -> int:
    """What a micro batch of so many windows adds to the state."""
    config, is_half = settings.model.shape, settings.train.precision == "bfloat16"
    plan: Mapping[str, LayerScheme] = qat_plan(settings)[1] if settings.objective == "qat" else {}
    outside, layers = kept_bytes(
        config,
        plan,
        rows=rows,
        window=window,
        is_half=is_half,
        rounds_inputs=bool(plan) and qat_plan(settings)[0].activations == "int8-dynamic",
        learns=settings.qat is not None and settings.qat.learn_ranges,
    )
    positions = rows * window
    loss = _distillation_bytes(settings, teacher, positions) if plan else _logits_bytes(config, positions)
    slack = _QAT_SLACK if plan and not is_gpu else _SLACK
    if not settings.train.activation_checkpointing:
        return int(slack * (outside + sum(layers))) + loss
    inputs, layer = config.num_layers * positions * config.dim * _FLOAT_BYTES, int(slack / _SLACK * max(layers))
    return int(_SLACK * (outside + inputs)) + max(loss + layer, int(_RECOMPUTED * layer))


def _state_bytes(settings: RunSettings, teacher: ModelConfig | None, processes: int) -> int:
    """Weights, gradients and moments, the teacher's weights; of several processes, what each holds whole meanwhile."""
    config = settings.model.shape
    state = config.num_parameters * _STATE_BYTES
    quantized = 0
    if settings.objective == "qat":
        plan = qat_plan(settings)[1]
        sizes = _matrices(config)
        quantized = max((n * k for name, (n, k) in sizes.items() if plan[name].scheme != "float"), default=0)
        if settings.qat is not None and settings.qat.learn_ranges:
            scales = sum(n * (k // (plan[name].group_size or k)) for name, (n, k) in sizes.items())
            state += scales * _STATE_BYTES
    if teacher is not None:
        state += teacher.num_parameters * _FLOAT_BYTES
    working = min(quantized, _QUANTIZING) * _QUANTIZING_COPIES * _FLOAT_BYTES
    if processes == 1:
        return state + working
    table = config.vocab_size * config.dim * (1 if config.tied else 2)
    layer = sum(n * k for n, k in config.layer_matrices.values())
    whole = 3 * table + 4 * layer  # weights, gradients, and their copies on the way; the next layer comes early
    if teacher is not None:
        whole += teacher.vocab_size * teacher.dim + sum(n * k for n, k in teacher.layer_matrices.values())
    return state // processes + whole * _FLOAT_BYTES + working


def _matrices(config: ModelConfig) -> dict[str, tuple[int, int]]:
    """Rows and columns of each weight matrix by layer name; a tied table once."""
    from model.checkpoint import float_shapes
    from quant.plan import layer_shapes

    return {name: (shape[0], shape[1]) for name, shape in layer_shapes(float_shapes(config)).items()}


def _logits_bytes(config: ModelConfig, positions: int) -> int:
    """Logits, their log-softmax and its gradient, float32, and the logits' gradient before it reaches the head."""
    return 3 * _FLOAT_BYTES * positions * config.vocab_size


def _distillation_bytes(settings: RunSettings, teacher: ModelConfig | None, positions: int) -> int:
    """The chunked loss (train/distillation.py), or the teacher's forward pass before it, whichever is more."""
    assert settings.distill is not None
    config = settings.model.shape
    size = 2 if settings.train.precision == "bfloat16" else _FLOAT_BYTES
    chunk = min(settings.distill.chunk, positions)
    logits = (1 if teacher is None else 2) * chunk * config.vocab_size * size
    table = config.vocab_size * config.dim
    # The fake-quantized table and its gradient; the hidden states of both and the gradient of the student's.
    loss = logits + table * (size + _FLOAT_BYTES) + 3 * positions * config.dim * size + _LOSS_BLOCKS
    if teacher is None:
        return loss
    widths = 4 * teacher.dim + 2 * (teacher.num_heads + teacher.num_kv_heads) * teacher.head_dim + 3 * teacher.ffn_dim
    return max(loss, positions * widths * _FLOAT_BYTES)


def kept_bytes(
    config: ModelConfig,
    plan: Mapping[str, LayerScheme],
    *,
    rows: int,
    window: int,
    is_half: bool,
    rounds_inputs: bool = False,
    learns: bool = False,
) -> tuple[int, list[int]]:
    """Bytes kept outside of the layers, and in each layer."""
    with FakeTensorMode():  # tensors without data
        model = Transformer(config)
        for name, module in list(model.named_modules()):
            if isinstance(module, nn.Linear) and name in plan and name != "head" and plan[name].scheme != "float":
                model.set_submodule(name, _StandIn(module, plan[name], rounds_inputs=rounds_inputs, learns=learns))
        weights = {p.untyped_storage()._cdata for p in model.parameters()}
        with counted(model) as sizes, torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_half):
            hidden = model.hidden(torch.zeros(rows, window, dtype=torch.int64))
        del hidden
    by_place = [0] * (config.num_layers + 1)
    for key, (size, place) in sizes.items():
        by_place[place] += size if key not in weights else 0
    return by_place[-1], by_place[:-1]


@contextmanager
def counted(model: Transformer) -> Iterator[dict[int, tuple[int, int]]]:
    """Notes of each storage that autograd keeps its bytes and its layer (-1: none), by the storage's address."""
    sizes: dict[int, tuple[int, int]] = {}
    alive: list[Tensor] = []  # an address may come again once its tensor is gone
    place = -1

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in sizes:
            sizes[storage._cdata] = (storage.nbytes(), place)
            alive.append(tensor)
        return tensor

    def enter(number: int) -> Any:
        def hook(*_: Any) -> None:
            nonlocal place
            place = number

        return hook

    for number, layer in enumerate(model.layers):
        layer.register_forward_pre_hook(enter(number))
        layer.register_forward_hook(enter(-1))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes


class _StandIn(nn.Linear):
    """Keeps what `quant.fake_quant.FakeQuantLinear` keeps, without its arithmetic, which asks for real numbers."""

    def __init__(self, linear: nn.Linear, scheme: LayerScheme, *, rounds_inputs: bool, learns: bool) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        self.weight = linear.weight
        self.scheme, self.rounds_inputs, self.learns = scheme, rounds_inputs, learns

    def forward(self, x: Tensor) -> Tensor:
        x = _Copied.apply(x, 0) if self.rounds_inputs else x
        scales = self.in_features // (self.scheme.group_size or self.in_features)
        return nn.functional.linear(x, _Copied.apply(self.weight, scales if self.learns else 0))


class _Copied(torch.autograd.Function):
    """A copy; where ranges are learned, with the codes and scales that their gradient needs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scales: int) -> Tensor:
        if scales:
            ctx.save_for_backward(x.to(torch.int8), x[..., :scales].clone())
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None
