"""Text into token files: the tokenizer first, then every document, with what a killed process needs to go on.

What comes out is the same whether and however often the process was killed. Text that changed in between is noticed by
its hashes, and everything begins again.
"""

import errno
import hashlib
import itertools
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model.errors import EnvironmentFault
from model.files import atomic_output, read_json, sha256_file
from model.tokenizer import TokenizerSpec, read_tokenizer_spec
from train.bpe import train_bpe
from train.encoding import DocumentEncoder
from train.settings import DataSettings, TokenizerSettings
from train.sources import Document, Dropped, read_documents
from train.token_files import DOCUMENTS, PROGRESS, SPLITS, TOKENIZER, DocumentEntry, TokenWriter, token_type

_BATCH_BYTES = 4 << 20  # of text that is tokenized at once
_COMMIT_BYTES = 64 << 20  # of text between two notes of the progress
_SECONDS_A_LINE = 5.0
# What `read_tokenizer_spec` and `derive_template` read, in a Hugging Face folder and in a checkpoint of ours.
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "config.json",
    "chat_template.jinja",
    "chat_template.json",
    "checkpoint.json",
)


Mark = list[Any]  # a number of documents and a hash over them


class _Changed(Exception):
    """The text is not that of which a part was tokenized before."""


def compared_settings(data: DataSettings, tokenizer: TokenizerSettings, vocab_size: int) -> dict[str, Any]:
    """The settings that decide which tokens come out; files of another size hold the same."""
    settings = {f"data.{name}": value for name, value in asdict(data).items() if name not in ("shard_tokens", "tokens")}
    if tokenizer.folder is not None:
        settings["tokenizer.folder"] = tokenizer.folder
    else:
        settings["tokenizer.train_bytes"] = tokenizer.train_bytes
        settings["tokenizer.vocab_size"] = tokenizer.vocab_size or vocab_size
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}


def write_tokens(
    data: DataSettings,
    tokenizer: TokenizerSettings,
    *,
    vocab_size: int,
    folder: Path,
    base: Path,
    progress: Callable[[str], None],
) -> None:
    """Tokenizes into `folder`, or goes on where a killed process stood; see `train.tokens.prepare_tokens`."""
    _check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        work = _Work(data, tokenizer, vocab_size=vocab_size, folder=folder, base=base, progress=progress)
        try:
            work.run()
        except _Changed:
            progress("the text has changed since a part of it was tokenized: beginning again")
            _clear(folder)
            work.run()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise EnvironmentFault(
                f"no space left on the disk while writing {folder}; free some space and run again: it goes on there"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM, errno.EFBIG):
            raise EnvironmentFault(
                f"cannot write {error.filename or folder} ({error.strerror}); choose another folder"
            ) from error
        raise


class _Work:
    """One tokenization; `run` may be called again after the folder was cleared."""

    def __init__(
        self,
        data: DataSettings,
        tokenizer: TokenizerSettings,
        *,
        vocab_size: int,
        folder: Path,
        base: Path,
        progress: Callable[[str], None],
    ) -> None:
        self._data, self._tokenizer, self._vocab_size = data, tokenizer, vocab_size
        self._folder, self._base, self._progress = folder, base, progress
        self._settings = compared_settings(data, tokenizer, vocab_size) | {"data.shard_tokens": data.shard_tokens}

    def run(self) -> None:
        before = read_json(self._folder / PROGRESS) if (self._folder / PROGRESS).is_file() else {}
        if before.get("settings") != self._settings:
            _clear(self._folder)
            before = {}
        spec, tokenizer_read = self._make_tokenizer(before)
        facts = {
            "file": spec.file,
            "sha256": sha256_file(self._folder / TOKENIZER / spec.file),
            "vocab_size": spec.vocab_size,
        }
        if before and before["tokenizer"] != facts:
            raise _Changed
        note = {"settings": self._settings, "tokenizer": facts, "tokenizer_read": tokenizer_read}
        writer = TokenWriter(
            self._folder,
            dtype=token_type(spec.vocab_size),
            shard_tokens=self._data.shard_tokens,
            progress=before,
        )
        try:
            dropped = self._write_documents(writer, spec, note, before)
            self._check_counts(writer)
            settings = compared_settings(self._data, self._tokenizer, self._vocab_size)
            writer.finish({"settings": settings, "tokenizer": facts, "dropped": asdict(dropped)})
        finally:
            writer.close()
        self._progress(_summary(writer, dropped))

    def _make_tokenizer(self, before: dict[str, Any]) -> tuple[TokenizerSpec, Mark | None]:
        """The tokenizer in its folder, and how far the text was read for it."""
        folder, read = self._folder / TOKENIZER, before.get("tokenizer_read")
        if self._tokenizer.folder is not None:
            with atomic_output(folder, overwrite=True, parts=_TOKENIZER_FILES) as partial:
                _copy_tokenizer(self._base / self._tokenizer.folder, partial)
            size = self._vocab_size
        else:
            size = self._tokenizer.vocab_size or self._vocab_size
            if not before:
                read = self._train_tokenizer(folder, size)
        spec = read_tokenizer_spec(folder, vocab_size=size)
        assert spec is not None
        return spec, read

    def _train_tokenizer(self, folder: Path, size: int) -> Mark:
        self._progress(f"training a tokenizer of {size:,} tokens")
        documents = _Documents(self._data, self._base)
        train_bpe(
            (document.text for split, document in documents if split == "train"),
            vocab_size=size,
            folder=folder,
            max_bytes=self._tokenizer.train_bytes,
            progress=self._progress,
        )
        return documents.mark

    def _write_documents(
        self, writer: TokenWriter, spec: TokenizerSpec, note: dict[str, Any], before: dict[str, Any]
    ) -> Dropped:
        """Appends what `before` does not hold yet."""
        encoder, speed = DocumentEncoder(self._folder / TOKENIZER, spec), _Speed(self._progress)
        done, committed = before.get("read", [0])[0], 0
        marks = [mark for mark in (note["tokenizer_read"], before.get("read")) if mark]
        documents = _Documents(self._data, self._base, marks)
        if not before:
            writer.commit({**note, "read": documents.mark})
        elif done:
            self._progress(f"going on after {done:,} documents")
        for batch in _batches(documents, after=done):
            size = sum(document.bytes for _, document in batch)
            for (split, document), ids in zip(batch, encoder.encode([d.text for _, d in batch]), strict=True):
                writer.append(
                    DocumentEntry(
                        name=document.name,
                        split=split,
                        bytes=document.bytes,
                        sha256=document.sha256,
                        tokens=len(ids),
                    ),
                    ids,
                )
            speed.add(size, writer)
            committed += size
            if committed >= _COMMIT_BYTES:
                writer.commit({**note, "read": documents.mark})
                committed = 0
        return documents.dropped

    def _check_counts(self, writer: TokenWriter) -> None:
        train, held_out = writer.counts["train"], writer.counts["held_out"]
        if not train.documents:
            raise ValueError("the sources of the run hold no text; correct data.sources, data.include and data.exclude")
        if self._data.held_out_every and not held_out.documents:
            raise ValueError(
                f"the text has {train.documents} documents and every {self._data.held_out_every}th is held out, so "
                "none is; lower data.held_out_every, give more documents, or set it to 0"
            )


