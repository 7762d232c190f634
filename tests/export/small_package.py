"""Small packages for tests: a synthetic program with its files and manifest, and zips with some entries changed."""

import dataclasses
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from export.manifest import Manifest, parse_manifest
from export.package import Source
from tests.export.manifest_corpus import endless

PROGRAM = b"\x1c\0\0\0ET12" + bytes(range(256)) * 16  # a program's magic, then 4,096 bytes
SOURCES = {
    "model.pte": Source(role="program", content=PROGRAM),
    "tokenizer.json": Source(role="tokenizer", content=b'{"model": {}}\n'),
    "licences/LICENSE": Source(role="licence", content=b"Apache-2.0\n"),
}


def bare_manifest() -> Manifest:
    """The manifest of `SOURCES`, before the files are listed in it."""
    manifest = parse_manifest(endless())
    memory = dataclasses.replace(manifest.memory, program_bytes=len(PROGRAM))
    return dataclasses.replace(manifest, files=(), memory=memory)


def rezip(
    path: Path,
    out: Path,
    *,
    edit: Mapping[str, bytes | None] | None = None,
    extra: Iterable[tuple[str | zipfile.ZipInfo, bytes]] = (),
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    """A copy of a zip with some entries' bytes edited (None drops one) and others added."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", compression) as new:
        for info in old.infolist():
            content = (edit or {}).get(info.filename, old.read(info))
            if content is not None:
                new.writestr(info.filename, content)
        for entry, content in extra:
            new.writestr(entry, content)
    return out
