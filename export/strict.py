"""Reading JSON into frozen dataclasses strictly: every key present, none unknown, every type and bound as annotated.

Knows no manifest. Bounds stand in the annotations (`Annotated[int, Bound(1)]`), so that the JSON Schema can be made
from the same lines. A problem is one ValueError of one line that begins with the place: `cache.layers[3].slots is ...`.
"""

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn

MAX_INTEGER = 2**53 - 1  # the largest integer that every JSON reader keeps exactly
_MAX_SHOWN = 60  # characters of a wrong value that a message repeats
_NAMES = {
    int: "an integer",
    float: "a number",
    str: "a string",
    bool: "true or false",
    dict: "an object",
    tuple: "a list",
    type(None): "null",
}


@dataclass(frozen=True)
class Bound:
    """The smallest number, or the smallest count of items or characters, that a field takes."""

    least: int


@dataclass(frozen=True)
class Matches:
    """The regular expression that the whole string must match, and its meaning in words."""

    pattern: str
    words: str


Reader = Callable[[Any], Any]


def fail(path: str, message: str) -> NoReturn:
    """Raises the one-line error for a place in the document.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"{path or 'the document'} {message}")


def shown(value: Any) -> str:
    """A value as a message repeats it: on one line, and short."""
    text = "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else repr(value)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."


def read(kind: Any, value: Any, path: str = "", readers: Mapping[Any, Reader] | None = None) -> Any:
    """Reads parsed JSON as the annotated type `kind`.

    Args:
        kind: a dataclass, int, float, str, bool, None, Literal, `X | None`, `tuple[X, ...]`, `dict[str, X]`, or one of
            these inside `Annotated` with a `Bound` or `Matches`.
        value: what `json.loads` made.
        path: where `value` stands in the document, for messages.
        readers: types that read themselves; their ValueErrors get the path in front.

    Raises:
        ValueError: the value is not of that type; one line that names the place, what was given and what is allowed.
    """
    readers = readers or {}
    if kind in readers:
        return _guarded(readers[kind], value, path)
    if dataclasses.is_dataclass(kind):
        return _read_object(kind, value, path, readers)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        result = read(args[0], value, path, readers)
        for rule in args[1:]:
            _check(rule, result, path)
        return result
    if origin is Literal:
        if not any(type(value) is type(allowed) and value == allowed for allowed in args):
            fail(path, f"is {shown(value)}; allowed: {', '.join(str(a) for a in args)}")
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return read(next(a for a in args if a is not type(None)), value, path, readers)
    if origin is tuple:
        _expect(value, list, tuple, path)
        return tuple(read(args[0], item, f"{path}[{i}]", readers) for i, item in enumerate(value))
    if origin is dict:
        _expect(value, dict, dict, path)
        return {key: read(args[1], item, _join(path, key), readers) for key, item in value.items()}
    return _read_plain(kind, value, path)


def _read_plain(kind: type, value: Any, path: str) -> Any:
    if kind is float and type(value) is int:
        value = float(value) if abs(value) <= MAX_INTEGER else math.inf
    _expect(value, kind, kind, path)
    if kind is float and not math.isfinite(value):
        fail(path, "is not a finite number")
    if kind is int and abs(value) > MAX_INTEGER:
        fail(path, f"is {shown(value)}; integers go up to {MAX_INTEGER}")
    if kind is str and any(0xD800 <= ord(c) <= 0xDFFF for c in value):
        fail(path, "holds half of a surrogate pair; text must be valid Unicode")
    return value


def _read_object(kind: Any, value: Any, path: str, readers: Mapping[Any, Reader]) -> Any:
    _expect(value, dict, dict, path)
    hints = typing.get_type_hints(kind, include_extras=True)
    for key in value:
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(hints)}"
            fail(path, f"has the unknown key {shown(key)}{hint}")
    for key in hints:
        if key not in value:
            fail(_join(path, key), "is missing")
    fields = {key: read(hint, value[key], _join(path, key), readers) for key, hint in hints.items()}
    return _guarded(lambda given: kind(**given), fields, path)


def _guarded(reader: Reader, value: Any, path: str) -> Any:
    try:
        return reader(value)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _check(rule: Any, value: Any, path: str) -> None:
    if isinstance(rule, Matches):
        if value is not None and not re.fullmatch(rule.pattern, value, flags=re.ASCII):
            fail(path, f"is {shown(value)}; it must be {rule.words}")
    elif isinstance(rule, Bound):
        sized = isinstance(value, str | tuple | dict)
        if sized and len(value) < rule.least:
            fail(path, "is empty" if rule.least == 1 else f"has {len(value)} items; it needs at least {rule.least}")
        if not sized and value is not None and value < rule.least:
            fail(path, f"is {shown(value)}; it must be at least {rule.least}")


def _expect(value: Any, given: type, wanted: type, path: str) -> None:
    if type(value) is not given:  # exactly: True is no integer here
        fail(path, f"is {shown(value)}; it must be {_NAMES[wanted]}")


def _join(path: str, key: str) -> str:
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key)
    return f"{path}[{shown(key)}]" if not plain else f"{path}.{key}" if path else key
