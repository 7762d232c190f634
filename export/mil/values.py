"""Values of a MIL program: their types, and constants in the program or in its file of weights.

Field numbers are those of mlmodel/format/MIL.proto and FeatureTypes.proto of coremltools 9.0. Tuples, lists and
dictionaries are refused: no program of ours has them.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.mil.wire import Message, Number

# MILSpec.DataType
DTYPES = {
    1: "bool", 2: "string", 10: "float16", 11: "float32", 12: "float64", 13: "bfloat16", 21: "int8", 22: "int16",
    23: "int32", 24: "int64", 25: "int4", 31: "uint8", 32: "uint16", 33: "uint32", 34: "uint64", 35: "uint4",
    36: "uint2", 37: "uint1", 38: "uint6", 39: "uint3", 40: "float8e4m3fn", 41: "float8e5m2",
}  # fmt: skip
_FEATURES = {65568: "float32", 65600: "float64", 131104: "int32", 131080: "int8", 65552: "float16"}
_MAX_RANK = 16
_INLINE = {"bool": np.bool_, "int32": np.int32, "int64": np.int64, "float32": np.float32, "float64": np.float64}
# TensorValue: field to (kind of number, field of the list in it)
_LISTS: dict[int, Number] = {1: "float", 2: "int32", 3: "bool", 5: "int64", 6: "double"}

Shape = tuple[int | None, ...]  # None: known only when the program runs


@dataclass(frozen=True, slots=True)
class Value:
    """What an operation makes or a function takes."""

    name: str
    dtype: str
    shape: Shape


@dataclass(frozen=True, slots=True)
class Blob:
    """Where a constant lies: the file inside the mlpackage and the offset of its header there."""

    file: str
    offset: int


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A constant: in a file of weights, or in the program (then an array, or a text)."""

    dtype: str
    shape: tuple[int, ...]
    content: "Blob | NDArray[Any] | str"


def read_named(entry: Message) -> tuple[Value, bool]:
    """A NamedValueType: the value, and whether it is a state."""
    name, kind = entry.text(1), entry.message(2)
    if not name or kind is None:
        raise ValueError(f"the value {name!r} has no name or no type")
    is_state = kind.which(1, 2, 3, 4, 5) == 5
    if is_state:
        state = kind.message(5)
        kind = state.message(1) if state is not None else None
    return Value(name, *_tensor_type(kind)), is_state


def _tensor_type(kind: Message | None) -> tuple[str, Shape]:
    tensor = kind.message(1) if kind is not None else None
    if tensor is None:
        raise ValueError("a value is no tensor: lists, tuples and dictionaries are not read")
    number, rank = tensor.integer(1), tensor.integer(2)
    shape = tuple(_dimension(entry) for entry in tensor.messages(3))
    if number not in DTYPES:
        raise ValueError(f"a tensor has the unknown type {number}")
    if rank != len(shape) or rank > _MAX_RANK:
        raise ValueError(f"a tensor of rank {rank} has {len(shape)} dimensions (at most {_MAX_RANK})")
    return DTYPES[number], shape


def _dimension(entry: Message) -> int | None:
    constant = entry.message(1)
    return None if constant is None else constant.integer(1, "uint64")


def read_constant(message: Message) -> Constant:
    kind = message.message(2)
    field = message.which(3, 5)
    if kind is not None and kind.which(1, 2, 3, 4, 5) != 1:
        return Constant("other", (), "")  # build notes of the converter; no operation takes one
    dtype, shape = _tensor_type(kind)
    sizes = tuple(size for size in shape if size is not None)
    if len(sizes) != len(shape):
        raise ValueError(f"a constant {dtype} has a shape that is not known: {list(shape)}")
    if field == 5:
        blob = message.message(5)
        assert blob is not None
        return Constant(dtype, sizes, Blob(blob.text(1), blob.integer(2, "uint64")))
    immediate = message.message(3)
    tensor = immediate.message(1) if immediate is not None else None
    if tensor is None:
        raise ValueError(f"a constant {dtype} {list(sizes)} has no content")
    return Constant(dtype, sizes, _inline(tensor, dtype, sizes))


def _inline(tensor: Message, dtype: str, shape: tuple[int, ...]) -> "NDArray[Any] | str":
    field = tensor.which(1, 2, 3, 4, 5, 6, 7)
    content = tensor.message(field) if field is not None else None
    if content is None or field is None:
        raise ValueError(f"a constant {dtype} {list(shape)} has no content")
    if dtype == "string":
        texts = content.texts(1) if field == 4 else ()
        if len(texts) != 1 or shape:
            raise ValueError(f"a constant of texts has shape {list(shape)}; only single texts are read")
        return texts[0]
    if field == 7:
        array = _from_bytes(content.content(1), dtype)
    elif field in _LISTS and dtype in _INLINE:
        array = np.array(content.numbers(1, _LISTS[field]), dtype=_INLINE[dtype])
    else:
        raise ValueError(f"a constant {dtype} {list(shape)} stands in field {field}, where none belongs")
    if array.size != math.prod(shape):
        raise ValueError(f"a constant {dtype} {list(shape)} has {array.size} elements")
    return array.reshape(shape)


def _from_bytes(content: memoryview, dtype: str) -> NDArray[Any]:
    if dtype not in ("float16", "int8", "uint8", "int16", "uint16", "uint32"):
        raise ValueError(f"a constant {dtype} stands as bytes; only numbers of 8, 16 and 32 bits are read so")
    if len(content) % np.dtype(dtype).itemsize:
        raise ValueError(f"a constant {dtype} has {len(content)} bytes")
    return np.frombuffer(content, dtype=np.dtype(dtype).newbyteorder("<"))


def read_feature(entry: Message) -> Value:
    name, kind = entry.text(1), entry.message(3)
    if kind is not None and kind.has(8):
        state = kind.message(8)
        array = state.message(1) if state is not None else None
    else:
        array = kind.message(5) if kind is not None else None
    if array is None:
        raise ValueError(f"the feature {name!r} is no array")
    return Value(name, _FEATURES.get(array.integer(2), "unknown"), tuple(int(n) for n in array.numbers(1, "int64")))


def show(value: Value) -> str:
    return f"{value.dtype} {list(value.shape)}"
