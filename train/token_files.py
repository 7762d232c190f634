"""The files of tokenized text: written once, in whole documents, so that a killed process goes on where it stood.

A folder holds tokenizer/, `train-00000.bin` and so on, `held_out-00000.bin` and so on (token ids, little endian, one
document after the other), `documents.jsonl` (a line a document) and, written last, `index.json`: a folder without it
is unfinished. Until then `progress.json` says up to where the files hold whole documents; what stands behind is cut.
"""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from model.files import atomic_output, dump_json, read_json, sha256_file

FORMAT = "pocketlm-tokens"
VERSION = 1
SPLITS = ("train", "held_out")
INDEX, PROGRESS, DOCUMENTS, TOKENIZER = "index.json", "progress.json", "documents.jsonl", "tokenizer"


@dataclass(frozen=True, kw_only=True)
class DocumentEntry:
    """A line of documents.jsonl."""

    name: str
    split: str  # one of SPLITS
    bytes: int  # of the text as UTF-8
    sha256: str  # of the same
    tokens: int  # with the ids that begin and end it


@dataclass(kw_only=True)
class SplitCount:
    """How much a split holds."""

    documents: int = 0
    bytes: int = 0
    tokens: int = 0


def shard_name(split: str, number: int) -> str:
    return f"{split}-{number:05d}.bin"


def token_type(vocab_size: int) -> np.dtype[Any]:
    """Two bytes a token where they are enough, else four."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


class TokenWriter:
    """Appends documents to the files of a folder.

    Args:
        progress: what `commit` wrote into progress.json, or {} for a new folder. Files are cut back to it.
    """

    def __init__(self, folder: Path, *, dtype: np.dtype[Any], shard_tokens: int, progress: dict[str, Any]) -> None:
        self._folder = folder
        self._dtype = dtype
        self._shard_tokens = shard_tokens
        self._files: dict[str, BinaryIO] = {}
        counts = progress.get("counts", {})
        self.counts = {split: SplitCount(**counts.get(split, {})) for split in SPLITS}
        for split in SPLITS:
            self._cut(split)
        self._documents = self._opened(DOCUMENTS, progress.get("documents_bytes", 0))

    def append(self, entry: DocumentEntry, ids: np.ndarray[Any, Any]) -> None:
        """Adds one document; `ids` is of any integer type, [entry.tokens]."""
        count, at = self.counts[entry.split], 0
        while at < len(ids):
            number, filled = divmod(count.tokens, self._shard_tokens)
            if entry.split not in self._files:
                self._files[entry.split] = self._opened(shard_name(entry.split, number), filled * self._dtype.itemsize)
            piece = ids[at : at + self._shard_tokens - filled]
            self._files[entry.split].write(piece.astype(self._dtype).tobytes())
            at += len(piece)
            count.tokens += len(piece)
            if count.tokens % self._shard_tokens == 0:
                _closed(self._files.pop(entry.split))
        count.documents += 1
        count.bytes += entry.bytes
        self._documents.write((json.dumps(asdict(entry), ensure_ascii=False) + "\n").encode())

    def commit(self, progress: dict[str, Any]) -> None:
        """Brings everything to the disk and notes in progress.json that so much of it is whole."""
        for file in (*self._files.values(), self._documents):
            _synced(file)
        counts = {split: asdict(count) for split, count in self.counts.items()}
        write_progress(self._folder, {**progress, "counts": counts, "documents_bytes": self._documents.tell()})

    def finish(self, index: dict[str, Any]) -> None:
        """Writes index.json with what the files hold."""
        self.close()
        splits = {}
        for split, count in self.counts.items():
            files = []
            for start in range(0, count.tokens, self._shard_tokens):
                name = shard_name(split, start // self._shard_tokens)
                tokens = min(self._shard_tokens, count.tokens - start)
                files.append({"name": name, "tokens": tokens, "sha256": sha256_file(self._folder / name)})
            splits[split] = {**asdict(count), "files": files}
        index = {
            "format": FORMAT,
            "version": VERSION,
            **index,
            "dtype": self._dtype.name,
            "documents_sha256": sha256_file(self._folder / DOCUMENTS),
            "splits": splits,
        }
        _write_json(self._folder / INDEX, index)
        (self._folder / PROGRESS).unlink()

    def close(self) -> None:
        for file in (*self._files.values(), self._documents):
            _closed(file)
        self._files.clear()

    def _opened(self, name: str, size: int) -> BinaryIO:
        """A file to append to, cut to its first `size` bytes."""
        file = (self._folder / name).open("r+b" if size else "wb")
        file.truncate(size)
        file.seek(size)
        return file

    def _cut(self, split: str) -> None:
        """Takes the shards away that were begun after the last commit."""
        first = -(-self.counts[split].tokens // self._shard_tokens)
        for name in list(_names_from(self._folder, split, first)):
            (self._folder / name).unlink()


def _names_from(folder: Path, split: str, first: int) -> Iterator[str]:
    while (folder / (name := shard_name(split, first))).is_file():
        yield name
        first += 1


def _synced(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _closed(file: BinaryIO) -> None:
    if not file.closed:
        _synced(file)
        file.close()


def read_progress(folder: Path) -> dict[str, Any]:
    """How far a tokenization came that has not ended; {} where none was begun.

    Raises:
        ValueError: the folder holds something else, or what another version wrote.
    """
    if (folder / PROGRESS).is_file():
        progress = read_json(folder / PROGRESS)
        if not isinstance(progress, dict) or (progress.get("format"), progress.get("version")) != (FORMAT, VERSION):
            raise ValueError(f"{folder / PROGRESS} is not of this pocketlm; name another folder by data.tokens")
        return progress
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; name a folder by data.tokens")
    foreign = sorted(path.name for path in folder.glob("*") if not path.name.startswith("."))
    if foreign:
        raise ValueError(f"{folder} holds {foreign[0]}, which is no part of tokens; name another by data.tokens")
    return {}


def write_progress(folder: Path, progress: dict[str, Any]) -> None:
    """Replaces progress.json."""
    _write_json(folder / PROGRESS, {"format": FORMAT, "version": VERSION, **progress})


def clear(folder: Path) -> None:
    """Removes what an unfinished tokenization left; progress.json, which says that it is ours, last."""
    if not (folder / PROGRESS).is_file():
        return
    for split in SPLITS:
        for path in folder.glob(f"{split}-*.bin"):
            path.unlink()
    (folder / DOCUMENTS).unlink(missing_ok=True)
    shutil.rmtree(folder / TOKENIZER, ignore_errors=True)
    (folder / PROGRESS).unlink()


def sweep(folder: Path) -> None:
    """Removes half files that a killed process left."""
    for name in (INDEX, PROGRESS, TOKENIZER):
        for path in folder.glob(f".{name}.*-*"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _write_json(path: Path, value: Any) -> None:
    """Replaces a JSON file at once."""
    with atomic_output(path, overwrite=True, folder=False) as partial:
        partial.write_text(dump_json(value), encoding="utf-8")


def read_entries(folder: Path, split: str) -> list[DocumentEntry]:
    """The documents of a split, in the order of its tokens."""
    with (folder / DOCUMENTS).open(encoding="utf-8") as file:
        entries = (DocumentEntry(**json.loads(line)) for line in file)
        return [entry for entry in entries if entry.split == split]
