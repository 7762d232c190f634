"""The history vectors: saved chats read strictly, and written, by chat/history.py."""

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

from chat.history import SavedChat, from_json, load, save, to_json
from chat.template import Message
from tests.vectors.text_cases import Case, answer, chat, messages_of

PACKAGE = "ab" * 32


def _saved(messages: list[Case], **more: Any) -> Case:
    return {"schema_version": 1, "package_id": PACKAGE, "messages": messages} | more


GOOD = _saved(chat("Hi", "Hello.", system="Be brief."))
READ: list[tuple[str, Any]] = [
    ("a whole chat", GOOD),
    ("no message", _saved([])),
    ("a question without its reply", _saved(chat("Hi", "Hello.", "And?"))),
    ("emoji and line ends", _saved(chat("a\nb\t😀", 'e\u0301 \u2028 "quotes" \\'))),
    ("a newer schema", GOOD | {"schema_version": 2, "pictures": []}),
    ("schema version 0", GOOD | {"schema_version": 0}),
    ("a version as text", GOOD | {"schema_version": "1"}),
    ("a version that is true", GOOD | {"schema_version": True}),
    ("no version", {key: value for key, value in GOOD.items() if key != "schema_version"}),
    ("no messages", {key: value for key, value in GOOD.items() if key != "messages"}),
    ("neither messages nor package", {"schema_version": 1}),
    ("an unknown key", GOOD | {"title": "x"}),
    ("a package id that is a number", GOOD | {"package_id": 7}),
    ("a short package id", GOOD | {"package_id": "ab"}),
    ("a package id in capitals", GOOD | {"package_id": "AB" * 32}),
    ("messages that are an object", GOOD | {"messages": {}}),
    ("a message that is a text", _saved(["Hi"])),  # type: ignore[list-item]
    ("a message without content", _saved([{"role": "user"}])),
    ("a message with one key more", _saved([{"role": "user", "content": "x", "time": 1}])),
    ("a content that is null", _saved([{"role": "user", "content": None}])),
    ("two questions in a row", _saved([*chat("Hi"), *chat("And?")])),
    ("a reply first", _saved(chat("Hi", "Hello.")[1:])),
    ("a system message that comes late", _saved([*chat("Hi", "Hello."), *chat(system="Rhyme.")])),
    ("a role of its own", _saved([{"role": "tool", "content": "42"}])),
    ("a list", []),
    ("null", None),
]
TEXTS: list[tuple[str, str]] = [
    ("nothing", ""),
    ("a file that was cut off", json.dumps(GOOD)[:50]),
    ("not JSON", "<html>"),
    ("a text behind the object", json.dumps(GOOD) + "x"),
]


def _read(data: Any) -> Case:
    saved = from_json(data)
    assert to_json(saved) == data
    messages = [dataclasses.asdict(message) for message in saved.messages]
    return {"package_id": saved.package_id, "messages": messages, "unanswered": saved.unanswered}


def _load(text: str) -> Case:
    """What a file of this text gives: an error, of which only the beginning is ours."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chat.json"
        path.write_text(text, encoding="utf-8")
        try:
            load(path)
        except ValueError as error:
            assert "is not valid JSON" in str(error)
            return {"is_json": False}
    raise AssertionError(text)


def _written(messages: list[Case]) -> Case:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chat.json"
        given = tuple(Message(role=m.role, content=m.content) for m in messages_of(messages))
        save(SavedChat(package_id=PACKAGE, messages=given), path)
        return {"text": path.read_text(encoding="utf-8")}


def history_cases() -> list[Case]:
    cases: list[Case] = [
        {"name": f"read: {name}", "call": "from_json", "data": data, "expected": answer(_read, data)}
        for name, data in READ
    ]
    cases += [{"name": f"load: {name}", "call": "load", "text": text, "expected": _load(text)} for name, text in TEXTS]
    for name, data in READ[:4]:
        messages = data["messages"]
        cases.append(
            {
                "name": f"save: {name}",
                "call": "save",
                "package_id": PACKAGE,
                "messages": messages,
                "expected": _written(messages),
            }
        )
    return cases
