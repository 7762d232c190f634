"""The tokenizer files of a checkpoint folder as plain facts: which file, which pieces, which ids are declared.

Helpers of model/tokenizer.py; nothing here encodes or decodes.
"""

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from model.files import read_json

# Piece types (google/sentencepiece, src/sentencepiece_model.proto, ModelProto.SentencePiece.Type).
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
_TIKTOKEN_LINE = re.compile(rb"[A-Za-z0-9+/]+={0,2} \d+\r?(\n|$)")


def find_tokenizer_file(folder: Path) -> tuple[Path, Literal["hf", "sentencepiece", "tiktoken"]] | None:
    """The tokenizer file of a folder, or None if it has none; tokenizer.json goes before tokenizer.model."""
    if (folder / "tokenizer.json").is_file():
        return folder / "tokenizer.json", "hf"
    file = folder / "tokenizer.model"
    if not file.is_file():
        return None
    with file.open("rb") as stream:
        head = stream.read(512)
    return file, "tiktoken" if _TIKTOKEN_LINE.match(head) else "sentencepiece"


def read_optional(file: Path) -> dict[str, Any]:
    """A JSON object, or {} where the file is missing.

    Raises:
        ValueError: the file is there but is not a JSON object.
    """
    if not file.is_file():
        return {}
    data = read_json(file)
    if not isinstance(data, dict):
        raise ValueError(f"{file} holds a {type(data).__name__}; it must hold a JSON object: copy it again")
    return data


def special_text(folder: Path, name: str) -> str | None:
    """The text declared for `name` (`bos_token`, `eos_token`, ...), or None; tokenizer_config.json goes first."""
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        token = read_optional(folder / file).get(name)
        if isinstance(token, dict):
            token = token.get("content")
        if isinstance(token, str) and token:
            return token
    return None


def declared_ids(folder: Path, key: str) -> list[tuple[int, str]]:
    """Every id that generation_config.json and config.json declare under `key`, with the file's name.

    Raises:
        ValueError: the value is neither an integer nor a list of them.
    """
    found = []
    for name in ("generation_config.json", "config.json"):
        data = read_optional(folder / name)
        text_config = data.get("text_config")
        for source in (data, text_config if isinstance(text_config, dict) else {}):
            value = source.get(key)
            ids = value if isinstance(value, list) else [] if value is None else [value]
            if not all(isinstance(i, int) and not isinstance(i, bool) for i in ids):
                raise ValueError(f"{folder / name}: {key} is {value!r}; it must be an id or a list of ids")
            found += [(i, name) for i in ids]
    return found


def sentencepiece_pieces(file: Path) -> list[tuple[str, int]]:
    """Text and type of every piece, read from the model's protobuf (the Python binding does not tell the type).

    Raises:
        ValueError: the file is not a sentencepiece model.
    """
    try:
        pieces = []
        for field, value in _fields(file.read_bytes()):
            if field == 1 and isinstance(value, bytes):  # ModelProto.pieces
                entry = dict(_fields(value))
                text, kind = entry.get(1), entry.get(3, NORMAL)
                if isinstance(text, bytes) and isinstance(kind, int):
                    pieces.append((text.decode(), kind))
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not a sentencepiece model ({error}); copy it again") from None
    if not pieces:
        raise ValueError(f"{file} is not a sentencepiece model (it holds no pieces); copy it again")
    return pieces


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of one protobuf message: number and value (protobuf.dev, "Encoding")."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise struct.error(f"wire type {wire} at byte {at}")
        if at + size > len(data):
            raise struct.error(f"cut off at byte {len(data)}")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
