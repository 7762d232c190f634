"""What a CoreML program must compute: the eager model over a whole sequence, without a cache, a layer at a time.

Its weights are the checkpoint's codes times float16(scale), norms and scalars as the file's type holds them, so that
what differs from a file is arithmetic alone. Beside it runs the same model with every result rounded to float16: what
that rounding costs anybody, to judge the file's own by (docs/numerics.md, "CoreML").

Shapes: T tokens, P places that are asked for, C model width, V vocabulary, G key-value heads, D head width.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from export.checkpoint_weights import CheckpointWeights
from export.coreml.row_order import row_order
from model.attention import Attend, Positions
from model.cache import sdpa
from model.config import ModelConfig
from model.rope import inverse_frequencies
from model.transformer import Layer, RMSNorm, Transformer
from quant.integers import QuantizedTensor

FileFloat = Literal["float16", "float32"]  # what the program's own constants are
_TORCH: dict[FileFloat, torch.dtype] = {"float16": torch.float16, "float32": torch.float32}
_BLOCK = 1 << 24  # weights of the head that are floats at a time
_TABLE, _HEAD = "embedding", "head"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One pass of the eager model."""

    logits: Tensor  # float32 [P, V]
    rounded: Tensor  # the same with every result rounded to float16
    keys: list[Tensor]  # of each layer, float32 [T, G, D], head dimensions in the program's order
    values: list[Tensor]


@dataclass(frozen=True, kw_only=True)
class Constants:
    """Scalars as a program holds them."""

    eps: float
    query_scale: float  # beside D**-0.5, which attention applies itself
    rows: torch.dtype  # of cosines, sines and temperatures


def file_constants(config: ModelConfig, floats: FileFloat, rows: FileFloat) -> Constants:
    """A program keeps sqrt(eps) and D**-0.5 in its own type; a stateful one the rows, too."""

    def kept(value: float) -> float:
        return float(torch.tensor(value, dtype=torch.float64).to(_TORCH[floats]))

    return Constants(
        eps=kept(config.norm_eps**0.5) ** 2,
        query_scale=kept(config.head_dim**-0.5) * config.head_dim**0.5,
        rows=_TORCH[rows],
    )


@torch.inference_mode()
def run_reference(
    weights: CheckpointWeights, ids: Sequence[int], places: Sequence[int], *, context: int, constants: Constants
) -> Reference:
    """Logits at some places of a sequence that begins at position 0, and every layer's keys and values.

    Args:
        places: indices of tokens whose logits are wanted.
        context: positions that a global layer sees, its own included.
    """
    config = dataclasses.replace(weights.info.config, norm_eps=constants.eps)
    positions_T = torch.arange(len(ids))
    exact = _positions(config, positions_T, constants.rows)
    coarse = Positions(
        cos=_half(exact.cos),
        sin=_half(exact.sin),
        temperature=None if exact.temperature is None else _half(exact.temperature),
    )
    distance = positions_T.unsqueeze(1) - positions_T
    x_TC = _dense(weights.load(_TABLE), torch.tensor(ids))
    y_TC = _half(x_TC)
    keys: list[Tensor] = []
    values: list[Tensor] = []
    norms = dict(weights.norms())
    for index in range(config.num_layers):
        window = context if config.is_global(index) else min(config.sliding_window, context)
        visible = (distance >= 0) & (distance < window)
        layer = _layer(weights, config, index, norms)
        x_TC = layer(x_TC[None], exact, _attend(visible, constants.query_scale, (keys, values)))[0]
        y_TC = _rounding(layer)(y_TC[None], coarse, _attend_coarsely(visible, constants.query_scale))[0]
        order = _head_order(config, index)
        keys[-1] = keys[-1] if order is None else keys[-1][..., order]
    last = _norm(norms["norm"], config)
    head = weights.load(_TABLE if config.tied else _HEAD)
    exact_PC, coarse_PC = last(x_TC[list(places)]), _half(last(y_TC[list(places)]))
    return Reference(
        logits=_product(exact_PC, head), rounded=_half(_product(coarse_PC, head, halves=True)), keys=keys, values=values
    )


