"""Text into token files: the tokenizer first, then every document, with what a killed process needs to go on.

What comes out is the same whether and however often the process was killed. Text that changed in between is noticed by
its hashes, and everything begins again.
"""

import errno
import itertools
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model.errors import EnvironmentFault
from model.files import atomic_output, sha256_file
from model.tiktoken_json import convert_tiktoken
from model.tokenizer import TokenizerSpec, read_tokenizer_spec
from train.bpe import train_bpe
from train.corpus import Corpus, Mark, Numbered, TextChanged, batches
from train.encoding import DocumentEncoder
from train.settings import DataSettings, TokenizerSettings
from train.sources import Dropped
from train.token_files import (
    TOKENIZER,
    DocumentEntry,
    TokenWriter,
    clear,
    read_progress,
    sweep,
    token_type,
    write_progress,
)

_BATCH_BYTES = 4 << 20  # of text that is tokenized at once
_COMMIT_BYTES = 64 << 20  # of text between two notes of the progress
_SECONDS_A_LINE = 5.0
_ANY_SIZE = 1 << 31  # ids are compared with the model's table here, in the words of a run
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


def compared_settings(data: DataSettings, tokenizer: TokenizerSettings, vocab_size: int) -> dict[str, Any]:
    """The settings that decide which tokens come out; files of another size hold the same."""
    settings = {f"data.{name}": value for name, value in asdict(data).items() if name not in ("shard_tokens", "tokens")}
    if tokenizer.folder is not None:
        settings["tokenizer.folder"] = tokenizer.folder
    else:
        settings["tokenizer.train_bytes"] = tokenizer.train_bytes
        settings["tokenizer.vocab_size"] = tokenizer.vocab_size or vocab_size
    if data.separator is None:  # absent, as in the folders that are older than this setting
        del settings["data.separator"]
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
    work = _Work(data, tokenizer, vocab_size=vocab_size, folder=folder, base=base, progress=progress)
    try:
        try:
            work.run()
        except TextChanged:
            progress("the text or the tokenizer has changed since a part was tokenized: beginning again")
            clear(folder)
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
        sweep(self._folder)
        before = read_progress(self._folder)
        if before.get("settings") != self._settings or "tokenizer" not in before:
            clear(self._folder)
            before = {}
            write_progress(self._folder, {"settings": self._settings})  # the folder is ours from here on
        spec, tokenizer_read = self._make_tokenizer(before)
        facts = {
            "file": spec.file,
            "sha256": sha256_file(self._folder / TOKENIZER / spec.file),
            "vocab_size": spec.vocab_size,
        }
        if before and before["tokenizer"] != facts:
            raise TextChanged
        note = {"settings": self._settings, "tokenizer": facts, "tokenizer_read": tokenizer_read}
        writer = TokenWriter(
            self._folder, dtype=token_type(spec.vocab_size), shard_tokens=self._data.shard_tokens, progress=before
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
        elif not before:
            read = self._train_tokenizer(folder)
        return read_tokenizer(folder, vocab_size=self._vocab_size), read

    def _train_tokenizer(self, folder: Path) -> Mark:
        size = self._tokenizer.vocab_size or self._vocab_size
        self._progress(f"training a tokenizer of {size:,} tokens")
        corpus = Corpus(self._data, self._base)
        train_bpe(
            (document.text for split, document in corpus if split == "train"),
            vocab_size=size,
            folder=folder,
            max_bytes=self._tokenizer.train_bytes,
            progress=self._progress,
        )
        return corpus.mark

    def _write_documents(
        self, writer: TokenWriter, spec: TokenizerSpec, note: dict[str, Any], before: dict[str, Any]
    ) -> Dropped:
        """Appends what `before` does not hold yet."""
        encoder, speed = DocumentEncoder(self._folder / TOKENIZER, spec), _Speed(self._progress)
        marks = [mark for mark in (note["tokenizer_read"], before.get("read")) if mark]
        corpus = Corpus(self._data, self._base, marks)
        done = before["read"][0] if before else 0
        if not before:
            writer.commit({**note, "read": corpus.mark})
        elif done:
            self._progress(f"going on after {done:,} documents")
        since_commit = 0
        for batch in batches(itertools.islice(corpus, done, None), _BATCH_BYTES):
            _append(writer, encoder, batch)
            size = sum(document.bytes for _, document in batch)
            speed.add(size, writer)
            since_commit += size
            if since_commit >= _COMMIT_BYTES:
                writer.commit({**note, "read": corpus.mark})
                since_commit = 0
        return corpus.dropped

    def _check_counts(self, writer: TokenWriter) -> None:
        train, held_out = writer.counts["train"], writer.counts["held_out"]
        if not train.documents:
            raise ValueError("the sources of the run hold no text; correct data.sources, data.include and data.exclude")
        if self._data.held_out_every and not held_out.documents:
            raise ValueError(
                f"the text has {train.documents} documents and every {self._data.held_out_every}th is held out, so "
                "none is; lower data.held_out_every, give more documents, or set it to 0"
            )


def _append(writer: TokenWriter, encoder: DocumentEncoder, batch: list[Numbered]) -> None:
    for (split, document), ids in zip(batch, encoder.encode([d.text for _, d in batch]), strict=True):
        entry = DocumentEntry(
            name=document.name, split=split, bytes=document.bytes, sha256=document.sha256, tokens=len(ids)
        )
        writer.append(entry, ids)


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


def read_tokenizer(folder: Path, *, vocab_size: int) -> TokenizerSpec:
    """The facts of a tokenizer that stands among tokens.

    Raises:
        ValueError: it has more ids than the model has rows.
    """
    spec = read_tokenizer_spec(folder, vocab_size=_ANY_SIZE)
    if spec is None:
        raise ValueError(f"{folder} has lost its tokenizer; remove the folder of the tokens to have it made again")
    if spec.vocab_size > vocab_size:
        raise ValueError(
            f"this is a run file for another vocabulary: the tokenizer in {folder} has {spec.vocab_size} ids, the "
            f"model's table {vocab_size} rows; choose another tokenizer.folder or data.tokens, or give "
            f"[model.config] vocab_size = {spec.vocab_size}"
        )
    return spec


def _copy_tokenizer(source: Path, target: Path) -> None:
    """Copies the files that describe a folder's tokenizer; a tiktoken file becomes a tokenizer.json."""
    if not source.is_dir():
        raise ValueError(f"tokenizer.folder {source} is not a folder; relative paths start at the run file's folder")
    for name in _TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    convert_tiktoken(target, target, vocab_size=_ANY_SIZE)
    if read_tokenizer_spec(target, vocab_size=_ANY_SIZE) is None:
        raise ValueError(f"tokenizer.folder {source} holds no tokenizer; leave it out to have one trained")
