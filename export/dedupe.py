"""Stores a program's constants once: a named blob that equals a constant tensor is made to point into it.

A tied INT4 table otherwise stands in the file twice, as `embedding_4bit`'s constant and as XNNPACK's named data.
Segments are only an offset and a size, so two may share bytes; the offsets are patched in place and nothing is
serialised again. Bytes go in whole pages, so every other segment keeps its alignment.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from export.flatbuffer import read_root
from export.pte import HEADER_AT, Pte, read_pte
from export.pte_values import TensorValue

_PAGE = 4096  # what is cut out is a multiple of this: no alignment that a loader could want is larger
_ALIGNMENT = 16  # bytes; XNNPACK's CONSTANT_TENSOR_ALIGNMENT (executorch/backends/xnnpack/utils/xnnpack_constants.py)
_BLOCK = 1 << 20
_SEGMENT_BYTES_AT = HEADER_AT + 24  # the extended header's last number


@dataclass(frozen=True, kw_only=True)
class _Cut:
    """A stretch of the old file that the new one lacks, and zeros up to the next segment."""

    start: int
    length: int
    zeros: int


def share_constants(source: Path, out: Path) -> int:
    """Writes `source` to `out` with each duplicated table stored once; what the program computes stays the same.

    Holds the program's tables and one block in memory, whatever the file's size. Deterministic.

    Returns:
        The bytes saved, 0 when nothing was there twice.

    Raises:
        ValueError: `source` is no program, is damaged, or is `out` itself.
    """
    if out.exists() and out.samefile(source):
        raise ValueError(f"cannot rewrite {source} in place; name another output")
    pte = read_pte(source)
    shared = _find_shared(pte)
    cuts = [_cut_of(pte, index) for index in sorted(shared, key=lambda i: pte.segments[i].offset)]
    tables = _patched_tables(pte, shared, cuts)
    with out.open("wb") as file:
        file.write(tables)
        for content in _kept(pte, cuts):
            _copy(content, file)
    _check(pte, read_pte(out))
    return len(pte.data) - out.stat().st_size


def equal_bytes(left: memoryview, right: memoryview) -> bool:
    """Whether two views hold the same bytes (memoryview's own `==` goes one element at a time)."""
    if len(left) != len(right):
        return False
    return all(bytes(left[i : i + _BLOCK]) == bytes(right[i : i + _BLOCK]) for i in range(0, len(left), _BLOCK))


def _find_shared(pte: Pte) -> dict[int, int]:
    """Index of every named segment worth dropping, to where its bytes stand already (from the file's start)."""
    constants: dict[int, list[int]] = {}
    for method in pte.methods.values():
        for value in method.values:
            if isinstance(value, TensorValue) and value.constant is not None:
                places = constants.setdefault(value.bytes, [])
                if (place := pte.constant_place(value)) not in places and place % _ALIGNMENT == 0:
                    places.append(place)
    shared: dict[int, int] = {}
    for index in sorted(set(pte.named_data.values())):
        segment = pte.segments[index]
        if segment.size >= _PAGE and _stands_alone(pte, index):
            content = pte.segment(index)
            for place in sorted(constants.get(segment.size, ())):
                if equal_bytes(content, pte.data[place : place + segment.size]):
                    shared[index] = place
                    break
    return shared


def _stands_alone(pte: Pte, index: int) -> bool:
    """Whether no other segment uses these bytes, and only named data this segment."""
    mine = pte.segments[index]
    payloads = {delegate.segment for method in pte.methods.values() for delegate in method.delegates}
    if index in payloads or index == pte.constant_segment or index in pte.mutable_segments:
        return False
    return mine.offset > pte.segment_base and all(
        other.offset + other.size <= mine.offset or mine.offset + mine.size <= other.offset
        for i, other in enumerate(pte.segments)
        if i != index
    )


def _cut_of(pte: Pte, index: int) -> _Cut:
    start = pte.segments[index].offset
    later = [s.offset for s in pte.segments if s.offset > start]
    if not later:
        return _Cut(start=start, length=len(pte.data) - start, zeros=0)
    length, zeros = divmod(min(later) - start, _PAGE)
    return _Cut(start=start, length=length * _PAGE, zeros=zeros)


def _moved(place: int, cuts: list[_Cut]) -> int:
    """Where a byte of the old file stands in the new one."""
    return place - sum(cut.length for cut in cuts if cut.start < place)


def _patched_tables(pte: Pte, shared: dict[int, int], cuts: list[_Cut]) -> bytearray:
    tables = bytearray(pte.data[: pte.program_bytes])
    for index, table in enumerate(read_root(pte.data[: pte.program_bytes]).tables(4)):
        new = _moved(shared.get(index, pte.segments[index].offset), cuts) - pte.segment_base
        field = table.place(0)
        if field is not None:
            tables[field : field + 8] = new.to_bytes(8, "little")
        elif new:
            raise ValueError(f"{pte.path}: segment {index} has no offset to patch; report this as a bug")
    if cuts:
        size = _moved(len(pte.data), cuts) - pte.segment_base
        tables[_SEGMENT_BYTES_AT : _SEGMENT_BYTES_AT + 8] = size.to_bytes(8, "little")
    return tables


def _kept(pte: Pte, cuts: list[_Cut]) -> Iterator[memoryview]:
    start = pte.program_bytes
    for cut in cuts:
        yield pte.data[start : cut.start]
        yield memoryview(bytes(cut.zeros))
        start = cut.start + cut.length + cut.zeros
    yield pte.data[start:]


def _copy(content: memoryview, file: BinaryIO) -> None:
    for start in range(0, len(content), _BLOCK):
        file.write(content[start : start + _BLOCK])


def _check(old: Pte, new: Pte) -> None:
    """Every segment still holds what it held."""
    for index in range(len(old.segments)):
        if not equal_bytes(old.segment(index), new.segment(index)):
            raise ValueError(f"segment {index} of {new.path} differs from {old.path}; report this as a bug")
