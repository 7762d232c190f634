"""The state of a run on disk: everything that the next step depends on, written beside and renamed, with hashes.

A state is a folder `step-00000100/` of `state.safetensors` and `state.json`. The newest whole one is found by itself.
"""

import re
import shutil
from collections.abc import Callable, Mapping
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


def save_state(folder: Path, state: State, *, keep: int) -> Path:
    """Writes `folder/step-NNNNNNNN` and keeps the newest `keep` states up to it.

    Later ones go: they are damaged, or the run would not have gone back behind them.

    Raises:
        EnvironmentFault: the disk is full or cannot be written; the states that were there stay.
    """
    path = folder / f"step-{state.step:08d}"
    if path.exists():  # damaged, or the run would not be at this step again
        shutil.rmtree(path)
    with atomic_output(path) as partial:
        tensors = ((name, tensor.detach().cpu().contiguous()) for name, tensor in state.tensors.items())
        write_safetensors(partial / TENSORS_FILE, tensors, header_bytes=len(state.tensors) * _ENTRY_BYTES)
        facts = {
            "format": FORMAT,
            "version": VERSION,
            "step": state.step,
            "sha256": sha256_file(partial / TENSORS_FILE),
            "facts": dict(state.facts),
        }
        (partial / FACTS_FILE).write_text(dump_json(facts), encoding="utf-8")
    states = _states(folder)
    wanted = [step for step, _ in states if step <= state.step][-keep:]
    for step, other in states:
        if step not in wanted:
            shutil.rmtree(other, ignore_errors=True)
    return path


def load_newest(folder: Path, note: Callable[[str], None]) -> State | None:
    """The newest whole state, or None where there is none; `note` gets a line for each damaged one.

    Raises:
        ValueError: there are states, and all of them are damaged.
    """
    states = _states(folder)
    for step, path in reversed(states):
        try:
            return _load(path, step)
        except (ValueError, OSError) as error:
            note(f"the state of step {step} is damaged and is passed over: {error}")
    if states:
        raise ValueError(
            f"every state in {folder} is damaged; restore one from a copy, or remove the folder to start from step 0"
        )
    return None


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


def _load(path: Path, step: int) -> State:
    data = read_json(path / FACTS_FILE)
    if not isinstance(data, dict) or data.get("format") != FORMAT or data.get("version") != VERSION:
        raise ValueError(f"{path / FACTS_FILE} is no training state of version {VERSION}")
    if data.get("step") != step or not isinstance(data.get("facts"), dict):
        raise ValueError(f"{path / FACTS_FILE} is not as it was written")
    file = path / TENSORS_FILE
    if not file.is_file() or sha256_file(file) != data.get("sha256"):
        raise ValueError(f"{file} is missing or not the file that was written")
    return State(
        step=step,
        tensors={name: entry.load() for name, entry in open_safetensors(file).items()},
        facts=data["facts"],
    )
