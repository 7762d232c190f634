"""Reads a weight.bin: blobs behind headers of 64 bytes, as the program's constants name them.

Format: mlmodel/src/MILBlob/Blob/StorageFormat.hpp and BlobDataType.hpp of coremltools 9.0. Of types below eight bits
only INT4 and UINT4 are read: the first element lies in the low nibble.
"""

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ALIGNMENT = 64
_VERSION = 2
_SENTINEL = 0xDEADBEEF
_HEADER = struct.Struct("<IIQQQ")  # sentinel, type, bytes, offset of the content, bits that pad the last byte
_TYPES = {
    1: "float16", 2: "float32", 3: "uint8", 4: "int8", 5: "bfloat16", 6: "int16", 7: "uint16", 8: "int4", 9: "uint1",
    10: "uint2", 11: "uint4", 12: "uint3", 13: "uint6", 14: "int32", 15: "uint32", 16: "float8e4m3fn", 17: "float8e5m2",
}  # fmt: skip
_WHOLE = ("float16", "float32", "uint8", "int8", "int16", "uint16", "int32", "uint32")
_NIBBLES = ("int4", "uint4")


class WeightFile:
    """A file of weights; arrays are views of `data`, except those of four bits."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = memoryview(data)
        if len(self.data) < _ALIGNMENT:
            raise ValueError(f"weight.bin has {len(self.data)} bytes; its header alone has {_ALIGNMENT}")
        self.count, version = struct.unpack_from("<II", self.data)
        if version != _VERSION:
            raise ValueError(f"weight.bin has version {version}; this reads {_VERSION}")

    def content(self, offset: int, dtype: str, shape: Sequence[int]) -> memoryview:
        """The bytes of the constant whose header stands at `offset`.

        Raises:
            ValueError: there is no header, it is of another type or size, or it leads outside of the file.
        """
        what = f"weight.bin: the constant {dtype} {list(shape)} at byte {offset}"
        if offset % _ALIGNMENT or not 0 < offset <= len(self.data) - _ALIGNMENT:
            raise ValueError(f"{what} leads outside of {len(self.data)} bytes, or to no multiple of {_ALIGNMENT}")
        sentinel, number, size, start, padding = _HEADER.unpack_from(self.data, offset)
        if sentinel != _SENTINEL:
            raise ValueError(f"{what} has no header there (0x{sentinel:08X} instead of 0x{_SENTINEL:08X})")
        found = _TYPES.get(number, f"type {number}")
        if found != dtype:
            raise ValueError(f"{what} is {found} in the file")
        elements = math.prod(shape)
        wanted = (elements + 1) // 2 if dtype in _NIBBLES else elements * _item_bytes(dtype, what)
        padded = 4 * (elements % 2) if dtype in _NIBBLES else 0
        if size != wanted or (dtype in _NIBBLES and padding != padded):
            raise ValueError(f"{what} takes {wanted} bytes, but has {size} (and {padding} bits of padding)")
        if start % _ALIGNMENT or start < offset + _ALIGNMENT or start + size > len(self.data):
            raise ValueError(f"{what} claims the bytes {start} to {start + size} of {len(self.data)}")
        return self.data[start : start + size]

    def array(self, offset: int, dtype: str, shape: Sequence[int]) -> NDArray[Any]:
        """A constant; INT4 and UINT4 come as int8 and uint8, an element a byte.

        Raises:
            ValueError: as `content`.
        """
        content = self.content(offset, dtype, shape)
        if dtype in _NIBBLES:
            return unpack_nibbles(content, math.prod(shape), signed=dtype == "int4").reshape(shape)
        return np.frombuffer(content, dtype=np.dtype(dtype).newbyteorder("<")).reshape(shape)


def unpack_nibbles(content: bytes | memoryview, count: int, *, signed: bool) -> NDArray[Any]:
    """`count` numbers of four bits, low nibble first; int8 in -8..7 if signed, else uint8 in 0..15."""
    packed = np.frombuffer(content, dtype=np.uint8)
    found = np.empty(2 * packed.size, dtype=np.int8 if signed else np.uint8)
    if signed:
        twos = packed.view(np.int8)
        np.right_shift(np.left_shift(twos, 4), 4, out=found[0::2])  # arithmetic shifts bring the sign along
        np.right_shift(twos, 4, out=found[1::2])
    else:
        np.bitwise_and(packed, 15, out=found[0::2])
        np.right_shift(packed, 4, out=found[1::2])
    return found[:count]


def _item_bytes(dtype: str, what: str) -> int:
    if dtype not in _WHOLE:
        raise ValueError(f"{what} is of a type that is not read; {', '.join(_WHOLE + _NIBBLES)} are")
    return np.dtype(dtype).itemsize
