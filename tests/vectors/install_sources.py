"""The packages that the install vectors start from: manifests by name, and the same files as zips and folders."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.export.manifest_corpus import endless, static_kv
from tests.vectors.raw_zip import Entry, Piece, stored
from tests.vectors.text_cases import Case

PROGRAM = b"\x1c\0\0\0ET12" + bytes(range(56))
ADDED = [{"id": 1, "content": "<|begin|>"}, {"id": 2, "content": "<|end|>"}, {"id": 3, "content": "<|eot|>"}]


def tokenizer_json(added: list[Case]) -> bytes:
    return json.dumps({"added_tokens": added, "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}).encode()


TOKENIZER = tokenizer_json(ADDED)
OTHER_TOKENIZER = tokenizer_json([*ADDED[:2], {"id": 4, "content": "<|eot|>"}])
VOCAB_TOKENIZER = json.dumps(
    {"added_tokens": ADDED[:2], "model": {"type": "BPE", "vocab": {"a": 0, "<|eot|>": 3}, "merges": []}}
).encode()
LICENCE = b"Apache-2.0\n"
FILES = {"model.pte": PROGRAM, "tokenizer.json": TOKENIZER, "licences/LICENSE": LICENCE}
ROLES = {"model.pte": "program", "tokenizer.json": "tokenizer", "licences/LICENSE": "licence"}


def _listing(files: Mapping[str, bytes]) -> list[Case]:
    return [
        {
            "path": path,
            "bytes": len(files[path]),
            "sha256": hashlib.sha256(files[path]).hexdigest(),
            "role": ROLES[path],
        }
        for path in sorted(files)
    ]


def _with_files(data: dict[str, Any], files: Mapping[str, bytes] = FILES) -> dict[str, Any]:
    data["files"] = _listing(files)
    data["memory"]["program_bytes"] = len(files["model.pte"])
    return data


def _huge_program(count: int) -> dict[str, Any]:
    """A program of so many zeros."""
    data = _with_files(endless())
    program = next(file for file in data["files"] if file["role"] == "program")
    program |= {"bytes": count, "sha256": hashlib.sha256(bytes(count)).hexdigest()}
    data["memory"] |= {"program_bytes": count, "estimated_peak_bytes": 2 * count}
    return data


def _vocabulary_too_large() -> dict[str, Any]:
    data = _with_files(endless())
    data["tokenizer"]["vocab_size"] = 97
    return data


def _with_runtime(release: str) -> dict[str, Any]:
    data = _with_files(endless())
    data["runner"]["min_runtime"] = release
    return data


HUGE = 1 + 258 * 8 * 700  # zeros that 700 groups of raw_zip.zeros give

MANIFESTS: dict[str, Callable[[], dict[str, Any]]] = {
    "good": lambda: _with_files(endless()),
    "coreml": lambda: _with_files(static_kv()),
    "newer schema": lambda: _with_files(endless()) | {"schema_version": 2, "hologram": {}},
    "newer runtime": lambda: _with_runtime("1.10"),
    "a fraction": lambda: _with_files(endless()) | {"chunk": 8.5},
    "vocabulary too large": _vocabulary_too_large,
    "huge program": lambda: _huge_program(HUGE),
    "other tokenizer": lambda: _with_files(endless(), FILES | {"tokenizer.json": OTHER_TOKENIZER}),
    "token in the vocabulary": lambda: _with_files(endless(), FILES | {"tokenizer.json": VOCAB_TOKENIZER}),
}


def manifest_bytes(name: str) -> bytes:
    return json.dumps(MANIFESTS[name](), separators=(",", ":")).encode()


def manifest_texts() -> Case:
    return {name: manifest_bytes(name).decode() for name in MANIFESTS}


def package_id(name: str) -> str:
    return hashlib.sha256(manifest_bytes(name)).hexdigest()


def manifest_piece(name: str) -> Piece:
    return Piece(data=manifest_bytes(name), manifest=name)


def entries(base: str = "good", /, **edits: Entry | bytes | None) -> list[Entry]:
    """The entries of a zip; an edit replaces a file's content or whole entry, or takes it out.

    Args:
        base: the name of its manifest.
        edits: `model`, `tokenizer`, `licence` or `manifest`.
    """
    names = {"model": "model.pte", "tokenizer": "tokenizer.json", "licence": "licences/LICENSE"}
    whole: dict[str, Entry | bytes | None] = {"manifest": stored("manifest.json", manifest_piece(base))}
    whole |= {key: FILES[name] for key, name in sorted(names.items(), key=lambda pair: pair[1])}
    whole |= edits
    return [
        content if isinstance(content, Entry) else stored(names[key], content)
        for key, content in whole.items()
        if content is not None
    ]


def folder_files(base: str = "good", /, **edits: bytes | None) -> Case:
    """A folder as vectors spell it: path -> pieces."""
    files: dict[str, list[Piece]] = {"manifest.json": [manifest_piece(base)]}
    files |= {path: [Piece(data=data)] for path, data in FILES.items()}
    names = {"model": "model.pte", "tokenizer": "tokenizer.json", "licence": "licences/LICENSE", "extra": "notes.txt"}
    for key, content in edits.items():
        if content is None:
            files.pop(names.get(key, "manifest.json"))
        else:
            files[names[key]] = [Piece(data=content)]
    return {path: [piece.to_json() for piece in pieces if piece.data] for path, pieces in files.items()}
