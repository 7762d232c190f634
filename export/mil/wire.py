"""Reads Protocol Buffers messages in place, by field number, and refuses bytes that are no whole message.

Knows no schema: callers say which field they want and of which type. Format: https://protobuf.dev/programming-guides/encoding.
"""

import struct
from collections.abc import Iterator
from typing import Literal

Number = Literal["int32", "int64", "uint64", "bool", "float", "double"]
Field = int | memoryview  # a varint, or the bytes of anything else

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_PACKED: dict[Number, tuple[str, int]] = {"float": ("f", 4), "double": ("d", 8)}
_MAX_VARINT = 10  # bytes


class Message:
    """One message: its fields by number, each with all of its occurrences."""

    __slots__ = ("_fields",)

    def __init__(self, data: memoryview) -> None:
        self._fields: dict[int, list[tuple[int, Field]]] = {}
        for number, kind, value in _read_fields(data):
            self._fields.setdefault(number, []).append((kind, value))

    def has(self, number: int) -> bool:
        return number in self._fields

    def which(self, *numbers: int) -> int | None:
        """The one field of a oneof that is there; None without any.

        Raises:
            ValueError: several are; readers would not agree which one counts.
        """
        found = [number for number in numbers if number in self._fields]
        if len(found) > 1:
            raise ValueError(f"the fields {found} exclude each other, but all are there")
        return found[0] if found else None

    def integer(self, number: int, kind: Number = "int64") -> int:
        """A varint; the last one counts; 0 when absent."""
        values = self._of_kind(number, _VARINT)
        return _signed(values[-1], kind) if values else 0  # type: ignore[arg-type]  # varints are ints

    def content(self, number: int) -> memoryview:
        """The bytes of a field; the last one counts; empty when absent."""
        values = self._of_kind(number, _BYTES)
        return values[-1] if values else memoryview(b"")  # type: ignore[return-value]  # of the kind bytes

    def text(self, number: int) -> str:
        return _text(self.content(number))

    def texts(self, number: int) -> tuple[str, ...]:
        return tuple(_text(value) for value in self._of_kind(number, _BYTES))  # type: ignore[arg-type]

    def message(self, number: int) -> "Message | None":
        """A message; several occurrences are one message's parts, as the format has it."""
        parts = self._of_kind(number, _BYTES)
        if not parts:
            return None
        return Message(parts[0] if len(parts) == 1 else memoryview(b"".join(parts)))  # type: ignore[arg-type]

    def messages(self, number: int) -> "tuple[Message, ...]":
        return tuple(Message(value) for value in self._of_kind(number, _BYTES))  # type: ignore[arg-type]

    def entries(self, number: int) -> "dict[str, Message]":
        """A map from texts to messages: entries of key (1) and value (2).

        Raises:
            ValueError: a key stands twice.
        """
        found: dict[str, Message] = {}
        for entry in self.messages(number):
            key = entry.text(1)
            if key in found:
                raise ValueError(f"a map has the key {key!r} twice")
            found[key] = entry.message(2) or Message(memoryview(b""))
        return found

    def numbers(self, number: int, kind: Number) -> tuple[int | float, ...]:
        """A list of numbers, packed into one field or a field each."""
        found: list[int | float] = []
        for wire, value in self._fields.get(number, ()):
            if wire == _BYTES:
                found += _unpack(value, kind)  # type: ignore[arg-type]
            elif kind in _PACKED:
                _check_kind(number, wire, _FIXED32 if kind == "float" else _FIXED64)
                found += _unpack(value, kind)  # type: ignore[arg-type]
            else:
                _check_kind(number, wire, _VARINT)
                found.append(_signed(value, kind))  # type: ignore[arg-type]
        return tuple(found)

    def _of_kind(self, number: int, kind: int) -> list[Field]:
        values = self._fields.get(number, [])
        for found, _ in values:
            _check_kind(number, found, kind)
        return [value for _, value in values]


def _check_kind(number: int, found: int, wanted: int) -> None:
    if found != wanted:
        raise ValueError(f"field {number} has wire type {found} where {wanted} belongs")


def _read_fields(data: memoryview) -> Iterator[tuple[int, int, Field]]:
    """(number, wire type, value) of each field."""
    place, end = 0, len(data)
    while place < end:
        tag, place = _varint(data, place)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise ValueError(f"a field has the number {number}")
        if kind == _VARINT:
            value, place = _varint(data, place)
            yield number, kind, value
            continue
        if kind == _BYTES:
            size, place = _varint(data, place)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"field {number} has the wire type {kind}, which nothing here uses")
        if place + size > end:
            raise ValueError(f"field {number} ends at byte {place + size} of a message of {end}")
        yield number, kind, data[place : place + size]
        place += size


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """(value, the byte after it); 64 bits, more are cut off as the format has it."""
    try:
        byte = data[place]
        if byte < 0x80:
            return byte, place + 1
        value, shift = byte & 0x7F, 7
        for at in range(place + 1, place + _MAX_VARINT):
            byte = data[at]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (1 << 64) - 1, at + 1
            shift += 7
    except IndexError:
        raise ValueError("the bytes end inside a number") from None
    raise ValueError(f"a number is longer than {_MAX_VARINT} bytes")


def _signed(value: int, kind: Number) -> int:
    if kind == "bool":
        return int(bool(value))
    if kind == "uint64":
        return value
    bits = 32 if kind == "int32" else 64
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _unpack(data: memoryview, kind: Number) -> list[int | float]:
    if kind in _PACKED:
        letter, width = _PACKED[kind]
        if len(data) % width:
            raise ValueError(f"a list of {width}-byte numbers has {len(data)} bytes")
        return list(struct.unpack(f"<{len(data) // width}{letter}", data))
    found: list[int | float] = []
    place = 0
    while place < len(data):
        value, place = _varint(data, place)
        found.append(_signed(value, kind))
    return found


def _text(data: memoryview) -> str:
    try:
        return bytes(data).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"a text is not UTF-8: {bytes(data[:20])!r}") from None
