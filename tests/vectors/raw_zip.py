"""Zips built byte by byte, so that they can be wrong in every way and are the same on every machine.

A zip is a list of pieces: bytes, a manifest by its name, or bytes that repeat; vectors spell them so. Layout of
records: APPNOTE.TXT 6.3.10 of PKWARE, sections 4.3 to 4.5.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from tests.vectors.text_cases import Case

STORED, DEFLATED = 0, 8
REGULAR, LINK = 0o100644 << 16, 0o120777 << 16
ENCRYPTED, DESCRIPTOR = 0x1, 0x8
_DATE = 0x21  # 1980-01-01
_MAX32 = 0xFFFFFFFF


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Some bytes of a source."""

    data: bytes
    times: int = 1
    manifest: str = ""  # the name under which the vectors have these bytes as text

    @property
    def content(self) -> bytes:
        return self.data * self.times

    def to_json(self) -> Case:
        if self.manifest:
            return {"manifest": self.manifest}
        return {"hex": self.data.hex(), "times": self.times}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry, and what its records say of it where that is not the truth."""

    name: bytes
    content: Sequence[Piece]  # as stored: compressed already
    size: int | None = None  # uncompressed, as the directory says; None: that of the content
    method: int = STORED
    flags: int = 0
    attributes: int = REGULAR
    crc: int = 0
    has_zip64: bool = False  # whether sizes stand in the extra field


def pieces_of(entries: Sequence[Entry], *, repeat_last: int = 1, comment: bytes = b"") -> list[Piece]:
    """The whole zip.

    Args:
        repeat_last: how often the last entry stands in the directory.
        comment: behind the end record.
    """
    pieces: list[Piece] = []
    directory: list[bytes] = []
    for entry in entries:
        directory.append(_central(entry, length(pieces)))
        pieces += [Piece(data=_local(entry)), *entry.content]
        if entry.flags & DESCRIPTOR:
            sizes = length(entry.content), _size(entry)
            pieces.append(Piece(data=b"PK\x07\x08" + struct.pack("<III", entry.crc, *sizes)))
    begin = length(pieces)
    pieces += [Piece(data=b"".join(directory[:-1])), Piece(data=directory[-1], times=repeat_last)]
    count, span = len(directory) - 1 + repeat_last, length(pieces) - begin
    if any(entry.has_zip64 for entry in entries):
        record = length(pieces)
        pieces.append(
            Piece(data=b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, span, begin))
        )
        pieces.append(Piece(data=b"PK\x06\x07" + struct.pack("<IQI", 0, record, 1)))
        count, span, begin = 0xFFFF, _MAX32, _MAX32
    end = struct.pack("<HHHHIIH", 0, 0, count, count, span, begin, len(comment))
    return [piece for piece in [*pieces, Piece(data=b"PK\x05\x06" + end + comment)] if piece.data]


def length(pieces: Sequence[Piece]) -> int:
    return sum(len(piece.data) * piece.times for piece in pieces)


def stored(name: str, content: Piece | bytes, **more: object) -> Entry:
    """An entry with its true size and checksum."""
    piece = Piece(data=content) if isinstance(content, bytes) else content
    return Entry(name=name.encode(), content=[piece], crc=zlib.crc32(piece.content), **more)  # type: ignore[arg-type]


def zeros(groups: int) -> tuple[list[Piece], int, int]:
    """A deflate stream of many zeros: the pieces, how many zeros, and their checksum.

    One block of fixed codes (RFC 1951, 3.2.6): the literal 0 (8 bits 00110000), then per group eight times "258 bytes
    from 1 back" (length code 285: 11000101; distance code 0: 00000), 104 bits in all, then the end (0000000). Every
    group begins at bit 3 of a byte and what stands before it are zeros, so its 13 bytes repeat from the second on.
    """
    match = "11000101" + "00000"
    bits = "110" + "00110000" + match * 8 * 3 + "0000000"  # header: final block, fixed codes (01, low bit first)
    padded = bits + "0" * (-len(bits) % 8)
    data = bytes(int(padded[i : i + 8][::-1], 2) for i in range(0, len(padded), 8))
    assert data[1:14] == data[14:27] == data[27:40]
    pieces = [Piece(data=data[:1]), Piece(data=data[1:14], times=groups), Piece(data=data[40:])]
    count = 1 + 258 * 8 * groups
    content = zlib.decompress(b"".join(piece.content for piece in pieces), wbits=-15)
    assert content == bytes(count)
    return pieces, count, zlib.crc32(content)


def deflated_stored_block(content: bytes) -> bytes:
    """Content as one deflate block without compression (RFC 1951, 3.2.4): the same on every machine."""
    return b"\x01" + struct.pack("<HH", len(content), len(content) ^ 0xFFFF) + content


def _size(entry: Entry) -> int:
    return length(entry.content) if entry.size is None else entry.size


def _sizes(entry: Entry) -> tuple[int, int, bytes]:
    """Compressed and uncompressed size, and the extra field that holds them when the record cannot."""
    sizes = length(entry.content), _size(entry)
    if not entry.has_zip64:
        return *sizes, b""
    return _MAX32, _MAX32, struct.pack("<HHQQ", 1, 16, sizes[1], sizes[0])


def _local(entry: Entry) -> bytes:
    packed, size, extra = _sizes(entry)
    crc = entry.crc
    if entry.flags & DESCRIPTOR:  # the truth follows the content
        packed = size = crc = 0
    head = struct.pack("<HHHHHIIIHH", 20, entry.flags, entry.method, 0, _DATE, crc, packed, size, len(entry.name), 0)
    if extra:
        head = head[:-2] + struct.pack("<H", len(extra))
    return b"PK\x03\x04" + head + entry.name + extra


def _central(entry: Entry, offset: int) -> bytes:
    packed, size, extra = _sizes(entry)
    made_by_unix = 3 << 8 | 20
    head = struct.pack("<HHHHHH", made_by_unix, 20, entry.flags, entry.method, 0, _DATE)
    head += struct.pack("<IIIHHHHH", entry.crc, packed, size, len(entry.name), len(extra), 0, 0, 0)
    head += struct.pack("<II", entry.attributes, offset)
    return b"PK\x01\x02" + head + entry.name + extra