def _positions(config: ModelConfig, positions_T: Tensor, rows: torch.dtype) -> Positions:
    with torch.device("meta"):
        model = Transformer(config)  # for its positions alone; it holds no weights
    assert model.inv_freq.equal(inverse_frequencies(config))
    found = model.positions(positions_T)
    kept = [None if part is None else part.to(rows).float() for part in (found.cos, found.sin, found.temperature)]
    cos, sin, temperature = kept
    assert cos is not None and sin is not None
    return Positions(cos=cos, sin=sin, temperature=temperature)


def _layer(weights: CheckpointWeights, config: ModelConfig, index: int, norms: dict[str, Tensor]) -> Layer:
    with torch.device("meta"):
        layer = Layer(config, index)
    prefix = f"layers.{index}."
    state = {f"{part}.weight": _dense(weights.load(prefix + part)) for part in config.layer_matrices}
    state |= {f"{part}.weight": _half(norms[prefix + part].float()) for part in ("attention_norm", "feed_forward_norm")}
    layer.load_state_dict(state, assign=True)
    return layer.eval()


def _norm(weight: Tensor, config: ModelConfig) -> RMSNorm:
    norm = RMSNorm(config.dim, config.norm_eps)
    norm.load_state_dict({"weight": _half(weight.float())})
    return norm


def _rounding(layer: Layer) -> Layer:
    """The same layer, changed in place: weights, and what goes in and out of each module, are float16 numbers."""
    for module in layer.modules():
        if isinstance(module, nn.Linear | RMSNorm):
            module.weight.copy_(_half(module.weight))
            module.register_forward_pre_hook(lambda _, given: tuple(_half(x) for x in given))
            module.register_forward_hook(lambda _, __, made: _half(made))
    layer.register_forward_hook(lambda _, __, made: _half(made))
    return layer


def _attend(visible: Tensor, scale: float, kept: tuple[list[Tensor], list[Tensor]]) -> Attend:
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        for into, new in zip(kept, (k, v), strict=True):
            into.append(new[0])
        return sdpa(q * scale, k, v, visible)

    return attend


def _attend_coarsely(visible: Tensor, scale: float) -> Attend:
    return lambda q, k, v: _half(sdpa(_half(_half(q) * scale), _half(k), _half(v), visible))


def _head_order(config: ModelConfig, index: int) -> list[int] | None:
    """In which order a program keeps a head's dimensions of keys."""
    order = row_order(config, f"layers.{index}.attention.k_proj")
    return None if order is None else order[: config.head_dim]


def _dense(tensor: QuantizedTensor | Tensor, rows: Tensor | slice = slice(None)) -> Tensor:
    """The float32 matrix that a CoreML program's constants stand for, or some of its rows."""
    if isinstance(tensor, Tensor):
        return _half(tensor[rows].float())
    codes, scales = tensor.codes[rows].float(), _half(tensor.scales[rows].float())
    return (codes.unflatten(-1, (scales.shape[1], -1)) * scales.unsqueeze(-1)).flatten(-2)


def _product(x_PC: Tensor, tensor: QuantizedTensor | Tensor, *, halves: bool = False) -> Tensor:
    """Logits [P, V], some rows of the head in floats at a time."""
    rows, columns = tensor.shape if isinstance(tensor, Tensor) else tensor.codes.shape
    step = max(1, _BLOCK // columns)
    pieces = []
    for start in range(0, rows, step):
        weight = _dense(tensor, slice(start, start + step))
        pieces.append(nn.functional.linear(x_PC, _half(weight) if halves else weight))
    return torch.cat(pieces, dim=-1)


def _half(x: Tensor) -> Tensor:
    """float32 numbers that a float16 holds."""
    return x.to(torch.float16).to(torch.float32)
