"""What a training run read and held out: its documents.jsonl, found from the run, its checkpoint or the list itself."""

import json
from pathlib import Path
from typing import Any

from model.files import read_json

LISTED = "documents.jsonl"  # in a run's tokens/, or beside a checkpoint that was taken out of its run

_RUN, _INDEX, _TOKENS = "run.json", "index.json", "tokens"
_READING = ("field", "split", "separator")  # the settings of data that decide what a document of a source is


def find_list(place: Path) -> Path:
    """The documents.jsonl that a path means: itself, or the one of a run's, tokens' or checkpoint's folder.

    Raises:
        ValueError: there is none.
    """
    if place.is_file():
        return place
    found = lists_beside(place)
    if not found:
        raise ValueError(f"{place} has no {LISTED}; give one, or the folder of a `pocketlm train` run, which has it")
    return found[0]


def lists_beside(place: Path) -> list[Path]:
    """The lists that belong to a folder: its own, or those of the run that it is, or whose checkpoint it is."""
    runs = [place, *([place.resolve().parent] if place.is_dir() else [])]
    folders = [
        place,
        *(folder for run in runs for folder in (run / _TOKENS, _shared_tokens(run)) if folder is not None),
    ]
    return list(dict.fromkeys(folder / LISTED for folder in folders if (folder / LISTED).is_file()))


def _shared_tokens(run: Path) -> Path | None:
    """The folder of tokens that a run shares with others, if its settings name one by a whole path."""
    named = _settings(run / _RUN).get("data", {}).get("tokens")
    return Path(named) if isinstance(named, str) and Path(named).is_absolute() else None


def reading_settings(listed: Path) -> dict[str, Any]:
    """How the documents of a list were read out of their sources, as far as it is told beside the list."""
    of_tokens = _settings(listed.parent / _INDEX)
    data = {key.removeprefix("data."): value for key, value in of_tokens.items() if key.startswith("data.")}
    data = data or _settings(listed.parent / _RUN).get("data", {})
    return {key: data[key] for key in _READING if data.get(key) is not None}


def _settings(path: Path) -> dict[str, Any]:
    found = read_json(path) if path.is_file() else {}
    settings = found.get("settings") if isinstance(found, dict) else None
    return settings if isinstance(settings, dict) else {}


def read_listed(path: Path, split: str) -> dict[str, str]:
    """sha256 to name of a list's documents of one split, in their order.

    Raises:
        ValueError: a line is no entry of such a list, or none is of that split.
    """
    entries: dict[str, str] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            entry = _entry(line, f"{path}, line {number}")
            if entry["split"] == split:
                entries[entry["sha256"]] = entry["name"]
    if not entries:
        raise ValueError(f"{path} lists no document of the split {split!r}; give the list of a run that has one")
    return entries


def _entry(line: bytes, where: str) -> dict[str, Any]:
    try:
        entry = json.loads(line.decode())
    except ValueError as error:  # not JSON, or not UTF-8
        raise ValueError(f"{where}: not valid JSON ({error}); give a documents.jsonl of `pocketlm train`") from None
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("name", "split", "sha256")):
        raise ValueError(f"{where}: no name, split and sha256; give a documents.jsonl of `pocketlm train`")
    return entry
