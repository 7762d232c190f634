"""Reads questions from JSON lines, one object a line, in one of three forms:

{"query": text, "choices": [texts], "gold": index}: which choice is the likeliest after the query.
{"context_options": [texts], "continuation": text, "gold": index}: after which context the continuation is likeliest.
{"context": text, "continuation": text}: whether greedy decoding writes just this. Other keys are ignored.
"""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Form = Literal["choices", "completion"]

_FORMS = "query, choices and gold; context_options, continuation and gold; or context and continuation"


@dataclass(frozen=True, kw_only=True)
class Question:
    """Texts to compare: each is a prompt and what is scored after it."""

    form: Form
    pairs: tuple[tuple[str, str], ...]  # prompt and continuation, without the space between them
    gold: int  # the index of the right pair


def read_questions(path: Path, limit: int | None = None) -> list[Question]:
    """The questions of a file, in order.

    Args:
        limit: only the first so many.

    Raises:
        ValueError: the file is missing, or a line is none of the forms or another one than the first; the message
            has its number.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"the limit of questions is {limit}; it must be at least 1")
    if not path.is_file():
        raise ValueError(f"{path} is not a file; give JSON lines with {_FORMS}")
    questions = list(itertools.islice(_questions(path), limit))
    if not questions:
        raise ValueError(f"{path} holds no question; give JSON lines with {_FORMS}")
    return questions


def _questions(path: Path) -> Iterator[Question]:
    form: Form | None = None
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            question = _question(_object(line, where), where)
            if form is not None and question.form != form:
                raise ValueError(f"{where}: a {question.form} question among {form} ones; put each form into a file")
            form = question.form
            yield question


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        entry = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}: byte {error.start} is not UTF-8; convert the file") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{where}: not valid JSON ({error}); each line holds one object") from None
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: holds a {type(entry).__name__}; each line holds one object with {_FORMS}")
    return entry


def _question(entry: dict[str, Any], where: str) -> Question:
    if {"query", "choices", "gold"} <= set(entry):
        query, choices = _text(entry, "query", where), _texts(entry, "choices", where)
        pairs = tuple((query.rstrip(), choice.strip()) for choice in choices)
    elif {"context_options", "continuation", "gold"} <= set(entry):
        continuation = _text(entry, "continuation", where)
        pairs = tuple((c.rstrip(), continuation.strip()) for c in _texts(entry, "context_options", where))
    elif {"context", "continuation"} <= set(entry):
        pair = _text(entry, "context", where).rstrip(), _text(entry, "continuation", where).strip()
        return Question(form="completion", pairs=(pair,), gold=0)
    else:
        raise ValueError(f"{where}: has the keys {', '.join(map(repr, entry)) or 'none'}; it needs {_FORMS}")
    gold = entry["gold"]
    if type(gold) is not int or not 0 <= gold < len(pairs):
        raise ValueError(f"{where}: gold is {gold!r}; it must be an index from 0 to {len(pairs) - 1}")
    return Question(form="choices", pairs=pairs, gold=gold)


def _text(entry: dict[str, Any], key: str, where: str) -> str:
    return _checked(entry[key], f"{where}: {key}")


def _texts(entry: dict[str, Any], key: str, where: str) -> list[str]:
    found = entry[key]
    if not isinstance(found, list) or len(found) < 2:
        raise ValueError(f"{where}: {key} must be a list of at least two texts")
    return [_checked(text, f"{where}: {key}[{i}]") for i, text in enumerate(found)]


def _checked(text: Any, where: str) -> str:
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{where} is {text!r}; it must be a text that is not blank")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{where} holds half of a surrogate pair; text must be valid Unicode") from None
    return text
