"""Proves that the integers inside a CoreML `.pte` are the checkpoint's: codes, float16 scales, norms, scalars.

Reads the bytes that will run (export/coreml_weights.py); nothing is taken from a manifest or a constant's name. Which
matrix is which follows from the order of the operations; that they are also connected so is shown by execution
(export/coreml_verify.py). Legend: N rows, K columns, S scales a row, C model width.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch

from export.checkpoint_weights import CheckpointWeights, open_weights
from export.coreml.row_order import row_order
from export.coreml_constants import compare_floats, settings
from export.coreml_weights import CoremlConstants, CoremlWeight, by_method
from export.layer_weights import layer_order
from export.mil.container import CoremlFile, open_coreml
from export.static_layout import row_chunks
from model.config import ModelConfig
from quant.integers import QuantizedTensor, row_blocks

_TABLE, _HEAD = "embedding", "head"
_SMALLEST_NORMAL = 2.0**-14  # 6.1e-5
_MOST_SEARCHED = 16  # wrong layers among which the ones that only changed places are looked for


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The outcome: a sentence a problem, and what was compared beside the layers, in words."""

    problems: tuple[str, ...]
    settings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some rows of a layer's matrix, which stand in a CoreML program as a matrix of their own."""

    layer: str
    rows: slice


def integer_problems(program: Path, checkpoint: Path) -> list[str]:
    """`compare_coreml_integers` of a `.pte` and the quantized checkpoint that it was made from."""
    return compare_coreml_integers(open_coreml(program), open_weights(checkpoint))


def compare_coreml_integers(file: CoremlFile, weights: CheckpointWeights) -> list[str]:
    """The problems of `coreml_comparison`."""
    return list(coreml_comparison(file, weights).problems)


def coreml_comparison(file: CoremlFile, weights: CheckpointWeights) -> Compared:
    """Compares every constant of every method with what it was made from, one layer in memory at a time.

    Returns:
        A problem is a sentence, beginning with the layer's name, or with the operation's where no layer has such a
        constant; empty when each code, each scale (as float16) and each norm weight (as float16) is the checkpoint's,
        and each is stored once.

    Raises:
        ValueError: the file is damaged, or the checkpoint.
    """
    constants = by_method(file.methods)
    problems = [problem for name, found in constants.items() for problem in _count_problems(name, found, weights)]
    scales = Scales()
    if not problems:
        problems = _Comparison(constants, weights, scales).run()
    for name, found in constants.items():
        problems += compare_floats(f"method {name}", found, weights)
    words = (scales.sentence, *settings(constants["forward"], weights.info.config)) if not problems else ()
    return Compared(problems=tuple(dict.fromkeys(problems)), settings=words)


def linear_parts(config: ModelConfig) -> list[Part]:
    """What each `linear` of a method multiplies by, in the order in which a program computes."""
    layers = [Part(layer=name, rows=slice(0, shape[0])) for name, shape in layer_order(config)[1:-1]]
    return layers + _chunks(_HEAD, config)


def gather_parts(config: ModelConfig) -> list[Part]:
    """What each gather of a weight matrix picks rows from."""
    return _chunks(_TABLE, config)


def _chunks(layer: str, config: ModelConfig) -> list[Part]:
    sizes = row_chunks(config.vocab_size)
    return [Part(layer=layer, rows=slice(end - size, end)) for size, end in zip(sizes, accumulate(sizes), strict=True)]


def _count_problems(method: str, found: CoremlConstants, weights: CheckpointWeights) -> Iterator[str]:
    config = weights.info.config
    for what, parts, uses in (
        ("projections", linear_parts(config), found.linears),
        ("chunks of the input table", gather_parts(config), found.gathers),
    ):
        if len(parts) != len(uses):
            yield f"method {method} has {len(uses)} {what}, the checkpoint's model {len(parts)}"


@dataclass
class Scales:
    """What float16 makes of the checkpoint's scales."""

    total: int = 0
    rounded: int = 0
    small: int = 0  # below float16's smallest normal number, where it has fewer digits
    worst: float = 0.0  # relative

    def count(self, tensor: "QuantizedTensor | torch.Tensor") -> None:
        if isinstance(tensor, torch.Tensor):
            return
        exact = tensor.scales.double()
        half = tensor.scales.to(torch.float16)
        self.total += exact.numel()
        self.rounded += int((half.double() != exact).sum())
        self.small += int((half < _SMALLEST_NORMAL).sum())
        self.worst = max(self.worst, float((half.double() / exact - 1).abs().max()))

    @property
    def sentence(self) -> str:
        if not self.rounded:
            return f"scales and norms as float16, which Core ML keeps; it holds all {self.total:,} scales exactly"
        small = f", {self.small:,} of them below {_SMALLEST_NORMAL:.2g}" if self.small else ""
        return (
            f"scales and norms as float16, which Core ML keeps: {self.rounded:,} of {self.total:,} scales were "
            f"rounded, by at most {self.worst:.2g} of their size{small}"
        )


