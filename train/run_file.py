"""From a TOML run file and `--set` overrides to `RunSettings`, strictly: an unknown key names the nearest known one."""

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from model.checkpoint import read_info
from model.config import ModelConfig
from train.settings import RunSettings


def read_run(path: Path, overrides: Sequence[str] = ()) -> RunSettings:
    """The settings of a run file.

    Args:
        path: a TOML file with the tables and keys of `RunSettings`.
        overrides: "table.key=value", where the value is written as in TOML; quotes around a text may be left out.

    Raises:
        ValueError: the file is missing or no TOML, a key is unknown or of a wrong kind, or a value is out of range.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; name a run file (TOML), for example train/runs/nano.toml") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder; name the run file (TOML) in it") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start}); a run file is TOML") from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is no valid TOML: {error}") from None
    for override in overrides:
        _override(table, override)
    if "name" in table:
        raise ValueError(f"{path}: unknown key 'name'; a run is called like its file, {path.stem!r}")
    try:
        _begin_with_checkpoint(table, path.parent)
        return _build(RunSettings, table | {"name": path.stem}, "")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _begin_with_checkpoint(table: dict[str, Any], base: Path) -> None:
    """Fills in the shape and the tokenizer of the checkpoint that a run begins with."""
    model = table.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("checkpoint"), str):
        return
    if "config" in model or "preset" in model:
        raise ValueError("[model] checkpoint brings its own shape; leave out preset and [model.config]")
    model["config"] = read_info(base / model["checkpoint"]).config.to_json()
    tokenizer = table.setdefault("tokenizer", {})
    if isinstance(tokenizer, dict):
        tokenizer.setdefault("folder", model["checkpoint"])


def check_resumable(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Whether a run that began with the settings `before` may go on with `now` (both as `RunSettings.to_json`).

    Returns:
        A line for each difference that may change the last bits of the result, or nothing.

    Raises:
        ValueError: a difference that would make another run; the message names the key and both values.
    """
    notes = []
    began, defaults = flat_settings(before), dict(_defaults(RunSettings, ""))
    for key in sorted({*began, *flat_settings(now)}):
        # A key that is younger than the run had its default's effect then.
        old, new = began.get(key, defaults.get(key)), flat_settings(now).get(key)
        if old == new or key in _FREE:
            continue
        if key not in _LAST_BITS:
            raise ValueError(
                f"this run began with {key} = {old!r} and the run file now says {new!r}; go on with the old value, or "
                "start another run in another output folder"
            )
        notes.append(f"{key} was {old!r} and is {new!r} now: the last bits may differ from an uninterrupted run")
    return notes


def _defaults(kind: type, where: str) -> Iterator[tuple[str, Any]]:
    """Each key that has a default, with it."""
    for field in dataclasses.fields(kind):
        inner = _inner(typing.get_type_hints(kind)[field.name])
        if dataclasses.is_dataclass(inner):
            yield from _defaults(typing.cast(type, inner), f"{where}{field.name}.")
        elif field.default is not dataclasses.MISSING:
            yield where + field.name, field.default


# What a resumed run may change: how often it looks and saves, and with a printed line what moves the last bits.
_FREE = {
    "name",
    "data.tokens",
    "train.activation_checkpointing",
    "train.evaluate_every",
    "train.evaluate_tokens",
    "train.keep",
    "train.save_every",
}
_LAST_BITS = {"train.threads", "train.device", "train.micro_batch_tokens"}


def flat_settings(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings as "table.key" and value."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= flat_settings(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _override(table: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise ValueError(f"--set {override!r} is not of the form table.key=value, for example train.steps=100")
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        parsed = {}
    value = parsed["value"] if len(parsed) == 1 else text.strip()  # a line's end in the text would begin a second key
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ValueError(f"--set {override!r}: {part!r} is no table")
    table[parts[-1]] = value


def _build(kind: type, table: Any, where: str) -> Any:
    """A settings dataclass from a TOML table; `where` is "" or ends with a dot."""
    if not isinstance(table, dict):
        raise ValueError(f"{where[:-1]} is {table!r}; it must be a table, [{where[:-1]}]")
    if kind is ModelConfig:
        return _model_config(table, where)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    for key in table:
        if key not in fields:
            raise ValueError(f"unknown key {where + key!r}{_nearest(key, where, fields)}")
    values = {key: _value(hints[key], value, where + key) for key, value in table.items()}
    required = (f for f in fields.values() if f.default is f.default_factory is dataclasses.MISSING)
    missing = [where + f.name for f in required if f.name not in table]
    if missing:
        raise ValueError(f"keys are missing: {', '.join(missing)}")
    return kind(**values)


def _model_config(table: dict[str, Any], where: str) -> ModelConfig:
    try:
        return ModelConfig.from_json(table)
    except ValueError as error:
        raise ValueError(f"[{where[:-1]}] {error}") from None


def _nearest(key: str, where: str, fields: Mapping[str, Any]) -> str:
    """The known key that was probably meant: of the same table, or the same word in another one."""
    here = [name for name in fields if where + name != "name"]
    elsewhere = {known.rpartition(".")[2]: known for known in _known_keys(RunSettings, "")}
    near = elsewhere.get(key)
    if close := difflib.get_close_matches(key, here, n=1):
        near = where + close[0]
    elif near is None and (close := difflib.get_close_matches(key, elsewhere, n=1)):
        near = elsewhere[close[0]]
    return f"; known there: {', '.join(here)}" if near is None else f"; did you mean {near!r}?"


def _known_keys(kind: type, where: str) -> Iterator[str]:
    """Every key that a run file may set, with its tables."""
    for name, hint in typing.get_type_hints(kind).items():
        inner = _inner(hint)
        if dataclasses.is_dataclass(inner):
            yield from _known_keys(typing.cast(type, inner), f"{where}{name}.")
        elif where + name != "name":
            yield where + name


def _inner(hint: Any) -> Any:
    """X of "X | None": TOML has no null, so such a key is left out instead."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return next(a for a in typing.get_args(hint) if a is not type(None))
    return hint


def _value(hint: Any, value: Any, where: str) -> Any:
    """One value, checked against the type that its dataclass declares."""
    hint = _inner(hint)
    origin = typing.get_origin(hint)
    if origin is tuple:
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ValueError(f"{where} is {value!r}; it must be a list of texts")
        return tuple(value)
    if origin is Literal or hint is str:
        if not isinstance(value, str):
            raise ValueError(f"{where} is {value!r}; it must be a text in quotes")
        return value
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, f"{where}.")
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise ValueError(f"{where} is {value!r}; it must be {'an integer' if hint is int else 'a number'}")
    return value
