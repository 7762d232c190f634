"""The constants of a MIL program as arrays: from the program, from the file of weights, or dequantised when asked for.

Floating point becomes float32; with `half` set, dequantised weights are rounded to what float16 can hold.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.mil.program import Operation
from export.mil.values import Blob, Constant
from export.mil.weights import WeightFile

Array = NDArray[Any]

DEQUANTISE = "constexpr_blockwise_shift_scale"
_EXPONENT = np.uint32(0x7F800000)
_SLOW_SIZE = 1024  # elements from which the conversion takes longer
_HELD = ("bool", "int8", "uint8", "int16", "uint16", "int32", "float16", "float32")
_EAGER_BYTES = 1 << 16  # smaller constants are held, larger ones go through the cache


def storage(dtype: str) -> np.dtype[Any]:
    """How values of a type are held while a program runs.

    Raises:
        ValueError: no program of ours computes with that type.
    """
    if dtype not in _HELD:
        raise ValueError(f"{dtype} is not computed with; {', '.join(_HELD)} are")
    return np.dtype("float32" if dtype == "float16" else dtype)


def round_half(array: Array) -> Array:
    """The nearest float16, as float32, ties to even; for numbers up to 65,504.

    Large arrays are rounded without a conversion, which numpy does slowly: x + c - c with c = 1.5 * 2^(e + 13) for x in
    [2^e, 2^(e+1)) leaves float16's eleven bits of x, and e = -14 its subnormals.
    """
    if array.size < _SLOW_SIZE:
        return array.astype(np.float16).astype(np.float32)
    bits = np.ascontiguousarray(array).view(np.uint32) & _EXPONENT
    np.maximum(bits, np.uint32((127 - 14) << 23), out=bits)
    bits += np.uint32(13 << 23 | 1 << 22)
    shift = bits.view(np.float32)
    rounded: Array = array + shift
    rounded -= shift
    return rounded


@dataclass(kw_only=True)
class WeightCache:
    """Arrays by key, as many as fit; what does not fit is made again each time."""

    limit_bytes: int
    held: dict[object, Array] = field(default_factory=dict)
    held_bytes: int = 0

    def keep(self, key: object, array: Array) -> None:
        if self.held_bytes + array.nbytes <= self.limit_bytes:
            self.held[key] = array
            self.held_bytes += array.nbytes


@dataclass(frozen=True)
class Fixed:
    """A constant that is held."""

    value: Any  # an array, or the text of a text constant

    def load(self) -> Any:
        return self.value


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A constant in the file of weights."""

    constant: Constant
    place: Blob
    weights: WeightFile
    cache: WeightCache

    def load(self) -> Array:
        key = (id(self.weights), self.place.offset, self.constant.dtype, self.constant.shape)
        if key not in self.cache.held:
            array = self.weights.array(self.place.offset, self.constant.dtype, self.constant.shape)
            array = array.astype(storage(self.constant.dtype))
            self.cache.keep(key, array)
            return array
        return self.cache.held[key]


@dataclass(frozen=True, kw_only=True)
class Dequantised:
    """scale * (data - offset), each scale for a block of the data; see coremltools' constexpr_blockwise_shift_scale."""

    data: Constant
    scale: Constant
    offset: Constant | None
    weights: WeightFile
    cache: WeightCache
    half: bool

    def load(self) -> Array:
        key = (id(self.weights), *(_place(c) for c in (self.data, self.scale, self.offset)), self.data.shape, self.half)
        if key not in self.cache.held:
            array = self._compute()
            self.cache.keep(key, array)
            return array
        return self.cache.held[key]

    def codes(self) -> Array:
        """The integers, an element a byte."""
        return read_constant_array(self.data, self.weights)

    def _compute(self) -> Array:
        blocks: list[int] = []
        counts: list[int] = []
        for size, scales in zip(self.data.shape, self.scale.shape, strict=True):
            blocks += [scales, size // scales]
            counts += [scales, 1]
        data = self.codes().reshape(blocks)
        if self.offset is not None:
            offset = read_constant_array(self.offset, self.weights).astype(np.float32)
            data = data.astype(np.float32) - offset.reshape(counts)
        scale = read_constant_array(self.scale, self.weights).astype(np.float32)
        array = np.multiply(data, scale.reshape(counts), dtype=np.float32).reshape(self.data.shape)
        return round_half(array) if self.half else array


def read_constant_array(constant: Constant, weights: WeightFile) -> Array:
    """A constant's numbers in its own type; four bits come an element a byte.

    Raises:
        ValueError: the file does not hold it as the program says, or it is a text.
    """
    if isinstance(constant.content, Blob):
        return weights.array(constant.content.offset, constant.dtype, constant.shape)
    if isinstance(constant.content, str):
        raise ValueError(f"the text {constant.content!r} stands where numbers belong")
    return constant.content


def constant_source(constant: Constant, weights: WeightFile, path: str, cache: WeightCache) -> Fixed | Stored:
    """A constant, ready to be used.

    Raises:
        ValueError: it lies in another file than `path`, or not as the program says.
    """
    content = constant.content
    if isinstance(content, str):
        return Fixed(content)
    _check_file(constant, path)
    if isinstance(content, Blob):
        size = weights.content(content.offset, constant.dtype, constant.shape)  # checks the header
        if len(size) > _EAGER_BYTES:
            return Stored(constant=constant, place=content, weights=weights, cache=cache)
    return Fixed(read_constant_array(constant, weights).astype(storage(constant.dtype)))


def dequantised(operation: Operation, weights: WeightFile, path: str, cache: WeightCache, *, half: bool) -> Dequantised:
    """The weight that a constexpr_blockwise_shift_scale stands for; nothing is computed yet.

    Raises:
        ValueError: an input is no constant, or shapes or types do not fit each other.
    """
    found: dict[str, Constant] = {}
    for name, arguments in operation.inputs.items():
        if name not in ("data", "scale", "offset") or len(arguments) != 1 or isinstance(arguments[0], str):
            raise ValueError(f"its input {name!r} is no constant of the operation itself")
        found[name] = arguments[0]
    if "data" not in found or "scale" not in found:
        raise ValueError("it has no data or no scale")
    data, scale, offset = found["data"], found["scale"], found.get("offset")
    for constant in found.values():
        _check_file(constant, path)
        if isinstance(constant.content, Blob):
            weights.content(constant.content.offset, constant.dtype, constant.shape)
    if data.dtype not in ("int4", "uint4", "int8", "uint8") or scale.dtype not in ("float16", "float32"):
        raise ValueError(f"its data are {data.dtype} and its scales {scale.dtype}")
    if len(data.shape) != len(scale.shape) or any(n % m for n, m in zip(data.shape, scale.shape, strict=True) if m):
        raise ValueError(f"scales {list(scale.shape)} do not divide data {list(data.shape)}")
    if 0 in scale.shape or (offset is not None and offset.shape != scale.shape):
        raise ValueError(f"scales {list(scale.shape)} and offsets do not fit each other")
    return Dequantised(data=data, scale=scale, offset=offset, weights=weights, cache=cache, half=half)


def _check_file(constant: Constant, path: str) -> None:
    if isinstance(constant.content, Blob) and constant.content.file != path:
        raise ValueError(f"a constant lies in {constant.content.file!r}; this reads {path!r}")


def _place(constant: Constant | None) -> object:
    if constant is None:
        return None
    return constant.content.offset if isinstance(constant.content, Blob) else id(constant)
