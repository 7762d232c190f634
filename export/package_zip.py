"""A package as one zip: written so that the bytes repeat, read as if it came from an enemy. Knows no manifest."""

import shutil
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from export.strict import shown
from model.errors import EnvironmentFault, GateError

PAGE = 16_384  # bytes; the largest page of today's phones: a program in a zip begins on one, so that it can be mapped
COPY_BLOCK = 1 << 20
MAX_EXPANSION = 100  # times the zip's own size; tokenizer files compress about 6 times, INT4 codes not at all
MAX_ENTRIES = 1000
_ALIGNMENT_ID = 0xD935  # the extra field by which Android's zipalign pads
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # zip knows no earlier time
_LOCAL_HEADER = 30  # bytes, before the name
_ZIP64_EXTRA = 20  # bytes
_ENCRYPTED = 0x1
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError, struct.error)


def write_zip(path: Path, entries: Iterable[tuple[str, Path | bytes]], *, aligned: str) -> None:
    """Writes the entries in their order: nothing compressed, fixed times and permissions.

    Args:
        path: the file to make.
        entries: name inside the zip, and what stands there.
        aligned: the entry whose bytes begin on a page.
    """
    with path.open("xb") as output, zipfile.ZipFile(output, "w") as archive:
        for name, content in entries:
            _add(archive, output, name, content, is_aligned=name == aligned)


def _add(archive: zipfile.ZipFile, output: IO[bytes], name: str, content: Path | bytes, *, is_aligned: bool) -> None:
    """Stored: the bytes then depend on no version of a compressor, and INT4 codes would not shrink."""
    info = zipfile.ZipInfo(name, date_time=_EARLIEST)
    info.create_system = 3  # Unix, on every machine
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    info.compress_type = zipfile.ZIP_STORED
    info.file_size = len(content) if isinstance(content, bytes) else content.stat().st_size
    is_large = info.file_size * 1.05 > zipfile.ZIP64_LIMIT  # as zipfile itself decides
    if is_aligned:
        begin = output.tell() + _LOCAL_HEADER + len(name.encode()) + (_ZIP64_EXTRA if is_large else 0) + 4
        padding = -begin % PAGE
        info.extra = struct.pack("<HH", _ALIGNMENT_ID, padding) + bytes(padding)
    with archive.open(info, "w", force_zip64=is_large) as entry:
        copy_content(content, entry)


def copy_content(content: Path | bytes, output: IO[bytes]) -> None:
    if isinstance(content, bytes):
        output.write(content)
        return
    with content.open("rb") as source:
        shutil.copyfileobj(source, output, COPY_BLOCK)


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Opens a zip after looking at every entry's name and kind.

    Raises:
        GateError: the zip is cut off or damaged; copy it again.
        ValueError: an entry leaves the package, is a link, stands twice or is encrypted.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_entries(archive, path)
            yield archive
    except _DAMAGED as error:
        raise GateError(f"{path} is a damaged or cut-off zip ({error}); copy the package again") from None


def _check_entries(archive: zipfile.ZipFile, path: Path) -> None:
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise ValueError(f"{path} has {len(entries)} entries; a package has at most {MAX_ENTRIES}")
    for info in entries:
        if not 0 <= info.header_offset < path.stat().st_size:
            raise zipfile.BadZipFile("an entry begins outside the file")
        name = info.orig_filename  # before zipfile mends it
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\\" in name or "\0" in name or ":" in name:
            raise ValueError(f"{path} holds the entry {shown(name)}, which leaves the package; do not trust this file")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ValueError(f"{path} holds the entry {shown(name)}, which is a link or device; do not trust this file")
        if info.flag_bits & _ENCRYPTED:
            raise ValueError(f"{path} holds the encrypted entry {shown(name)}; unpack it with its password first")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(
                f"{path} holds the entry {shown(name)} in an uncommon compression; zip it stored or deflated"
            )
    for name, count in Counter(info.filename.lower() for info in entries).items():
        if count > 1:
            raise ValueError(f"{path} holds {count} entries named {shown(name)}; do not trust this file")


def read_small(archive: zipfile.ZipFile, name: str, *, most: int) -> bytes:
    """The bytes of a small entry, at most `most` + 1 of them."""
    with archive.open(name) as entry:
        return entry.read(most + 1)


def extract(archive: zipfile.ZipFile, folder: Path, sizes: Mapping[str, int], path: Path) -> None:
    """Unpacks exactly the named entries, never more bytes than agreed. Their sizes were compared before.

    Raises:
        ValueError: the zip would grow suspiciously.
        EnvironmentFault: not enough free space.
        GateError: an entry is damaged.
    """
    total, packed = sum(sizes.values()), path.stat().st_size
    if total > MAX_EXPANSION * packed:
        raise ValueError(
            f"{path} would grow from {packed} to {total} bytes, more than {MAX_EXPANSION} times; do not trust this file"
        )
    free = shutil.disk_usage(folder).free
    if total > free:
        raise EnvironmentFault(
            f"unpacking {path} takes {total} bytes and {folder.parent} has {free} free; free some "
            "space, set TMPDIR to a larger disk, or unpack the zip yourself and open the folder"
        )
    for name, size in sizes.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with archive.open(name) as entry, target.open("xb") as output:
                _copy_exactly(entry, output, size)
        except _DAMAGED as error:
            raise GateError(f"{name} in {path} is damaged ({error}); copy the package again") from None


def _copy_exactly(entry: IO[bytes], output: IO[bytes], size: int) -> None:
    left = size
    while left:
        block = entry.read(min(left, COPY_BLOCK))
        if not block:
            raise EOFError(f"{left} bytes are missing")
        output.write(block)
        left -= len(block)
    if entry.read(1):
        raise zipfile.BadZipFile(f"it is longer than {size} bytes")
