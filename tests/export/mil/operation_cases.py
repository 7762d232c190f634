"""Every operation that the executor knows: inputs, and what torch makes of them. A case is (kind, inputs, expected)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

RANDOM = np.random.default_rng(11)


def floats(*shape: int) -> Any:
    return RANDOM.standard_normal(shape).astype(np.float32)


def ints(*numbers: int) -> Any:
    return np.array(numbers, dtype=np.int32)


def flags(*values: int) -> Any:
    return np.array(values, dtype=bool)


def number(value: int) -> Any:
    return np.int32(value)


X, Y, ROW = floats(2, 3, 4), floats(2, 3, 4), floats(4)
POSITIVE = np.abs(X) + 0.1
COUNTS, OTHERS = RANDOM.integers(-9, 9, (3, 4), dtype=np.int32), RANDOM.integers(1, 5, (3, 4), dtype=np.int32)
TRUTHS = X > 0
T = torch.from_numpy
Case = tuple[str, dict[str, Any], Any]

ONE: dict[str, tuple[Callable[..., Any], Any]] = {
    "abs": (torch.abs, X), "ceil": (torch.ceil, X), "cos": (torch.cos, X), "exp": (torch.exp, X),
    "floor": (torch.floor, X), "sign": (torch.sign, X), "sin": (torch.sin, X), "sqrt": (torch.sqrt, POSITIVE),
    "square": (torch.square, X), "tanh": (torch.tanh, X), "round": (torch.round, 4 * X),
    "sigmoid": (torch.sigmoid, 9 * X),
    "silu": (torch.nn.functional.silu, 9 * X), "relu": (torch.relu, X), "identity": (torch.clone, X),
    "logical_not": (torch.logical_not, TRUTHS),
}  # fmt: skip
TWO: dict[str, Callable[..., Any]] = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "maximum": torch.maximum, "minimum": torch.minimum,
    "real_div": torch.div, "equal": torch.eq, "not_equal": torch.ne, "greater": torch.gt, "greater_equal": torch.ge,
    "less": torch.lt, "less_equal": torch.le,
}  # fmt: skip
REDUCTIONS: dict[str, Callable[..., Any]] = {
    "reduce_max": torch.amax, "reduce_min": torch.amin, "reduce_mean": torch.mean, "reduce_sum": torch.sum,
    "reduce_sum_square": lambda x, axes, keep: torch.sum(x * x, axes, keep),
}  # fmt: skip


def cases() -> list[Case]:
    found: list[Case] = [(kind, {"x": x}, reference(T(x))) for kind, (reference, x) in ONE.items()]
    found += [(kind, {"x": X, "y": y}, reference(T(X), T(y))) for kind, reference in TWO.items() for y in (Y, X, ROW)]
    found += [
        (kind, {"x": COUNTS, "y": y}, reference(T(COUNTS), T(y)))
        for kind, reference in TWO.items()
        if kind != "real_div"
        for y in (OTHERS, COUNTS)
    ]
    for kind, reference in REDUCTIONS.items():
        found.append((kind, {"x": X, "axes": ints(-1), "keep_dims": np.bool_(True)}, reference(T(X), (-1,), True)))
        found.append((kind, {"x": X, "axes": ints(0, 2), "keep_dims": np.bool_(False)}, reference(T(X), (0, 2), False)))
        found.append((kind, {"x": X}, reference(T(X), (0, 1, 2), False)))
    return found + arithmetic() + movement() + slices()


def arithmetic() -> list[Case]:
    wide, weight, bias = floats(2, 3, 5), floats(7, 5), floats(7)
    truths, deep = X < 0.5, floats(2, 4, 6)
    return [
        ("logical_and", {"x": TRUTHS, "y": truths}, T(TRUTHS) & T(truths)),
        ("logical_or", {"x": TRUTHS, "y": truths}, T(TRUTHS) | T(truths)),
        ("pow", {"x": POSITIVE, "y": Y}, torch.pow(T(POSITIVE), T(Y))),
        ("real_div", {"x": COUNTS, "y": OTHERS}, torch.div(T(COUNTS), T(OTHERS), rounding_mode="trunc")),
        ("floor_div", {"x": COUNTS, "y": OTHERS}, torch.floor_divide(T(COUNTS), T(OTHERS))),
        ("floor_div", {"x": X, "y": Y}, torch.floor_divide(T(X), T(Y))),
        ("mod", {"x": COUNTS, "y": OTHERS}, torch.remainder(T(COUNTS), T(OTHERS))),
        ("mod", {"x": X, "y": Y}, torch.remainder(T(X), T(Y))),
        ("inverse", {"x": POSITIVE, "epsilon": np.float32(0.25)}, torch.reciprocal(T(POSITIVE) + 0.25)),
        ("inverse", {"x": POSITIVE}, torch.reciprocal(T(POSITIVE) + 1e-4)),
        ("rsqrt", {"x": POSITIVE, "epsilon": np.float32(0.25)}, torch.rsqrt(T(POSITIVE) + 0.25)),
        ("rsqrt", {"x": POSITIVE}, torch.rsqrt(T(POSITIVE))),
        ("log", {"x": POSITIVE, "epsilon": np.float32(0.5)}, torch.log(T(POSITIVE) + 0.5)),
        ("clip", {"x": X, "alpha": np.float32(-0.5), "beta": np.float32(0.25)}, T(X).clamp(-0.5, 0.25)),
        ("softmax", {"x": 90 * X, "axis": number(1)}, torch.softmax(90 * T(X), 1)),
        ("softmax", {"x": X}, torch.softmax(T(X), -1)),
        ("linear", {"x": wide, "weight": weight}, torch.nn.functional.linear(T(wide), T(weight))),
        (
            "linear",
            {"x": wide, "weight": weight, "bias": bias},
            torch.nn.functional.linear(T(wide), T(weight), T(bias)),
        ),
        ("matmul", {"x": X, "y": deep}, T(X) @ T(deep)),
        ("matmul", {"x": X, "y": Y, "transpose_y": np.bool_(True)}, T(X) @ T(Y).mT),
        ("matmul", {"x": X, "y": Y, "transpose_x": np.bool_(True), "transpose_y": np.bool_(False)}, T(X).mT @ T(Y)),
        ("cast", {"x": 100 * X, "dtype": "int32"}, (100 * T(X)).to(torch.int32)),
        ("cast", {"x": 100 * X, "dtype": "int16"}, (100 * T(X)).to(torch.int16)),
        ("cast", {"x": COUNTS, "dtype": "fp32"}, T(COUNTS).float()),
        ("cast", {"x": COUNTS, "dtype": "bool"}, T(COUNTS).bool()),
        ("cast", {"x": TRUTHS, "dtype": "int32"}, T(TRUTHS).to(torch.int32)),
    ]


def movement() -> list[Case]:
    places = ints(2, 0, 1, 1)
    thin = floats(1, 3, 1)
    along = RANDOM.integers(0, 3, (2, 5, 4), dtype=np.int32)
    return [
        ("reshape", {"x": X, "shape": ints(4, -1)}, T(X).reshape(4, -1)),
        ("reshape", {"x": X, "shape": ints(0, -1, 0)}, T(X)),
        ("reshape", {"x": 0 * floats(1, 1), "shape": ints()}, torch.tensor(0.0)),
        ("transpose", {"x": X, "perm": ints(2, 0, 1)}, T(X).permute(2, 0, 1)),
        ("transpose", {"x": X, "perm": ints(0, -1, 1)}, T(X).permute(0, 2, 1)),
        ("expand_dims", {"x": X, "axes": ints(0, -1)}, T(X)[None, ..., None]),
        ("squeeze", {"x": thin, "axes": ints(-1)}, T(thin).squeeze(-1)),
        ("squeeze", {"x": thin}, T(thin).squeeze()),
        ("concat", {"values": [X, Y], "axis": number(-2)}, torch.cat((T(X), T(Y)), -2)),
        ("concat", {"values": [X, Y], "axis": number(0), "interleave": np.bool_(False)}, torch.cat((T(X), T(Y)))),
        ("concat", {"values": [number(3), number(4)], "axis": number(0)}, torch.tensor([3, 4], dtype=torch.int32)),
        ("stack", {"values": [X, Y], "axis": number(1)}, torch.stack((T(X), T(Y)), 1)),
        ("split", {"x": X, "axis": number(-1), "split_sizes": ints(1, 3)}, T(X).split((1, 3), -1)),
        ("split", {"x": X, "axis": number(2), "num_splits": number(2)}, T(X).split(2, 2)),
        ("tile", {"x": X, "reps": ints(1, 2, 3)}, T(X).repeat(1, 2, 3)),
        ("gather", {"x": X, "indices": places, "axis": number(1)}, T(X)[:, T(places).long()]),
        ("gather", {"x": X, "indices": ints(1, 0).reshape(2, 1)}, T(X)[torch.tensor([[1], [0]])]),
        ("gather", {"x": X, "indices": number(1), "axis": number(0)}, T(X)[1]),
        ("gather_along_axis", {"x": X, "indices": along, "axis": number(1)}, torch.gather(T(X), 1, T(along).long())),
        ("select", {"cond": TRUTHS, "a": X, "b": Y}, torch.where(T(TRUTHS), T(X), T(Y))),
        ("shape", {"x": X}, torch.tensor([2, 3, 4], dtype=torch.int32)),
        ("fill", {"shape": ints(2, 3), "value": np.float32(1.5)}, torch.full((2, 3), 1.5)),
        ("range_1d", {"end": number(9), "start": number(2), "step": number(3)}, T(ints(2, 5, 8))),
    ]  # fmt: skip


def slices() -> list[Case]:
    begin, end = ints(0, 1, -3), ints(2, -1, 4)
    mask, squeeze = flags(0, 1, 1), flags(1, 0, 0)
    full = X.copy()
    full[:, 1:-1, -3:4] = 7
    stepped = X.copy()
    stepped[1, ::2, :] = 8
    backwards, seven = T(X[:, 2:0:-1, ::2].copy()), torch.tensor(7, dtype=torch.int32)
    part = np.full((2, 1, 3), 7, dtype=np.float32)
    steps = {"begin": ints(1, 2, 0), "end": ints(0, 3, 0), "stride": ints(1, 2, 1)}
    masks = {"begin_mask": flags(0, 1, 0), "end_mask": mask, "squeeze_mask": squeeze}
    return [
        ("slice_by_index", {"x": X, "begin": begin, "end": end}, T(X)[:, 1:-1, -3:]),
        ("slice_by_index", {"x": X, **steps, **masks}, T(X)[1, ::2]),
        ("slice_by_index", {"x": X, "begin": ints(0, 2, 0), "end": ints(2, 0, 4), "stride": ints(1, -1, 2)}, backwards),
        ("slice_by_index", {"x": ints(5, 6, 7), "begin": ints(2), "end": ints(0), "squeeze_mask": flags(1)}, seven),
        ("slice_by_size", {"x": X, "begin": ints(0, 1, 2), "size": ints(2, 1, -1)}, T(X)[:, 1:2, 2:]),
        ("slice_update", {"x": X, "update": part, "begin": begin, "end": end}, T(full)),
        ("slice_update", {"x": X, "update": np.full((2, 4), 8, dtype=np.float32), **steps, **masks}, T(stepped)),
    ]  # fmt: skip