class _Documents:
    """All documents with their splits, checked against what was read of them before.

    Args:
        marks: what `mark` was then.
    """

    def __init__(self, data: DataSettings, base: Path, marks: Sequence[Mark] = ()) -> None:
        self._data, self._base = data, base
        self._marks = {number: digest for number, digest in marks}
        self._hash = hashlib.sha256()
        self.number = 0
        self.dropped = Dropped()

    @property
    def mark(self) -> Mark:
        """How many documents were read, and a hash over them."""
        return [self.number, self._hash.hexdigest()]

    def __iter__(self) -> Iterator[tuple[str, Document]]:
        every = self._data.held_out_every
        for document in read_documents(self._data, base=self._base, dropped=self.dropped):
            self.number += 1
            self._hash.update(bytes.fromhex(document.sha256))
            if self._marks.pop(self.number, self._hash.hexdigest()) != self._hash.hexdigest():
                raise _Changed
            yield "held_out" if every and self.number % every == 0 else "train", document
        if set(self._marks) - {0}:  # there were more
            raise _Changed


def _batches(documents: Iterable[tuple[str, Document]], *, after: int) -> Iterator[list[tuple[str, Document]]]:
    """The documents from number `after` on, in pieces of a few megabytes."""
    batch: list[tuple[str, Document]] = []
    size = 0
    for entry in itertools.islice(documents, after, None):
        batch.append(entry)
        size += entry[1].bytes
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _Speed:
    """Says every few seconds how far it is."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        self._progress = progress
        self._start = self._said = time.monotonic()
        self._bytes = 0

    def add(self, size: int, writer: TokenWriter) -> None:
        self._bytes += size
        now = time.monotonic()
        if now - self._said >= _SECONDS_A_LINE:
            self._said = now
            documents = sum(count.documents for count in writer.counts.values())
            tokens = sum(count.tokens for count in writer.counts.values())
            speed = self._bytes / 1e6 / (now - self._start)
            self._progress(f"tokenized {documents:,} documents, {tokens:,} tokens, {speed:.1f} MB/s")


def _summary(writer: TokenWriter, dropped: Dropped) -> str:
    train, held_out = writer.counts["train"], writer.counts["held_out"]
    left_out = (
        (dropped.empty, "empty"),
        (dropped.duplicates, "that came before"),
        (dropped.undecodable, "that Python cannot read"),
    )
    parts = [f"{number:,} {what}" for number, what in left_out if number]
    return (
        f"{train.documents:,} documents, {train.tokens:,} tokens, {train.bytes / train.tokens:.2f} bytes a token; "
        f"held out {held_out.documents:,} documents, {held_out.tokens:,} tokens"
        + (f"; left out: {', '.join(parts)}" if parts else "")
    )


def _copy_tokenizer(source: Path, target: Path) -> None:
    """Copies the files that describe a folder's tokenizer."""
    if not source.is_dir():
        raise ValueError(f"tokenizer.folder {source} is not a folder; relative paths start at the run file's folder")
    for name in _TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    if read_tokenizer_spec(target, vocab_size=2**31) is None:
        raise ValueError(f"tokenizer.folder {source} holds no tokenizer; leave it out to have one trained")


def _ours(folder: Path) -> list[Path]:
    """What an unfinished tokenization leaves in a folder."""
    shards = [path for split in SPLITS for path in folder.glob(f"{split}-*.bin")]
    return [path for path in (*shards, *(folder / name for name in (DOCUMENTS, PROGRESS, TOKENIZER))) if path.exists()]


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; name a folder by data.tokens")
    if folder.is_dir() and not (folder / PROGRESS).is_file():
        ours = set(_ours(folder))
        foreign = sorted(path.name for path in folder.iterdir() if path not in ours and not path.name.startswith("."))
        if foreign:
            raise ValueError(f"{folder} holds {foreign[0]}, which is no part of tokens; name another by data.tokens")


def _clear(folder: Path) -> None:
    for path in _ours(folder):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
