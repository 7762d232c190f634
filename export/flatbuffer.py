"""Reads FlatBuffers tables in place, by field number, and refuses a buffer whose offsets lead outside of it.

Knows no schema: callers say which field they want and of which type. Nothing is copied but numbers and short texts.
Format: https://flatbuffers.dev/internals.
"""

import struct
from typing import Literal

Kind = Literal["bool", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "f32", "f64"]

_FORMATS: dict[Kind, str] = {
    "bool": "?",
    "i8": "b",
    "u8": "B",
    "i16": "h",
    "u16": "H",
    "i32": "i",
    "u32": "I",
    "i64": "q",
    "u64": "Q",
    "f32": "f",
    "f64": "d",
}
READ_ERRORS = (struct.error, IndexError, UnicodeDecodeError)  # what a damaged buffer raises here
_MAX_ELEMENTS = 1 << 24  # of one list of numbers or tables


class Table:
    """One table of a buffer."""

    __slots__ = ("_data", "_end", "_fields", "_position")

    def __init__(self, data: memoryview, position: int) -> None:
        self._data = data
        self._position = position
        self._fields = position - _unpack(data, "i", position)
        self._end = self._fields + _unpack(data, "H", self._fields)

    def place(self, field: int) -> int | None:
        """Where the field's own bytes stand in the buffer; None when it is absent and has its default."""
        entry = self._fields + 4 + 2 * field
        if entry + 2 > self._end:
            return None
        offset = _unpack(self._data, "H", entry)
        return self._position + offset if offset else None

    def integer(self, field: int, kind: Kind, default: int = 0) -> int:
        place = self.place(field)
        return default if place is None else int(_unpack(self._data, _FORMATS[kind], place))

    def real(self, field: int, kind: Kind, default: float = 0.0) -> float:
        place = self.place(field)
        return default if place is None else float(struct.unpack_from("<" + _FORMATS[kind], self._data, place)[0])

    def table(self, field: int) -> "Table | None":
        place = self.place(field)
        return None if place is None else Table(self._data, place + _unpack(self._data, "I", place))

    def tables(self, field: int) -> "list[Table]":
        start, count = self._vector(field, 4)
        places = range(start, start + 4 * count, 4)
        return [Table(self._data, place + _unpack(self._data, "I", place)) for place in places]

    def numbers(self, field: int, kind: Kind) -> tuple[int, ...]:
        letter = _FORMATS[kind]
        start, count = self._vector(field, struct.calcsize(letter))
        return struct.unpack_from(f"<{count}{letter}", self._data, start)

    def content(self, field: int) -> memoryview:
        """A list of bytes, in place."""
        start, count = self._vector(field, 1)
        return self._data[start : start + count]

    def text(self, field: int) -> str:
        return bytes(self.content(field)).decode("utf-8")

    def _vector(self, field: int, width: int) -> tuple[int, int]:
        """(start, count) of a list; (0, 0) when it is absent."""
        place = self.place(field)
        if place is None:
            return 0, 0
        start = place + _unpack(self._data, "I", place)
        count = _unpack(self._data, "I", start)
        if (width > 1 and count > _MAX_ELEMENTS) or start + 4 + count * width > len(self._data):
            raise IndexError(f"a list of {count} elements at byte {start} leads outside of {len(self._data)} bytes")
        return start + 4, count


def _unpack(data: memoryview, letter: str, place: int) -> int:
    if place < 0:
        raise IndexError(f"an offset leads to byte {place}")
    return int(struct.unpack_from("<" + letter, data, place)[0])


def read_root(data: memoryview) -> Table:
    """The root table of a buffer."""
    return Table(data, _unpack(data, "I", 0))
