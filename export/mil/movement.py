"""What MIL's operations on shapes and places do, in numpy: they move numbers and compute none.

Definitions: coremltools 9.0, converters/mil/mil/ops/defs (iOS15 to iOS18). A parameter's name is MIL's, and so is its
default.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def _ints(values: Array) -> list[int]:
    return [int(value) for value in np.atleast_1d(values)]


def _identity(x: Array) -> Array:
    return x


def _reshape(x: Array, shape: Array) -> Array:
    """-1 is what is left; 0 keeps the dimension, where the rank stays."""
    sizes = _ints(shape) if np.size(shape) else []
    if 0 in sizes and len(sizes) != x.ndim:
        raise ValueError(f"it reshapes {list(x.shape)} to {sizes}; a 0 needs the same rank")
    return x.reshape([x.shape[i] if size == 0 else size for i, size in enumerate(sizes)])


def _transpose(x: Array, perm: Array) -> Array:
    return x.transpose(_ints(perm))


def _expand_dims(x: Array, axes: Array) -> Array:
    return np.expand_dims(x, tuple(_ints(axes)))


def _squeeze(x: Array, axes: Array | None = None) -> Array:
    return x.squeeze(None if axes is None else tuple(_ints(axes)))


def _concat(values: Sequence[Array], axis: Array, interleave: Array | bool = False) -> Array:
    """Joins the values; scalars become vectors, as in coremltools' own shape arithmetic."""
    if interleave:
        raise ValueError("it interleaves its values, which is not read")
    if all(value.ndim == 0 for value in values):
        values = [value.reshape(1) for value in values]
    return np.concatenate(values, axis=int(axis))


def _stack(values: Sequence[Array], axis: Array) -> Array:
    return np.stack(values, axis=int(axis))


def _split(x: Array, axis: Array, num_splits: Array | None = None, split_sizes: Array | None = None) -> list[Array]:
    length = x.shape[int(axis)]
    if split_sizes is not None:
        sizes = _ints(split_sizes)
    elif num_splits is not None and int(num_splits) > 0 and length % int(num_splits) == 0:
        sizes = [length // int(num_splits)] * int(num_splits)
    else:
        raise ValueError(f"it splits {length} without sizes that fit")
    if sum(sizes) != length or min(sizes) < 0:
        raise ValueError(f"it splits {length} into {sizes}")
    return np.split(x, np.cumsum(sizes)[:-1], axis=int(axis))


def _tile(x: Array, reps: Array) -> Array:
    times = _ints(reps)
    if len(times) != x.ndim:
        raise ValueError(f"it repeats {list(x.shape)} {times} times; one number a dimension belongs there")
    return np.tile(x, times)


def _places(
    x: Array,
    begin: Array,
    end: Array,
    stride: Array | None,
    begin_mask: Array | None,
    end_mask: Array | None,
    squeeze_mask: Array | None,
) -> tuple[slice | int, ...]:
    """The index that cuts a slice out of x: a mask overrules begin or end; a squeezed dimension is one place."""
    given = [values for values in (begin, end, stride, begin_mask, end_mask, squeeze_mask) if values is not None]
    if any(np.shape(values) != (x.ndim,) for values in given):
        raise ValueError(f"it cuts {list(x.shape)} with lists of {[np.size(v) for v in given]} numbers")
    steps = _ints(stride) if stride is not None else [1] * x.ndim
    off = np.zeros(x.ndim, dtype=bool)
    masks = [off if mask is None else mask for mask in (begin_mask, end_mask, squeeze_mask)]
    found: list[slice | int] = []
    for i, (first, last, step) in enumerate(zip(_ints(begin), _ints(end), steps, strict=True)):
        if masks[2][i]:
            found.append(first)
            continue
        found.append(slice(None if masks[0][i] else first, None if masks[1][i] else last, step))
    return tuple(found)


def _slice_by_index(
    x: Array,
    begin: Array,
    end: Array,
    stride: Array | None = None,
    begin_mask: Array | None = None,
    end_mask: Array | None = None,
    squeeze_mask: Array | None = None,
) -> Array:
    return np.asarray(x[_places(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)])


def _slice_by_size(x: Array, begin: Array, size: Array) -> Array:
    """`size` numbers from `begin` on; -1 means all that are left."""
    places = []
    for length, first, count in zip(x.shape, _ints(begin), _ints(size), strict=True):
        first = first + length if first < 0 else first
        last = length if count == -1 else first + count
        if not 0 <= first <= last <= length:
            raise ValueError(f"it takes {count} of {length} from {first} on")
        places.append(slice(first, last))
    return x[tuple(places)]


def _slice_update(
    x: Array,
    update: Array,
    begin: Array,
    end: Array,
    stride: Array | None = None,
    begin_mask: Array | None = None,
    end_mask: Array | None = None,
    squeeze_mask: Array | None = None,
) -> Array:
    """A copy of x with `update` in the slice, which must have the update's very shape."""
    places = _places(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    result = x.copy()
    if result[places].shape != update.shape:
        raise ValueError(f"it writes {list(update.shape)} into a slice of {list(result[places].shape)}")
    result[places] = update
    return result


def _inside(indices: Array, count: int) -> Array:
    """The indices, none of which may lead outside: what Core ML reads there is undefined."""
    if indices.size and not (indices.min() >= 0 and indices.max() < count):
        worst = int(indices.max() if indices.max() >= count else indices.min())
        raise ValueError(f"it gathers place {worst} of {count}")
    return indices.astype(np.int64)


def _gather(
    x: Array,
    indices: Array,
    axis: Array | int = 0,
    batch_dims: Array | int = 0,
    validate_indices: Array | bool = False,
) -> Array:
    """Slices of x along the axis, in the indices' shape."""
    if batch_dims:
        raise ValueError(f"it gathers with {int(batch_dims)} batch dimensions, which is not read")
    return np.take(x, _inside(indices, x.shape[int(axis)]), axis=int(axis))


def _gather_along_axis(
    x: Array,
    indices: Array,
    axis: Array | int = 0,
    validate_indices: Array | bool = False,
) -> Array:
    return np.take_along_axis(x, _inside(indices, x.shape[int(axis)]), axis=int(axis))


def _select(cond: Array, a: Array, b: Array) -> Array:
    return np.where(cond, a, b)


def _shape(x: Array) -> Array:
    return np.array(x.shape, dtype=np.int32)


def _fill(shape: Array, value: Array | float = 0.0) -> Array:
    return np.full(_ints(shape), value, dtype=np.float32 if isinstance(value, float) else value.dtype)


def _range_1d(end: Array, start: Array, step: Array) -> Array:
    return np.arange(start.item(), end.item(), step.item(), dtype=start.dtype)


MOVEMENT: dict[str, Callable[..., Any]] = {
    "identity": _identity,
    "reshape": _reshape,
    "transpose": _transpose,
    "expand_dims": _expand_dims,
    "squeeze": _squeeze,
    "concat": _concat,
    "stack": _stack,
    "split": _split,
    "tile": _tile,
    "slice_by_index": _slice_by_index,
    "slice_by_size": _slice_by_size,
    "slice_update": _slice_update,
    "gather": _gather,
    "gather_along_axis": _gather_along_axis,
    "select": _select,
    "shape": _shape,
    "fill": _fill,
    "range_1d": _range_1d,
}
