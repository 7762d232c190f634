"""The text to score as documents: a text file under a protocol, or whatever `pocketlm train` reads as documents.

Knows no model; how a text file is split stands in evaluation/documents.py.
"""

import glob
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from evaluation.documents import FILES, find_protocol
from evaluation.documents import read_documents as read_split
from evaluation.listed import find_list, read_listed, reading_settings
from train.settings import DataSettings
from train.sources import STDLIB, read_documents

_AS_FILES = (".jsonl", ".parquet")
_MOST_PATTERNS = 200  # more file names than that are wanted by their endings


@dataclass(frozen=True, kw_only=True)
class TextDocument:
    """One text with its name: a file, a line or row, or its place in a text file, from 1."""

    name: str
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Text:
    """What is scored."""

    source: str
    protocol: str
    held_out_of: str | None  # the list whose held-out documents these are
    documents: tuple[TextDocument, ...]
    file_sha256: str | None  # of a text file as a whole


def read_text(
    source: str,
    *,
    protocol: str | None,
    listed: Path | None = None,
    split: str = "held_out",
    limit: int | None = None,
) -> Text:
    """Reads the documents.

    Args:
        source: a text file; or for the protocol `files` a folder, JSON lines, parquet or "python:stdlib".
        protocol: a name of `evaluation.documents.PROTOCOLS`; None: `files` for what holds several documents, else
            `lines`.
        listed: a documents.jsonl, or the folder of a run or of a checkpoint with one: only its documents of `split`
            are read, and all of them must be there, unchanged.
        split: "held_out" or "train".
        limit: only the first so many documents.

    Raises:
        ValueError: a missing or damaged source, an unknown protocol, or held-out documents that are missing or others.
    """
    path = Path(source)
    holds_several = source == STDLIB or path.is_dir() or path.suffix in _AS_FILES
    name = protocol or (FILES if holds_several or listed is not None else "lines")
    find_protocol(name)
    if limit is not None and limit < 1:
        raise ValueError(f"the limit of documents is {limit}; it must be at least 1")
    if name != FILES:
        if listed is not None:
            raise ValueError(f"protocol {name!r} makes documents that {listed} does not list; leave --protocol out")
        texts = read_split(path, name)
        documents = [TextDocument(name=str(number), text=text) for number, text in enumerate(texts, 1)]
        digest: str | None = hashlib.sha256(path.read_bytes()).hexdigest()
    else:
        found = None if listed is None else find_list(listed)
        wanted = None if found is None else read_listed(found, split)
        documents = _several(source, wanted, {} if found is None else reading_settings(found), limit)
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        if wanted is not None:
            _check_complete(documents, wanted, source)
    if not documents:
        raise ValueError(f"{source} holds no text; there is nothing to score")
    return Text(
        source=source,
        protocol=name,
        held_out_of=None if listed is None else str(listed),
        documents=tuple(documents[:limit]),
        file_sha256=digest,
    )


def _several(
    source: str, wanted: Mapping[str, str] | None, reading: Mapping[str, Any], limit: int | None
) -> list[TextDocument]:
    place = source if source.startswith("python:") else str(Path(source).resolve())
    data = DataSettings(sources=(place,), include=() if wanted is None else _patterns(list(wanted.values())), **reading)
    found = read_documents(data, base=Path.cwd())
    if wanted is None:
        found = itertools.islice(found, limit)  # no further: a source may be large
    else:
        found = (document for document in found if document.sha256 in wanted)
    return [TextDocument(name=document.name, text=document.text) for document in found]


def _patterns(names: Sequence[str]) -> tuple[str, ...]:
    """What finds the files of documents: `notes/a.txt`, or `notes/b.jsonl` for its line `notes/b.jsonl:12`."""
    files = {name.rpartition(":")[0] if name.rpartition(":")[2].isdigit() else name for name in names}
    if len(files) > _MOST_PATTERNS:
        return tuple(sorted({f"*{PurePosixPath(name).suffix}" for name in files}))
    return tuple(sorted(glob.escape(name) for name in files))


def _check_complete(documents: Sequence[TextDocument], wanted: Mapping[str, str], source: str) -> None:
    found = {document.sha256 for document in documents}
    missing = [name for digest, name in wanted.items() if digest not in found]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(
            f"{source} has no document that is what {missing[0]!r} was when the list was made{more}, of {len(wanted)} "
            "held out: it is another version; give the text of the run (for python:stdlib the same Python)"
        )
