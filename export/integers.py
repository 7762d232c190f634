"""Proves that the codes and scales inside a `.pte` are those of the checkpoint, and names each layer where not.

Reads the bytes that will run (export/file_weights.py); nothing is taken from a manifest. Some rows of the file are in
memory at a time, and of the checkpoint what it is asked for. Legend: N rows, K columns, S scales a row.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch

from export.file_weights import FileWeight, read_weights
from export.pte import Pte
from quant.integers import QuantizedTensor
from quant.recipe import SchemeName

Expected = QuantizedTensor | torch.Tensor
Layer = tuple[str, Expected | Callable[[], Expected]]  # a function reads the layer anew each time it is needed

_BLOCK_ELEMENTS = 1 << 22  # codes that are compared at a time
TABLE = "embedding"


@dataclass(frozen=True, kw_only=True)
class _Difference:
    """What is not equal in one layer."""

    line: str
    count: int  # of codes, scales or weights; 0: the two have different shapes or schemes


def compare_integers(pte: Pte, expected: Sequence[Layer], method: str = "forward") -> list[str]:
    """Compares every weight of the file with what it was made from.

    Linear layers are matched by position from delegate to delegate and by content inside one, where XNNPACK's order
    is its own. The input table is the entry named `embedding`, wherever it stands in the list.

    Args:
        expected: name and codes (or float weight) of each layer in the order in which the program computes them:
            per layer q, k, v, o, gate, up, down; then the head, also when it is the same tensor as the table. Where a
            function stands for a layer, one layer is in memory at a time.

    Returns:
        One line a problem, beginning with the layer's name; empty when every code and every scale is equal.

    Raises:
        ValueError: the file is damaged.
    """
    weights = list(read_weights(pte, method))
    tables = [w for w in weights if w.delegate is None]
    linears = [w for w in weights if w.delegate is not None]
    problems = _compare_tables(tables, [layer for name, layer in expected if name == TABLE])
    layers = [(name, tensor) for name, tensor in expected if name != TABLE]
    if len(linears) != len(layers):
        return problems + list(_missing_and_extra(linears, layers))
    start = 0
    for _, group in groupby(linears, key=lambda weight: weight.delegate):
        members = list(group)
        problems += _compare_group(members, layers[start : start + len(members)])
        start += len(members)
    return problems


def _load(layer: Expected | Callable[[], Expected]) -> Expected:
    return layer() if callable(layer) else layer


def _compare_tables(tables: list[FileWeight], wanted: list[Expected | Callable[[], Expected]]) -> list[str]:
    problems = [f"{TABLE}: missing from the program; no embedding kernel has a table"] * (len(wanted) > len(tables))
    problems += [f"{table.place}: this table is not in the checkpoint" for table in tables[len(wanted) :]]
    for table, layer in zip(tables, wanted, strict=False):
        problems += [difference.line for difference in _compare(TABLE, table, _load(layer))]
    return problems


def _compare_group(weights: list[FileWeight], layers: Sequence[Layer]) -> list[str]:
    """Weights of one delegate against as many layers: equal ones first, then the nearest of the same shape."""
    left = list(weights)
    open_layers: list[Layer] = []
    for name, layer in layers:
        tensor = _load(layer)
        match = next((w for w in left if not _compare(name, w, tensor)), None)
        if match is None:
            open_layers.append((name, layer))
        else:
            left.remove(match)
    problems = []
    for name, layer in open_layers:
        tensor = _load(layer)
        shape = _shape(tensor)
        found = [(weight, _compare(name, weight, tensor)) for weight in left if weight.shape == shape]
        if not found:
            problems.append(
                f"{name}: no weight [{shape[0]}, {shape[1]}] where it belongs, but " + ", ".join(w.place for w in left)
            )
            continue
        near, differences = min(found, key=lambda pair: sum(d.count or shape[0] * shape[1] for d in pair[1]))
        left.remove(near)
        problems += [difference.line for difference in differences]
    return problems


def _compare(name: str, weight: FileWeight, tensor: Expected) -> list[_Difference]:
    """What differs between a weight of the file and what it was made from: one for codes and one for scales."""
    kind, shape = _kind(tensor), _shape(tensor)
    if weight.shape != shape:
        line = f"{name}: the file's weight is {list(weight.shape)}, the checkpoint's {list(shape)}"
        return [_Difference(line=line, count=0)]
    group = tensor.scheme.group_size if isinstance(tensor, QuantizedTensor) else None
    if (weight.kind, weight.group_size) != (kind, group):
        line = (
            f"{name}: the file's weight is {_scheme(weight.kind, weight.group_size)}, "
            f"the checkpoint's {_scheme(kind, group)}"
        )
        return [_Difference(line=line, count=0)]
    if isinstance(tensor, torch.Tensor):
        return _differences(name, "weights", ((_bits(weight.floats(r)), _bits(tensor[r])) for r in _blocks(shape)))
    codes = _differences(name, "codes", ((weight.codes(r), tensor.codes[r]) for r in _blocks(shape)))
    scales = _differences(name, "scales", ((_bits(weight.scales(r)), _bits(tensor.scales[r])) for r in _blocks(shape)))
    return codes + scales


def _bits(floats: torch.Tensor) -> torch.Tensor:
    """The bits of floats, widened to float32: 0 and -0 differ, and a NaN equals itself."""
    return floats.detach().float().contiguous().view(torch.int32)


def _differences(name: str, what: str, pairs: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> list[_Difference]:
    count = total = row = 0
    first: list[int] | None = None
    for ours, theirs in pairs:
        if not torch.equal(ours, theirs):
            places = (ours != theirs).nonzero()
            count += len(places)
            if first is None and len(places):
                first = [row + int(places[0][0]), int(places[0][1])]
        total, row = total + theirs.numel(), row + len(theirs)
    if first is None:
        return []
    return [_Difference(line=f"{name}: {count} of {total} {what} differ, first at {first}", count=count)]


def _missing_and_extra(weights: list[FileWeight], layers: Sequence[Layer]) -> Iterator[str]:
    """With different counts positions mean nothing: every layer is looked for by content."""
    yield f"the program has {len(weights)} linear weights, the checkpoint {len(layers)}"
    have = Counter(_digest_file(weight) for weight in weights)
    for name, layer in layers:
        tensor = _load(layer)
        digest = _digest_expected(tensor)
        if have[digest]:
            have[digest] -= 1
        else:
            yield f"{name}: its {_scheme(_kind(tensor), None)} weight {list(_shape(tensor))} is not in the program"
    for weight in weights:
        digest = _digest_file(weight)
        if have[digest]:
            have[digest] -= 1
            yield f"{weight.place}: this weight is not in the checkpoint"


def _digest_file(weight: FileWeight) -> str:
    digest = hashlib.sha256(f"{weight.kind} {weight.shape} {weight.group_size}".encode())
    for rows in _blocks(weight.shape):
        if weight.kind == "float":
            digest.update(_bytes(weight.floats(rows)))
        else:
            digest.update(_bytes(weight.codes(rows)))
            digest.update(_bytes(weight.scales(rows)))
    return digest.hexdigest()


def _digest_expected(tensor: Expected) -> str:
    group = tensor.scheme.group_size if isinstance(tensor, QuantizedTensor) else None
    digest = hashlib.sha256(f"{_kind(tensor)} {_shape(tensor)} {group}".encode())
    for rows in _blocks(_shape(tensor)):
        if isinstance(tensor, torch.Tensor):
            digest.update(_bytes(tensor[rows]))
        else:
            digest.update(_bytes(tensor.codes[rows]))
            digest.update(_bytes(tensor.scales[rows]))
    return digest.hexdigest()


def _bytes(tensor: torch.Tensor) -> bytes:
    wide = tensor if tensor.dtype == torch.int8 else tensor.detach().float()
    return bytes(wide.contiguous().numpy().tobytes())


def _kind(tensor: Expected) -> SchemeName:
    return "float" if isinstance(tensor, torch.Tensor) else tensor.scheme.scheme


def _shape(tensor: Expected) -> tuple[int, int]:
    rows, columns = tensor.shape if isinstance(tensor, torch.Tensor) else tensor.codes.shape
    return int(rows), int(columns)


def _scheme(kind: SchemeName, group: int | None) -> str:
    return f"{kind} of {group}" if group else kind


def _blocks(shape: tuple[int, int]) -> Iterator[slice]:
    step = max(1, _BLOCK_ELEMENTS // max(1, shape[1]))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))
