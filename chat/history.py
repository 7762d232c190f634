"""A saved chat: one JSON file that survives the end of the process, read strictly.

It holds what was said and for which package (by the sha256 of its manifest), never token ids or a cache: after an
update of the app, or with another package, the text is still good.
"""

import contextlib
import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chat.template import Message
from chat.turns import check_order
from chat.utf8 import replace_lone_surrogates

SCHEMA_VERSION = 1
_KEYS = {"schema_version", "package_id", "messages"}
_MESSAGE_KEYS = {"role", "content"}
_HEX = set("0123456789abcdef")


@dataclass(frozen=True, kw_only=True)
class SavedChat:
    """A conversation and the package that it was held with.

    The last message may be the user's: the process ended before the reply did.

    Raises:
        ValueError: a package id that is no sha256, or messages that do not take turns.
    """

    package_id: str  # lower-case hexadecimal sha256 of the package's manifest.json
    messages: tuple[Message, ...]

    def __post_init__(self) -> None:
        if len(self.package_id) != 64 or not _HEX.issuperset(self.package_id):
            raise ValueError(f"package_id {self.package_id!r} is not a sha256; give 64 lower-case hexadecimal digits")
        check_order(self.messages)

    @property
    def unanswered(self) -> str | None:
        """The user's last message when no reply follows it."""
        last = self.messages[-1] if self.messages else None
        return last.content if last is not None and last.role == "user" else None


def to_json(chat: SavedChat) -> dict[str, Any]:
    """The chat as the JSON value that `from_json` reads."""
    return {
        "schema_version": SCHEMA_VERSION,
        "package_id": chat.package_id,
        "messages": [{"role": m.role, "content": m.content} for m in chat.messages],
    }


def from_json(data: Any) -> SavedChat:
    """Reads what `to_json` gave, strictly.

    Raises:
        ValueError: a newer schema, a missing, unknown or mistyped key, or messages out of order.
    """
    if not isinstance(data, dict):
        raise ValueError(f"a saved chat must be a JSON object, not {_kind(data)}")
    version = data.get("schema_version")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ValueError(f"schema_version is {version!r}; it must be a whole number from 1 on")
    if version > SCHEMA_VERSION:
        raise ValueError(
            f"this chat was saved by a newer version (schema {version}, this program reads "
            f"{SCHEMA_VERSION}); update the program"
        )
    _check_keys(data, _KEYS, "a saved chat")
    if not isinstance(data["package_id"], str):
        raise ValueError(f"package_id must be a text, not {_kind(data['package_id'])}")
    if not isinstance(data["messages"], list):
        raise ValueError(f"messages must be a list, not {_kind(data['messages'])}")
    return SavedChat(
        package_id=data["package_id"],
        messages=tuple(_message(index, value) for index, value in enumerate(data["messages"])),
    )


def save(chat: SavedChat, path: Path) -> None:
    """Writes the chat beside its place and renames it there, so that a crash leaves the old or the new file whole.

    Raises:
        OSError: the place cannot be written; the old file is untouched.
    """
    text = json.dumps(to_json(chat), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    data = replace_lone_surrogates(text).encode()  # they have no UTF-8 form, and the rest must not be lost
    partial = path.parent / f".{path.name}.partial-{uuid.uuid4().hex[:8]}"
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()


def load(path: Path) -> SavedChat:
    """Reads a saved chat.

    Raises:
        ValueError: the file is missing, is not JSON, or is no saved chat; the message names it.
    """
    if path.exists() and not path.is_file():  # a device may never end
        raise ValueError(f"{path} is not a file; name one that the chat is saved in")
    try:
        return from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; there is no saved chat of that name") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); remove it to start a new chat") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _message(index: int, value: Any) -> Message:
    if not isinstance(value, dict):
        raise ValueError(f"message {index} must be a JSON object, not {_kind(value)}")
    _check_keys(value, _MESSAGE_KEYS, f"message {index}")
    for key in ("role", "content"):
        if not isinstance(value[key], str):
            raise ValueError(f"message {index}: {key} must be a text, not {_kind(value[key])}")
    return Message(role=value["role"], content=value["content"])


def _check_keys(data: dict[str, Any], known: set[str], what: str) -> None:
    if missing := sorted(known - data.keys()):
        raise ValueError(f"{what} lacks {', '.join(missing)}")
    if unknown := sorted(data.keys() - known):
        raise ValueError(f"{what} has the unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")


def _kind(value: Any) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return "null" if value is None else names[type(value)]
