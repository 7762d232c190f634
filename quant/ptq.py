"""Post-training quantization of one layer at a time, and what a plan of many layers amounts to in bytes.

Knows tensors and names, no folder. What looks at text is quant/calibration.py.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from model.config import ModelConfig
from quant.integers import QuantizedTensor, quantize_with_scales, scale_dtype, scale_shape
from quant.methods import DEFAULT_METHOD, TRAINED
from quant.packing import pack_int4, unpack_int4
from quant.plan import Choice
from quant.recipe import LayerScheme
from quant.scales import quantize_matrix

StoredShapes = dict[str, tuple[tuple[int, ...], torch.dtype]]


@dataclass(frozen=True, kw_only=True)
class KindSummary:
    """What one kind of layer became; a kind with exceptions has one of these for each scheme."""

    kind: str  # "embedding", "attention.q_proj", "feed_forward.down_proj", "head"
    scheme: str
    bits: int
    group_size: int | None
    layers: int


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What `quantize` makes of a checkpoint; known before a weight is read."""

    recipe: str
    group_size: int | None
    method: str  # how codes and scales are chosen
    kinds: tuple[KindSummary, ...]
    exceptions: Mapping[str, str]  # layer name to the reason why it departs from the recipe
    parameters: int
    codes_bytes: int
    scales_bytes: int
    float_bytes: int  # norms, and what the recipe leaves float

    @property
    def total_bytes(self) -> int:
        return self.codes_bytes + self.scales_bytes + self.float_bytes

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"kinds": [asdict(kind) for kind in self.kinds], "total_bytes": self.total_bytes}


def quantize_layer(
    name: str,
    weight_NK: torch.Tensor,
    scheme: LayerScheme,
    learned_scale: torch.Tensor | None = None,
    *,
    method: str = DEFAULT_METHOD,
) -> QuantizedTensor:
    """One layer's codes and scales.

    Args:
        name: for the error message.
        learned_scale: scales from training; they are the grid, or the layer is refused: they are never dropped.
        method: a method that needs no text, or "trained": round to nearest where there is no learned scale.

    Raises:
        ValueError: the weights cannot be quantized, or the learned scales belong to another grid.
    """
    try:
        if learned_scale is None:
            return quantize_matrix(weight_NK, scheme, DEFAULT_METHOD if method == TRAINED else method)
        return quantize_with_scales(weight_NK, learned_scale, scheme)
    except ValueError as error:
        cure = "" if learned_scale is None else "; quantize with the recipe and group size that it was trained for"
        raise ValueError(f"layer {name}: {error}{cure}") from None


def stored_shapes(name: str, shape: tuple[int, int], scheme: LayerScheme) -> StoredShapes:
    """Names, shapes and types of the tensors that hold a quantized layer in a checkpoint."""
    rows, columns = shape
    codes = ((rows, columns // 2), torch.uint8) if scheme.bits == 4 else ((rows, columns), torch.int8)
    return {f"{name}.codes": codes, f"{name}.scales": (scale_shape(shape, scheme), scale_dtype(scheme))}


def to_stored(name: str, tensor: QuantizedTensor) -> Iterator[tuple[str, torch.Tensor]]:
    """A layer's tensors as a checkpoint holds them: 4-bit codes packed two a byte."""
    yield f"{name}.codes", pack_int4(tensor.codes) if tensor.scheme.bits == 4 else tensor.codes
    yield f"{name}.scales", tensor.scales


def from_stored(name: str, codes: torch.Tensor, scales: torch.Tensor, scheme: LayerScheme) -> QuantizedTensor:
    """The inverse of `to_stored`.

    Raises:
        ValueError: parts that do not belong together, or scales that are not positive and finite.
    """
    try:
        if not bool(torch.isfinite(scales).all()) or not bool((scales > 0).all()):
            raise ValueError("scales must be positive and finite; the checkpoint is damaged, quantize again")
        unpacked = unpack_int4(codes) if scheme.bits == 4 else codes
        return QuantizedTensor(codes=unpacked, scales=scales, scheme=scheme)
    except ValueError as error:
        raise ValueError(f"layer {name}: {error}") from None


def summarize(
    choice: Choice, config: ModelConfig, stored: Mapping[str, tuple[tuple[int, ...], torch.dtype]]
) -> Summary:
    """Counts what a choice gives.

    Args:
        stored: every tensor of the checkpoint to be, by `stored_shapes` or as it stands in the float one.
    """
    kinds: dict[tuple[str, str, int, int | None], int] = {}
    for name, layer in choice.layers.items():
        key = (_kind(name), layer.scheme, layer.bits, layer.group_size)
        kinds[key] = kinds.get(key, 0) + 1
    sizes = {"codes": 0, "scales": 0, "weight": 0, "weight_scale": 0}
    for name, (shape, dtype) in stored.items():
        sizes[name.rpartition(".")[2]] += torch.Size(shape).numel() * dtype.itemsize
    return Summary(
        recipe=choice.recipe,
        group_size=choice.group_size,
        method=choice.method,
        parameters=config.num_parameters,
        kinds=tuple(
            KindSummary(kind=kind, scheme=scheme, bits=bits, group_size=group, layers=layers)
            for (kind, scheme, bits, group), layers in kinds.items()
        ),
        exceptions={name: layer.reason for name, layer in choice.layers.items() if layer.reason},
        codes_bytes=sizes["codes"],
        scales_bytes=sizes["scales"],
        float_bytes=sizes["weight"] + sizes["weight_scale"],
    )


def _kind(name: str) -> str:
    parts = name.split(".")
    return ".".join(parts[2:]) if parts[0] == "layers" else name
