"""A teacher's targets on disk, so that many runs share one pass of the teacher.

A window of tokens is known by the hash of its tokens: what a teacher says of a position depends on the window up to
there and on nothing else, so runs share whatever windows they have in common, and order, batch and steps do not matter.
(Windows begin at an offset that depends on a run's seed: runs share windows when they share seed, text and window.)
The folder holds `index.json` and `shard-NNNNN.npy`, records of train/teacher_targets.py. A shard is written beside,
renamed, and only then entered in the index with its hash: what a killed pass leaves half-written never counts.
Shapes: B windows, T tokens of a window, M = B * T positions, C model width, V vocabulary.
"""

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.files import atomic_output, dump_json, sha256_file
from train.distillation import CachedTargets, Head
from train.lock import folder_lock
from train.teacher_facts import (
    FORMAT,
    INDEX,
    VERSION,
    TeacherFacts,
    check_facts,
    check_temperature,
    read_index,
    refuse_foreign,
)
from train.teacher_targets import KEY_BYTES, at_temperature, read_records, summarize, write_records

SHARD_POSITIONS = 1 << 17  # of a full shard: what a kill loses at most. 26 MB at 64 tokens a position

_MENDING = "remove that file, and the next run makes its targets again"


class TeacherCache:
    """The targets of one teacher. `open`, then `fill` with the windows of a run, then `targets`."""

    def __init__(self, folder: Path, facts: TeacherFacts, *, temperature: float) -> None:
        self.folder, self.facts, self._temperature = folder, facts, temperature
        self._places: dict[bytes, tuple[np.ndarray[Any, Any], int]] = {}  # of each window: its shard, mapped, and row
        self._shards: dict[str, dict[str, Any]] = {}  # entries of the index by file name

    @classmethod
    def open(cls, folder: Path, facts: TeacherFacts, *, temperature: float = 1.0) -> "TeacherCache":
        """The cache in a folder, or an empty one where there is none yet; every shard is compared with its hash.

        Args:
            facts: a new cache keeps their temperatures and `temperature`; an old one has those that it was made with.
            temperature: at which the run asks for `targets`.

        Raises:
            ValueError: the folder holds something else, targets of another teacher or of other settings, or a shard
                that is not as it was written.
        """
        if not (folder / INDEX).is_file():
            refuse_foreign(folder)
            kept = tuple(sorted({*facts.temperatures, float(temperature)}))
            return cls(folder, dataclasses.replace(facts, temperatures=kept), temperature=temperature)
        index = read_index(folder)
        kept = check_facts(folder, index["facts"], facts)
        check_temperature(folder, temperature, kept)
        cache = cls(folder, dataclasses.replace(facts, temperatures=kept), temperature=temperature)
        cache._read(index)
        return cache

    def __len__(self) -> int:
        """Windows that it holds."""
        return len(self._places)

    def fill(
        self,
        batches: Iterable[Tensor],
        teacher: Callable[[Tensor], Head],
        *,
        total: int,
        positions: int,
        chunk: int,
        progress: Callable[[str], None],
    ) -> int:
        """Asks the teacher for the windows that are not there yet, and writes them shard by shard.

        Windows that are there cost their hash. What an earlier call wrote before it was killed is kept.

        Args:
            batches: int64 [B, T], what the model reads (not the last token, which is only predicted).
            teacher: tokens int64 [b, T] to the head [b * T, C] in eval mode.
            total: positions of all batches together, for `progress`.
            positions: that the teacher is given at once, at least one window.
            chunk: positions whose logits are in memory at once.
            progress: gets a line for each shard.

        Returns:
            Windows that were written.

        Raises:
            ValueError: another process is filling the folder, or what the teacher says is not finite.
            EnvironmentFault: the disk is full; the shards before stay.
        """
        written = 0
        with contextlib.ExitStack() as lock:
            for windows, seen in self._missing(batches, lock):
                line = self._write(windows, teacher, positions, chunk)
                progress(f"{line}; {seen:,} of {total:,} positions of this run are there")
                written += len(windows)
        return written

    def targets(self, tokens_BT: Tensor, *, temperature: float = 1.0) -> CachedTargets:
        """The targets of windows, flat as their positions are: [B * T, K], on the device of the tokens.

        Raises:
            ValueError: a window is not there, or the cache was made without this temperature.
        """
        check_temperature(self.folder, temperature, self.facts.temperatures)
        keys = _keys(tokens_BT)
        missing = sum(key not in self._places for key in keys)
        if missing:
            raise ValueError(
                f"{self.folder} lacks {missing} of {len(keys)} windows of this batch; fill it with the windows of "
                "this run first"
            )
        records = (shard[row : row + 1] for shard, row in (self._places[key] for key in keys))
        summary = read_records(list(records)).to(tokens_BT.device)
        return at_temperature(summary, float(temperature), self.facts.temperatures)

    def _missing(
        self, batches: Iterable[Tensor], lock: contextlib.ExitStack
    ) -> Iterator[tuple[dict[bytes, Tensor], int]]:
        """What is not there yet, a shard at a time, by key, and the positions before it; takes the lock if need be."""
        waiting: dict[bytes, Tensor] = {}
        seen, is_locked = 0, False
        for batch in batches:
            rows = list(zip(_keys(batch), batch, strict=True))
            if not is_locked and any(key not in self._places for key, _ in rows):
                lock.enter_context(folder_lock(self.folder))  # from here on nobody else writes
                is_locked = True
                self._begin()
            for key, window in rows:
                if key not in self._places and key not in waiting:
                    if waiting and _is_full(waiting, window):
                        yield waiting, seen
                        waiting = {}
                    waiting[key] = window
                seen += len(window)
        if waiting:
            yield waiting, seen

    def _begin(self) -> None:
        """Under the lock: takes up what others have written meanwhile, and clears what a kill has left."""
        for path in self.folder.glob(".*.partial-*"):
            path.unlink()
        if (self.folder / INDEX).is_file():
            index = read_index(self.folder)
            kept = check_facts(self.folder, index["facts"], self.facts)
            if kept != self.facts.temperatures:
                raise ValueError(f"another run has begun {self.folder} with other temperatures just now; run again")
            self._read(index)
        else:
            self._write_index()

    def _read(self, index: dict[str, Any]) -> None:
        """Takes up the shards that are not known yet; one that was removed is not there."""
        for entry in index["shards"]:
            path = self.folder / entry["name"]
            if entry["name"] in self._shards or not path.is_file():
                continue
            if sha256_file(path) != entry["sha256"]:
                raise ValueError(f"{path} is not as it was written; {_MENDING}")
            self._enter(entry)

    def _enter(self, entry: dict[str, Any]) -> None:
        path = self.folder / entry["name"]
        records = np.load(path, mmap_mode="r", allow_pickle=False)
        if records.shape != (entry["windows"],) or records.dtype != self.facts.record_type(entry["window"]):
            raise ValueError(f"{path} does not hold what {INDEX} says; {_MENDING}")
        self._shards[entry["name"]] = entry
        for row, key in enumerate(records["key"]):
            self._places[key.tobytes()] = records, row

    def _write(
        self, windows: dict[bytes, Tensor], teacher: Callable[[Tensor], Head], positions: int, chunk: int
    ) -> str:
        """One shard and its entry in the index; returns what there is to say of it."""
        tokens_BT = torch.stack(list(windows.values()))
        count, length = tokens_BT.shape
        records = np.zeros(count, self.facts.record_type(length))
        records["key"] = np.frombuffer(b"".join(windows), np.uint8).reshape(count, KEY_BYTES)
        at_once, done, tail = max(1, positions // length), 0, 0.0
        for piece in tokens_BT.split(at_once):
            with torch.no_grad():
                head = teacher(piece)
            summary = summarize(head, top_k=self.facts.top_k, temperatures=self.facts.temperatures, chunk=chunk)
            write_records(summary, records[done : done + len(piece)])
            done += len(piece)
            found = at_temperature(summary, self._temperature, self.facts.temperatures)
            tail += float(found.tail_M.double().exp().sum()) / (count * length)
        name = next(name for i in range(10**5) if (name := f"shard-{i:05d}.npy") not in self._shards)
        with atomic_output(self.folder / name, overwrite=True, folder=False) as partial, partial.open("wb") as file:
            np.save(file, records, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        path = self.folder / name
        self._enter({"name": name, "windows": count, "window": length, "sha256": sha256_file(path)})
        self._write_index()
        return (
            f"teacher targets: {name}, {count * length:,} positions, {path.stat().st_size / 1e6:,.1f} MB, {tail:.1%} "
            f"of the mass beyond {self.facts.top_k} tokens at temperature {self._temperature:g}"
        )

    def _write_index(self) -> None:
        index = {
            "format": FORMAT,
            "version": VERSION,
            "facts": dataclasses.asdict(self.facts),
            "shards": [self._shards[name] for name in sorted(self._shards)],
        }
        with atomic_output(self.folder / INDEX, overwrite=True, folder=False) as partial:
            partial.write_text(dump_json(index), encoding="utf-8")


def _is_full(waiting: dict[bytes, Tensor], window: Tensor) -> bool:
    """Whether these windows must be written before another one is added."""
    length = len(next(iter(waiting.values())))
    return length != len(window) or (len(waiting) + 1) * length > SHARD_POSITIONS


def _keys(tokens_BT: Tensor) -> list[bytes]:
    rows = tokens_BT.cpu().numpy().astype("<i8")
    return [hashlib.blake2b(row.tobytes(), digest_size=KEY_BYTES).digest() for row in rows]
