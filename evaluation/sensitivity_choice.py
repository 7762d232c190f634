"""Which weight matrices make a row, what they weigh, and which of them to keep in 8 bits for a given room.

Knows names, shapes and costs; no model and no text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.sensitivity_result import By, Cost
from model.checkpoint import float_shapes, open_tensors
from model.config import ModelConfig
from quant.plan import layer_shapes
from quant.ptq import stored_shapes
from quant.recipe import LayerScheme, SchemeName

WIDER: SchemeName = "int8-channel"
ROOM = 0.05  # of all weights' bytes: what the suggested layers may take more


@dataclass(frozen=True, kw_only=True)
class Group:
    """Weight matrices that are quantized together."""

    name: str
    pattern: str  # that an override of just these takes
    layers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Weight:
    """Bytes of one matrix."""

    in_float: int  # as the float checkpoint holds it
    quantized: int  # codes and scales
    wider: int  # the same in 8 bits per channel


def group_layers(layers: Sequence[str], by: By) -> list[Group]:
    """The rows of a measurement, in the model's order; a table stands alone in each grouping."""
    groups: dict[str, Group] = {}
    for layer in layers:
        name = pattern = layer
        if layer.startswith("layers.") and by == "kind":
            name = layer.split(".", 2)[2]
            pattern = f"layers.*.{name}"
        elif layer.startswith("layers.") and by == "block":
            name = layer[: layer.index(".", len("layers."))]
            pattern = f"{name}.*"
        before = groups[name].layers if name in groups else ()
        groups[name] = Group(name=name, pattern=pattern, layers=(*before, layer))
    return list(groups.values())


def weigh(checkpoint: Path, config: ModelConfig, plan: Mapping[str, LayerScheme]) -> dict[str, Weight]:
    """The bytes of each matrix of a float checkpoint that is in a plan, which leaves none of these float."""
    reader, wider = open_tensors(checkpoint), LayerScheme(scheme=WIDER, bits=8)
    found = {}
    shapes = layer_shapes(float_shapes(config))
    for name, scheme in plan.items():
        shape = shapes[name]
        in_float = shape[0] * shape[1] * reader.dtype(f"{name}.weight").itemsize
        found[name] = Weight(in_float=in_float, quantized=_bytes(shape, scheme), wider=_bytes(shape, wider))
    return found


def suggest(rows: Sequence[Cost], room: float) -> list[Cost]:
    """The rows to keep in 8 bits: by what they cost for each byte more, as long as they fit; if none does, the first.

    Args:
        room: bytes that they may take more, together.
    """
    found: list[Cost] = []
    useful = [row for row in rows if row.more_bytes and row.kl.value > 0]
    useful.sort(key=lambda row: -row.kl.value / (row.more_bytes or 1))
    for row in useful:
        if sum(one.more_bytes or 0 for one in (*found, row)) <= room:
            found.append(row)
    return found or useful[:1]


def _bytes(shape: tuple[int, int], scheme: LayerScheme) -> int:
    stored = stored_shapes("", shape, scheme).values()
    return sum(size[0] * size[1] * dtype.itemsize for size, dtype in stored)
