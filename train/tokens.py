"""The tokens of a run: made once from its documents, and from then on read from the disk as they are needed.

Documents are numbered in their order, from 0, after empty ones and repetitions are dropped; with every n-th held out,
document i is held out where (i + 1) % n is 0. Each one is its begin-of-text ids, its text and one end-of-text id.
"""

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.files import read_json, sha256_file
from model.tokenizer import TokenizerSpec
from model.tokenizer_files import find_tokenizer_file
from train.lock import folder_lock
from train.settings import DataSettings, TokenizerSettings
from train.token_files import (
    DOCUMENTS,
    FORMAT,
    INDEX,
    TOKENIZER,
    VERSION,
    DocumentEntry,
    read_entries,
    read_progress,
)
from train.tokenization import compared_settings, read_tokenizer, write_tokens


class TokenStream:
    """The tokens of one split, memory-mapped: all its documents, one after the other."""

    def __init__(self, folder: Path, split: str, facts: dict[str, Any], dtype: np.dtype[Any]) -> None:
        self._folder, self._split = folder, split
        self.tokens: int = facts["tokens"]
        self.documents: int = facts["documents"]
        self.bytes: int = facts["bytes"]  # of the text as UTF-8
        self._shards = [
            np.memmap(folder / file["name"], dtype, "r", shape=(file["tokens"],)) for file in facts["files"]
        ]
        self._ends = np.cumsum([len(shard) for shard in self._shards])

    def window(self, start: int, length: int) -> Tensor:
        """Tokens `start` to `start + length`, across the borders of files: int64 [length].

        Raises:
            ValueError: the split does not hold so many.
        """
        if start < 0 or length < 1 or start + length > self.tokens:
            raise ValueError(f"tokens {start} to {start + length} were asked for; there are {self.tokens}")
        window = np.empty(length, dtype=np.int64)
        shard, done = int(np.searchsorted(self._ends, start, side="right")), 0
        at = start - int(self._ends[shard] - len(self._shards[shard]))
        while done < length:
            piece = self._shards[shard][at : at + length - done]
            window[done : done + len(piece)] = piece
            done, shard, at = done + len(piece), shard + 1, 0
        return torch.from_numpy(window)

    def document(self, i: int) -> Tensor:
        """The tokens of document `i` of this split, from 0, with those that begin and end it: int64 [T]."""
        if not 0 <= i < self.documents:
            raise ValueError(f"document {i} was asked for; there are {self.documents}, counted from 0")
        return self.window(self._starts[i], self.entries[i].tokens)

    @functools.cached_property
    def entries(self) -> list[DocumentEntry]:
        """Name, bytes, hash and tokens of each document."""
        return read_entries(self._folder, self._split)

    @functools.cached_property
    def _starts(self) -> list[int]:
        starts, at = [], 0
        for entry in self.entries:
            starts.append(at)
            at += entry.tokens
        return starts


@dataclass(frozen=True, kw_only=True)
class TokenSet:
    """A folder of tokenized text."""

    folder: Path
    tokenizer_folder: Path
    spec: TokenizerSpec
    train: TokenStream
    held_out: TokenStream | None  # None where nothing is held out
    sha256: str  # of index.json, which holds the hashes of everything else


def prepare_tokens(
    data: DataSettings,
    tokenizer: TokenizerSettings,
    *,
    vocab_size: int,
    folder: Path,
    base: Path,
    progress: Callable[[str], None],
    verify: bool = False,
) -> TokenSet:
    """The tokens of these settings: opens `folder` if they are there, else writes them there.

    Args:
        vocab_size: rows of the model's table; the size of a tokenizer that is trained, unless the settings name one.
        folder: one of an earlier call, perhaps a killed one, an empty one, or none yet.
        base: what relative paths of the settings start from.
        progress: gets a line now and then.
        verify: hash the token files when they are opened; their sizes are always compared.

    Raises:
        ValueError: no text, nothing to hold out, a source or tokenizer that cannot be read, a tokenizer with more ids
            than the model; or the folder was made from other settings, is damaged, or holds something else.
        EnvironmentFault: the disk is full, or a library or the network is missing.
    """
    if not (folder / INDEX).is_file():
        read_progress(folder)  # refuses a folder of something else before a lock is put there
        with folder_lock(folder):
            if not (folder / INDEX).is_file():  # another process may just have finished
                write_tokens(data, tokenizer, vocab_size=vocab_size, folder=folder, base=base, progress=progress)
    tokens = open_tokens(folder, vocab_size=vocab_size, verify=verify)
    index = _index(folder)
    made, asked = index["settings"], compared_settings(data, tokenizer, vocab_size)
    for key in sorted(asked.keys() | made.keys()):
        if made.get(key) != asked.get(key):
            raise ValueError(
                f"{folder} was made with {key} = {made.get(key)!r}, this run has {asked.get(key)!r}; name another "
                "folder by data.tokens, or remove that one to have it made again"
            )
    if tokenizer.folder is not None:
        _check_source(base / tokenizer.folder, folder, index["tokenizer"])
    return tokens


