"""Saved chats: what is written is read back, what is not one is refused, and a failed write keeps the old file."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from chat import history
from chat.history import SavedChat, from_json, load, save, to_json
from chat.template import Message

PACKAGE = "0123456789abcdef" * 4


def chat(*contents: str) -> SavedChat:
    return SavedChat(
        package_id=PACKAGE,
        messages=tuple(
            Message(role=("user", "assistant")[i % 2], content=content) for i, content in enumerate(contents)
        ),
    )


def good() -> dict[str, Any]:
    return to_json(chat("Hi", "Hello"))


def test_a_saved_chat_is_read_back(tmp_path: Path) -> None:
    saved = SavedChat(
        package_id=PACKAGE, messages=(Message(role="system", content="Be brief."), *chat("Hé 😀\n\u2028", "").messages)
    )
    save(saved, tmp_path / "chat.json")
    assert load(tmp_path / "chat.json") == saved
    assert [path.name for path in tmp_path.iterdir()] == ["chat.json"]


def test_the_same_chat_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(chat("Hi", "Hello"), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_lone_surrogate_is_saved_as_a_replacement_character(tmp_path: Path) -> None:
    save(chat("a\ud800b"), tmp_path / "chat.json")
    assert load(tmp_path / "chat.json").messages[0].content == "a\ufffdb"


def test_a_message_without_a_reply_is_kept_and_told() -> None:
    assert chat("Hi").unanswered == "Hi"
    assert chat("Hi", "Hello").unanswered is None
    assert chat().unanswered is None


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(chat("old"), tmp_path / "chat.json")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(history.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(chat("new"), tmp_path / "chat.json")
    assert load(tmp_path / "chat.json") == chat("old")
    assert os.listdir(tmp_path) == ["chat.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, r"saved by a newer version \(schema 2, this program reads 1\); update"),
        ({"schema_version": 0}, "schema_version is 0"),
        ({"schema_version": True}, "schema_version is True"),
        ({"schema_version": None}, "schema_version is None"),
        ({"package_id": "abc"}, "package_id 'abc' is not a sha256"),
        ({"package_id": PACKAGE.upper()}, "is not a sha256"),
        ({"package_id": 7}, "package_id must be a text, not a number"),
        ({"messages": {}}, "messages must be a list, not an object"),
        ({"messages": ["Hi"]}, "message 0 must be a JSON object, not a text"),
        ({"messages": [{"role": "user"}]}, "message 0 lacks content"),
        ({"messages": [{"role": "user", "content": None}]}, "message 0: content must be a text, not null"),
        ({"messages": [{"role": "user", "content": "x", "time": 1}]}, "message 0 has the unknown key 'time'"),
        (
            {"messages": [{"role": "assistant", "content": "x"}]},
            "message 0 has the role 'assistant', but it is the user's",
        ),
        ({"title": "x"}, "a saved chat has the unknown key 'title'"),
    ],
)
def test_what_is_no_saved_chat_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_json(good() | change)


def test_a_missing_key_is_named() -> None:
    data = good()
    del data["messages"]
    with pytest.raises(ValueError, match="a saved chat lacks messages"):
        from_json(data)
    with pytest.raises(ValueError, match="must be a JSON object, not a list"):
        from_json([])


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    with pytest.raises(ValueError, match=r"chat\.json is missing"):
        load(path)
    for content in (b"{", b'"\xff"'):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"chat\.json is not valid JSON"):
            load(path)
    path.write_text(json.dumps(good() | {"schema_version": 9}))
    with pytest.raises(ValueError, match=r"chat\.json: this chat was saved by a newer version"):
        load(path)


def test_a_folder_and_a_device_are_no_saved_chat(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/zero")):
        with pytest.raises(ValueError, match="is not a file"):
            load(path)
