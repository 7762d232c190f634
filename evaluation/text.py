"""The text to score as documents: a text file under a protocol, or whatever `pocketlm train` reads as documents.

Knows no model; how a text file is split stands in evaluation/documents.py.
"""

import glob
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from evaluation.documents import FILES, find_protocol
from evaluation.documents import read_documents as read_split
from train.settings import DataSettings
from train.sources import STDLIB, read_documents

LISTED = "documents.jsonl"  # in a run's tokens/, or beside a checkpoint that was taken out of its run

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
        wanted = None if listed is None else read_listed(find_list(listed), split)
        documents = _several(source, wanted)
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


def _several(source: str, wanted: Mapping[str, str] | None) -> list[TextDocument]:
    place = source if source.startswith("python:") else str(Path(source).resolve())
    data = DataSettings(sources=(place,), include=() if wanted is None else _patterns(list(wanted.values())))
    found = (document for document in read_documents(data, base=Path.cwd()))
    return [
        TextDocument(name=document.name, text=document.text)
        for document in found
        if wanted is None or document.sha256 in wanted
    ]


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


def find_list(place: Path) -> Path:
    """The documents.jsonl that a path means: itself, or the one of a run's or checkpoint's folder.

    Raises:
        ValueError: there is none.
    """
    if place.is_file():
        return place
    for candidate in (place / LISTED, place / "tokens" / LISTED, place.parent / "tokens" / LISTED):
        if candidate.is_file():
            return candidate
    raise ValueError(f"{place} has no {LISTED}; give one, or the folder of a `pocketlm train` run, which has it")


def read_listed(path: Path, split: str) -> dict[str, str]:
    """sha256 to name of a list's documents of one split, in their order.

    Raises:
        ValueError: a line is no entry of such a list, or none is of that split.
    """
    entries: dict[str, str] = {}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            entry = _entry(line, f"{path}, line {number}")
            if entry["split"] == split:
                entries[entry["sha256"]] = entry["name"]
    if not entries:
        raise ValueError(f"{path} lists no document of the split {split!r}; give the list of a run that has one")
    return entries


def _entry(line: str, where: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not valid JSON ({error}); give a documents.jsonl of `pocketlm train`") from None
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("name", "split", "sha256")):
        raise ValueError(f"{where}: no name, split and sha256; give a documents.jsonl of `pocketlm train`")
    return entry
