"""The manifest vectors: the corpus of tests/export/manifest_corpus.py and documents as text, with their sentences.

A bad manifest is a good one with a single edit, so that a reader sees what is wrong with it.
"""

import json
from typing import Any

from export.manifest import parse_manifest, read_manifest
from tests.export.manifest_corpus import BAD, DELETE, GOOD, endless
from tests.vectors.text_cases import Case, answer


def _edited(value: Any) -> str:
    return json.dumps(endless() | value)


TEXTS: list[tuple[str, bytes]] = [
    ("a whole manifest as text", json.dumps(endless()).encode()),
    ("an empty file", b""),
    ("a file that was cut off", json.dumps(endless()).encode()[:200]),
    ("not JSON", b"<html>404 Not Found</html>"),
    ("a list", b"[]"),
    ("a text", b'"manifest"'),
    ("null", b"null"),
    ("an empty object", b"{}"),
    ("a key twice", b'{"schema_version": 1, "schema_version": 1}'),
    ("not a number", b'{"schema_version": NaN}'),
    ("bytes that are not UTF-8", b'{"target": "\xff"}'),
    ("a newer schema with keys of its own", _edited({"schema_version": 2, "hologram": {}}).encode()),
    ("a newer schema with nothing else", b'{"schema_version": 3}'),
    ("a version as text", b'{"schema_version": "1"}'),
    ("a version that is true", b'{"schema_version": true}'),
    ("negative bytes", json.dumps(endless()).replace('"bytes": 512', '"bytes": -512').encode()),
    ("an integer written as a fraction", json.dumps(endless()).replace('"chunk": 8', '"chunk": 8.0').encode()),
    ("a file listed twice", _edited({"files": [*endless()["files"], endless()["files"][0]]}).encode()),
    ("half a surrogate pair", json.dumps(endless()).replace('" a time there"', '"\\ud83d"').encode()),
]


def manifest_cases() -> list[Case]:
    cases: list[Case] = []
    for name, make in GOOD.items():
        parse_manifest(make())
        cases.append({"name": f"good: {name}", "base": name, "expected": {"is_good": True}})
    for bad in BAD:
        if not _is_text(bad.value):
            continue  # half a surrogate pair cannot stand in a UTF-8 file; it is among the texts
        edit = {"path": list(bad.at)} | ({} if bad.value is DELETE else {"value": bad.value})
        cases.append(
            {
                "name": f"bad: {bad.name}",
                "base": bad.base,
                "edit": edit,
                "expected": _verdict(answer(parse_manifest, bad.manifest())),
            }
        )
    for name, content in TEXTS:
        cases.append(
            {"name": f"as bytes: {name}", "content_hex": content.hex()}
            if not _is_utf8(content)
            else {"name": f"as text: {name}", "content": content.decode()}
        )
        cases[-1]["expected"] = _verdict(answer(read_manifest, content))
    return cases


def manifest_bases() -> Case:
    """The good manifests that edits start from."""
    return {name: make() for name, make in GOOD.items()}


def _verdict(result: Any) -> Case:
    """The sentence, and the place in the document that an app's own sentence must name too."""
    if not isinstance(result, dict):
        return {"is_good": True}
    sentence = result["error"]
    if "is not valid JSON" in sentence:  # what follows is the words of this Python version's parser
        sentence = sentence.partition(" (")[0]
    said = sentence.removeprefix("manifest.json: ")
    if said == sentence:  # a newer schema, or no JSON at all
        place = "schema_version" if "needs a newer" in sentence else ""
    else:
        place = "" if said.startswith("the document ") else said.split(" ")[0].removesuffix(":")
    return {"is_good": False, "error": sentence, "place": place}


def _is_text(value: Any) -> bool:
    return not (isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value))


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