class _Comparison:
    """Every matrix of the checkpoint against every constant that stands for it in any method."""

    def __init__(self, constants: Mapping[str, CoremlConstants], weights: CheckpointWeights, scales: "Scales") -> None:
        config = weights.info.config
        self.scales = scales
        self.weights, self.config = weights, config
        self.found: dict[str, list[tuple[Part, CoremlWeight]]] = {}
        for method in constants.values():
            uses = [*method.gathers, *method.linears]
            for part, use in zip([*gather_parts(config), *linear_parts(config)], uses, strict=True):
                self.found.setdefault(self._stored(part.layer), []).append((part, use))
        self.wrong: list[tuple[Part, CoremlWeight]] = []

    def run(self) -> list[str]:
        problems: list[str] = []
        for layer, uses in self.found.items():
            tensor = self._load(layer)
            self.scales.count(tensor)
            problems += self._copies(layer, uses)
            seen = set()
            for part, use in uses:
                key = (use.place, part.rows.start)
                if key not in seen:
                    seen.add(key)
                    found = list(differences(part.layer, use, tensor, part.rows))
                    problems += found
                    self.wrong += [(part, use)] * bool(found)
        return problems + list(self._exchanged())

    def _stored(self, layer: str) -> str:
        """The layer of the checkpoint that holds a matrix: a tied head is the table."""
        return _TABLE if layer == _HEAD and self.config.tied else layer

    def _load(self, layer: str) -> "QuantizedTensor | torch.Tensor":
        """A layer with its rows in the program's order."""
        tensor, order = self.weights.load(layer), row_order(self.config, layer)
        if order is None:
            return tensor
        moved = torch.tensor(order)
        if isinstance(tensor, torch.Tensor):
            return tensor[moved]
        return QuantizedTensor(codes=tensor.codes[moved], scales=tensor.scales[moved], scheme=tensor.scheme)

    def _copies(self, layer: str, uses: Sequence[tuple[Part, CoremlWeight]]) -> Iterator[str]:
        """Each part is one constant, whoever uses it: methods share weights, a tied table serves gather and head."""
        places: dict[int, set[tuple[int, int | None]]] = {}
        for part, use in uses:
            places.setdefault(part.rows.start, set()).add(use.place)
        for start, found in places.items():
            if len(found) > 1:
                at = "" if len(places) == 1 else f" (rows from {start})"
                yield f"{layer}{at} stands {len(found)} times in the file's weights; each matrix must stand there once"

    def _exchanged(self) -> Iterator[str]:
        """Which wrong layers are another's: said beside what differs, since that is what happened."""
        if len(self.wrong) < 2 or len(self.wrong) > _MOST_SEARCHED:
            return
        for part, _ in self.wrong:
            tensor = self._load(self._stored(part.layer))
            for other, use in self.wrong:
                if other.layer != part.layer and not list(differences(part.layer, use, tensor, part.rows)):
                    yield f"{part.layer}: its numbers stand where {other.layer} is used (operation {use.operation})"


def differences(
    name: str, use: CoremlWeight, tensor: "QuantizedTensor | torch.Tensor", rows: slice = slice(None)
) -> Iterator[str]:
    """What differs between a constant of the file and some rows of the matrix that it stands for."""
    where = f"(operation {use.operation})"
    if isinstance(tensor, torch.Tensor):
        yield f"{name}: the checkpoint keeps it float, which no CoreML program of ours holds {where}"
        return
    codes, scales = tensor.codes[rows], tensor.scales[rows]
    if use.shape != tuple(codes.shape):
        yield f"{name}: the file's matrix is {list(use.shape)}, the checkpoint's {list(codes.shape)} {where}"
        return
    if use.kind == "float":
        yield f"{name}: the file holds {use.content_dtype} in place of {tensor.scheme.scheme} {where}"
        return
    bits = int(use.content_dtype.removeprefix("int"))
    per_scale, wanted = _columns_per_scale(use), codes.shape[1] // scales.shape[1]
    if (bits, per_scale) != (tensor.scheme.bits, wanted):
        yield (
            f"{name}: the file has {bits} bits with a scale for {per_scale} columns, the checkpoint "
            f"{tensor.scheme.bits} bits with one for {wanted} {where}"
        )
        return
    count, first = 0, None
    for block in row_blocks(codes.shape):
        places = np.argwhere(use.codes(block) != codes[block].numpy())
        count += len(places)
        if first is None and len(places):
            first = [block.start + int(places[0][0]), int(places[0][1])]
    if first is not None:
        yield f"{name}: {count} of {codes.numel()} codes differ, first at {first} {where}"
    wanted_scales = scales.to(torch.float16).numpy()
    wrong = np.argwhere(_bits(use.scales()) != _bits(wanted_scales))
    if len(wrong):
        first = [int(i) for i in wrong[0]]
        yield (
            f"{name}: {len(wrong)} of {scales.numel()} scales are not the checkpoint's as float16, first at {first}: "
            f"{float(use.scales()[tuple(first)])!r} in place of {float(wanted_scales[tuple(first)])!r} {where}"
        )


def _columns_per_scale(use: CoremlWeight) -> int:
    return use.group_size or use.shape[1]


def _bits(
    floats: "np.ndarray[tuple[int, ...], np.dtype[np.floating]]",
) -> "np.ndarray[tuple[int, ...], np.dtype[np.int32]]":
    """The bits of floats, widened to float32, which holds every float16: 0 and -0 differ, and a NaN equals itself."""
    return np.ascontiguousarray(floats.astype(np.float32)).view(np.int32)