def open_tokens(folder: Path, *, vocab_size: int, verify: bool = False) -> TokenSet:
    """Opens what `prepare_tokens` has finished.

    Raises:
        ValueError: the folder is unfinished or damaged, or its tokenizer has more ids than `vocab_size`.
    """
    index = _index(folder)
    tokenizer_folder = folder / TOKENIZER
    spec = read_tokenizer(tokenizer_folder, vocab_size=vocab_size)
    if sha256_file(tokenizer_folder / spec.file) != index["tokenizer"]["sha256"]:
        raise _damaged(tokenizer_folder / spec.file, "is not the tokenizer that made the tokens")
    dtype = np.dtype(index["dtype"]).newbyteorder("<")
    _check_files(folder, index, dtype, verify=verify)
    streams = {
        split: TokenStream(folder, split, facts, dtype) for split, facts in index["splits"].items() if facts["tokens"]
    }
    return TokenSet(
        folder=folder,
        tokenizer_folder=tokenizer_folder,
        spec=spec,
        train=streams["train"],
        held_out=streams.get("held_out"),
        sha256=hashlib.sha256((folder / INDEX).read_bytes()).hexdigest(),
    )


def _index(folder: Path) -> dict[str, Any]:
    index = read_json(folder / INDEX)
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise ValueError(f"{folder / INDEX} does not describe tokens; name another folder by data.tokens")
    if index.get("version") != VERSION:
        raise ValueError(
            f"{folder} holds tokens of version {index.get('version')!r}, this pocketlm reads {VERSION}; remove the "
            "folder to have it made again"
        )
    return index


def _check_source(source: Path, folder: Path, facts: dict[str, Any]) -> None:
    """Refuses a tokenizer folder that has changed since; it may be gone."""
    found = find_tokenizer_file(source) if source.is_dir() else None
    taken = (facts["file"], facts["sha256"])
    if found is not None and found[1] == "tiktoken":  # the tokens came from a tokenizer.json made of the copy
        copy = folder / TOKENIZER / found[0].name
        taken = (copy.name, sha256_file(copy) if copy.is_file() else "")
    if found is not None and (found[0].name, sha256_file(found[0])) != taken:
        raise ValueError(
            f"{folder} was made by another tokenizer than {found[0]} is now; name another folder by data.tokens, or "
            "remove that one to have it made again"
        )


def _check_files(folder: Path, index: dict[str, Any], dtype: np.dtype[Any], *, verify: bool) -> None:
    if not (folder / DOCUMENTS).is_file() or sha256_file(folder / DOCUMENTS) != index["documents_sha256"]:
        raise _damaged(folder / DOCUMENTS, "is not as it was written")
    for facts in index["splits"].values():
        for file in facts["files"]:
            path, size = folder / file["name"], file["tokens"] * dtype.itemsize
            if not path.is_file():
                raise _damaged(path, "is missing")
            if path.stat().st_size != size:
                raise _damaged(path, f"has {path.stat().st_size} bytes in place of {size}")
            if verify and sha256_file(path) != file["sha256"]:
                raise _damaged(path, "is not as it was written")


def _damaged(path: Path, what: str) -> ValueError:
    return ValueError(f"{path} {what}; remove the folder of the tokens to have it made again")
