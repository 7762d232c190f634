"""The state of a run on disk: everything that the next step depends on, written beside and renamed, with hashes.

A state is a folder `step-00000100/` of `state.safetensors` (of several processes: train/sharded_state.py) and
`state.json`. The newest whole one is found by itself.
"""

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from model.files import atomic_output, dump_json, read_json, sha256_file
from model.safetensors_file import open_safetensors, write_safetensors

FORMAT = "pocketlm-training-state"
VERSION = 1
TENSORS_FILE = "state.safetensors"
FACTS_FILE = "state.json"

_NAME = re.compile(r"step-(\d{8})")
_ENTRY_BYTES = 256  # more than one tensor's entry in a safetensors header ever takes


@dataclass(frozen=True, kw_only=True)
class State:
    step: int  # steps of the optimizer that are done
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]  # JSON values


@dataclass(frozen=True, kw_only=True)
class Found:
    """A whole state on disk, its files compared with their hashes."""

    step: int
    path: Path
    facts: Mapping[str, Any]


def save_state(folder: Path, state: State, *, keep: int) -> Path:
    """Writes `folder/step-NNNNNNNN` and keeps the newest `keep` states up to it.

    Raises:
        EnvironmentFault: the disk is full or cannot be written; the states that were there stay.
    """
    with begin_state(folder, state.step) as begun:
        file = begun.folder / TENSORS_FILE
        tensors = ((name, tensor.detach().cpu().contiguous()) for name, tensor in state.tensors.items())
        write_safetensors(file, tensors, header_bytes=len(state.tensors) * _ENTRY_BYTES)
        begun.finish(sha256_file(file), state.facts)
    keep_newest(folder, state.step, keep)
    return state_path(folder, state.step)


@dataclass(frozen=True)
class Begun:
    """A state that is being written."""

    folder: Path  # for its files, hidden until it is whole
    step: int

    def finish(self, hashes: str | Mapping[str, str], facts: Mapping[str, Any]) -> None:
        """Says that all files are there: the hash of the one, or that of each."""
        data = {"format": FORMAT, "version": VERSION, "step": self.step, "sha256": hashes, "facts": dict(facts)}
        (self.folder / FACTS_FILE).write_text(dump_json(data), encoding="utf-8")


@contextlib.contextmanager
def begin_state(folder: Path, step: int) -> Iterator[Begun]:
    """A place for the files of a state, which appears under its name when the block ends without an error.

    Raises:
        EnvironmentFault: the disk is full or cannot be written.
    """
    path = state_path(folder, step)
    if path.exists():  # damaged, or the run would not be at this step again
        shutil.rmtree(path)
    with atomic_output(path) as partial:
        yield Begun(partial, step)


def state_path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}"


def keep_newest(folder: Path, step: int, keep: int) -> None:
    """Removes all states but the newest `keep` up to a step.

    Later ones go: they are damaged, or the run would not have gone back behind them.
    """
    states = _states(folder)
    wanted = [number for number, _ in states if number <= step][-keep:]
    for number, other in states:
        if number not in wanted:
            shutil.rmtree(other, ignore_errors=True)


def find_newest(folder: Path, note: Callable[[str], None]) -> Found | None:
    """The newest whole state, or None where there is none; `note` gets a line for each damaged one.

    Raises:
        ValueError: there are states, and all of them are damaged.
    """
    states = _states(folder)
    for step, path in reversed(states):
        try:
            return _check(path, step)
        except (ValueError, OSError) as error:
            note(f"the state of step {step} is damaged and is passed over: {error}")
    if states:
        raise ValueError(
            f"every state in {folder} is damaged; restore one from a copy, or remove the folder to start from step 0"
        )
    return None


def load_newest(folder: Path, note: Callable[[str], None]) -> State | None:
    """The same with its tensors, whole, of however many processes it is."""
    found = find_newest(folder, note)
    return None if found is None else State(step=found.step, tensors=read_tensors(found.path), facts=found.facts)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a state, whole."""
    if not (path / TENSORS_FILE).is_file():
        from train.sharded_state import read_whole  # which loads torch.distributed

        return read_whole(path)
    return {name: entry.load() for name, entry in open_safetensors(path / TENSORS_FILE).items()}


def newest_state(folder: Path) -> Path | None:
    """The newest state by its name alone, or None."""
    states = _states(folder)
    return states[-1][1] if states else None


def _states(folder: Path) -> list[tuple[int, Path]]:
    """Steps and folders, oldest first."""
    if not folder.is_dir():
        return []
    named = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in named if match)


def _check(path: Path, step: int) -> Found:
    data = read_json(path / FACTS_FILE)
    if not isinstance(data, dict) or data.get("format") != FORMAT or data.get("version") != VERSION:
        raise ValueError(f"{path / FACTS_FILE} is no training state of version {VERSION}")
    hashes = data.get("sha256")
    if data.get("step") != step or not isinstance(data.get("facts"), dict) or not isinstance(hashes, dict | str):
        raise ValueError(f"{path / FACTS_FILE} is not as it was written")
    files = {TENSORS_FILE: hashes} if isinstance(hashes, str) else hashes
    if {file.name for file in path.glob("*.safetensors")} - {*files}:
        raise ValueError(f"{path} holds a file that was not written with it")
    for name, value in files.items():
        if not (path / name).is_file() or sha256_file(path / name) != value:
            raise ValueError(f"{path / name} is missing or not the file that was written")
    return Found(step=step, path=path, facts=data["facts"])
