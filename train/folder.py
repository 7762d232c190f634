"""The output folder of a run: what stands in it, what may stand in it before, and what a kill leaves behind."""

import re
import shutil
from pathlib import Path
from typing import Any

from model.files import atomic_output, dump_json, read_json
from train.metrics import read_metrics
from train.state import newest_state

RUN_FILE = "run.json"  # the settings that the run began with
METRICS_FILE = "metrics.jsonl"
PLOT_FILE = "loss.svg"
TOKENS_FOLDER = "tokens"
STATES_FOLDER = "checkpoints"  # to resume from
CHECKPOINT_FOLDER = "checkpoint"  # of the finished run, for quantize

_FORMAT = "pocketlm-training-run"
_VERSION = 1


def refuse_foreign(out: Path) -> None:
    """A run begins in a folder of its own.

    Raises:
        ValueError: the folder holds something else.
    """
    if not out.is_dir() or (out / RUN_FILE).is_file():
        return
    # Hidden files are the lock, what a kill has left half-written, or a desktop's notes.
    foreign = sorted(entry.name for entry in out.iterdir() if entry.name[0] != "." and entry.name != TOKENS_FOLDER)
    if foreign:
        raise ValueError(f"{out} holds {foreign[0]}, which is no part of a training run; name another output")


def find_run(out: Path, resume: bool) -> dict[str, Any] | None:
    """What run.json says, or None where no run has begun.

    Raises:
        ValueError: there is a run and `resume` is off, or the file is damaged or of another version.
    """
    path = out / RUN_FILE
    if not path.is_file():
        return None
    run = read_json(path)
    if not isinstance(run, dict) or run.get("format") != _FORMAT or run.get("version") != _VERSION:
        raise ValueError(f"{path} is no training run of version {_VERSION}; name another output folder")
    if not isinstance(run.get("settings"), dict) or "tokens_sha256" not in run:
        raise ValueError(f"{path} is damaged; restore it from a copy, or name another output folder")
    if not resume:
        kept = newest_state(out / STATES_FOLDER)
        saved = "" if kept is None else f", saved as {kept.name}"
        raise ValueError(f"{out} holds a run{saved}; pass --resume to go on with it, or name another output")
    return run


def remove_half_written(out: Path) -> None:
    """What `kill -9` left under the hidden names of model/files.py; the folder is locked, so nobody writes there."""
    ours = f"{RUN_FILE}|{METRICS_FILE}|{PLOT_FILE}|{CHECKPOINT_FOLDER}|step-[0-9]+"
    for folder in (out, out / STATES_FOLDER):
        for path in folder.glob(".*"):
            if not re.fullmatch(rf"\.({ours})\.(partial|old)-[0-9a-f]+", path.name):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def write_run(out: Path, facts: dict[str, Any]) -> None:
    """Marks the beginning of a run with its settings, the hash of its tokens and its threads.

    Raises:
        EnvironmentFault: the disk is full.
    """
    with atomic_output(out / RUN_FILE, folder=False) as partial:
        partial.write_text(dump_json({"format": _FORMAT, "version": _VERSION} | facts), encoding="utf-8")


def describe_newest(out: Path) -> str:
    """What is left of a run that stops now."""
    path = newest_state(out / STATES_FOLDER)
    return "no state was saved yet" if path is None else f"the last good state is {path}"


def find_done(out: Path) -> dict[str, Any] | None:
    """The last record of a finished run whose checkpoint is still there."""
    if not (out / METRICS_FILE).is_file() or not (out / CHECKPOINT_FOLDER).is_dir():
        return None
    done = [record for record in read_metrics(out / METRICS_FILE) if record.get("event") == "done"]
    return done[-1] if done else None
