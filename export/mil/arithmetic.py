"""What MIL's arithmetic operations compute, in numpy: elementwise, reductions, products, softmax, casts.

Definitions: coremltools 9.0, converters/mil/mil/ops/defs (iOS15 to iOS18). A parameter's name is MIL's, and so is its
default. Floating point is float32 throughout; who runs the operation rounds its result.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

CASTS = {  # the texts that `cast` takes
    "fp16": "float16", "fp32": "float32", "int8": "int8", "uint8": "uint8", "int16": "int16", "uint16": "uint16",
    "int32": "int32", "bool": "bool",
}  # fmt: skip


def _inverse(x: Array, epsilon: Array | float = 1e-4) -> Array:
    return 1 / (x + epsilon)


def _rsqrt(x: Array, epsilon: Array | float = 1e-12) -> Array:
    return 1 / np.sqrt(x + epsilon)


def _log(x: Array, epsilon: Array | float = 1e-45) -> Array:
    return np.log(x + epsilon)


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def _relu(x: Array) -> Array:
    return np.maximum(x, 0)


def _clip(x: Array, alpha: Array, beta: Array) -> Array:
    return np.clip(x, alpha, beta)


def _softmax(x: Array, axis: Array | int = -1) -> Array:
    """Shifted by the largest, so that no exponential overflows."""
    powers = np.exp(x - x.max(axis=int(axis), keepdims=True))
    return powers / powers.sum(axis=int(axis), keepdims=True)


def _real_div(x: Array, y: Array) -> Array:
    """x / y; of integers the quotient without its fraction."""
    if x.dtype.kind == "f":
        return x / y
    if not np.all(y):
        raise ValueError("it divides by zero")
    return np.trunc(x / y).astype(x.dtype)


def _floor_div(x: Array, y: Array) -> Array:
    if x.dtype.kind != "f" and not np.all(y):
        raise ValueError("it divides by zero")
    return np.floor_divide(x, y)


def _mod(x: Array, y: Array) -> Array:
    if x.dtype.kind != "f" and not np.all(y):
        raise ValueError("it divides by zero")
    return np.mod(x, y)


def _cast(x: Array, dtype: str) -> Array:
    """x as another type; numbers lose their fraction, and none may leave the type's range."""
    if dtype not in CASTS:
        raise ValueError(f"it casts to {dtype!r}; {', '.join(CASTS)} are known")
    wanted = np.dtype("float32" if dtype.startswith("fp") else CASTS[dtype])
    if wanted.kind in "iu" and x.size and x.dtype != wanted:
        limits = np.iinfo(wanted)
        low, high = x.min(), x.max()
        if not (limits.min <= low and high <= limits.max):
            raise ValueError(f"it casts {low if low < limits.min else high} to {dtype}, which cannot hold it")
    return x.astype(wanted)


def _matmul(
    x: Array,
    y: Array,
    transpose_x: Array | bool = False,
    transpose_y: Array | bool = False,
) -> Array:
    return np.matmul(np.swapaxes(x, -1, -2) if transpose_x else x, np.swapaxes(y, -1, -2) if transpose_y else y)


def _linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """x [..., K] times weight [N, K] transposed, plus bias [N]."""
    if weight.ndim != 2 or x.shape[-1] != weight.shape[1]:
        raise ValueError(f"it multiplies {list(x.shape)} with a weight of {list(weight.shape)}")
    product = x.reshape(-1, x.shape[-1]) @ weight.T
    if bias is not None:
        product += bias
    return product.reshape(*x.shape[:-1], weight.shape[0])


def _reduction(reduce: Callable[..., Array]) -> Callable[..., Array]:
    def compute(x: Array, axes: Array | None = None, keep_dims: Array | bool = False) -> Array:
        along = None if axes is None else tuple(int(axis) for axis in np.atleast_1d(axes))
        return np.asarray(reduce(x, axis=along, keepdims=bool(keep_dims)), dtype=x.dtype)

    return compute


def _sum_of_squares(x: Array, axis: tuple[int, ...] | None, keepdims: bool) -> Array:
    return np.sum(np.square(x), axis=axis, keepdims=keepdims)


def _one(function: Callable[[Array], Array]) -> Callable[..., Array]:
    def compute(x: Array) -> Array:
        return function(x)

    return compute


def _two(function: Callable[[Array, Array], Array]) -> Callable[..., Array]:
    def compute(x: Array, y: Array) -> Array:
        return function(x, y)

    return compute


ARITHMETIC: dict[str, Callable[..., Any]] = {
    **{
        name: _one(getattr(np, name))
        for name in ("abs", "ceil", "cos", "exp", "floor", "sign", "sin", "sqrt", "square", "tanh")
    },
    "round": _one(np.rint),
    "logical_not": _one(np.logical_not),
    **{
        name: _two(function)
        for name, function in {
            "add": np.add, "sub": np.subtract, "mul": np.multiply, "pow": np.power, "maximum": np.maximum,
            "minimum": np.minimum, "equal": np.equal, "not_equal": np.not_equal, "greater": np.greater,
            "greater_equal": np.greater_equal, "less": np.less, "less_equal": np.less_equal,
            "logical_and": np.logical_and, "logical_or": np.logical_or,
        }.items()
    },
    "real_div": _real_div,
    "floor_div": _floor_div,
    "mod": _mod,
    "inverse": _inverse,
    "rsqrt": _rsqrt,
    "log": _log,
    "sigmoid": _sigmoid,
    "silu": _silu,
    "relu": _relu,
    "clip": _clip,
    "softmax": _softmax,
    "cast": _cast,
    "matmul": _matmul,
    "linear": _linear,
    "reduce_max": _reduction(np.max),
    "reduce_min": _reduction(np.min),
    "reduce_mean": _reduction(np.mean),
    "reduce_sum": _reduction(np.sum),
    "reduce_sum_square": _reduction(_sum_of_squares),
}  # fmt: skip
COMPARISONS = frozenset(
    ("equal", "not_equal", "greater", "greater_equal", "less", "less_equal", "logical_and", "logical_or", "logical_not")
)
