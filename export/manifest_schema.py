"""Makes manifest.schema.json from the annotations in manifest.py and manifest_parts.py, so that the two cannot differ.

Run `python -m export.manifest_schema` after a change there. The rules between sections (sums, layouts, ids in range)
cannot be said in a JSON Schema; docs/package.md lists them.
"""

import dataclasses
import inspect
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

from export.manifest import SCHEMA_VERSION, Manifest, Template
from export.strict import MAX_INTEGER, Bound, Matches
from model.files import dump_json

SCHEMA_FILE = Path(__file__).with_name("manifest.schema.json")

_TEXT = {"type": "string"}
_ROLE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["prefix", "suffix", "trim"],
    "properties": {"prefix": _TEXT, "suffix": _TEXT, "trim": {"type": "boolean"}},
}
_CHAT: dict[str, Any] = {
    "description": "A chat format as data: chat/template.py renders it.",
    "type": "object",
    "additionalProperties": False,
    "required": ["kind", "start", "roles", "default_system", "generation_prompt", "end_of_turn", "alternates"],
    "properties": {
        "kind": {"const": "chat"},
        "start": _TEXT,
        "roles": {
            "type": "object",
            "additionalProperties": False,
            "required": ["user", "assistant"],
            "properties": {"system": _ROLE, "user": _ROLE, "assistant": _ROLE},
        },
        "default_system": {"type": ["string", "null"]},
        "generation_prompt": _TEXT,
        "end_of_turn": {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
        "alternates": {"type": "boolean"},
    },
}
_COMPLETION: dict[str, Any] = {
    "description": "The model has no chat format that a package can carry; it continues text.",
    "type": "object",
    "additionalProperties": False,
    "required": ["kind", "reason"],
    "properties": {"kind": {"const": "completion"}, "reason": _TEXT},
}


def make_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a manifest."""
    definitions: dict[str, Any] = {}
    root = _schema_of(Manifest, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"pocketlm package manifest, schema {SCHEMA_VERSION}",
        "$defs": definitions,
        **root,
    }


def _schema_of(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if kind == Template:
        return {"oneOf": [_CHAT, _COMPLETION]}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}
            definitions[kind.__name__] = _object_of(kind, definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        schema = _schema_of(args[0], definitions)
        for rule in args[1:]:
            schema = schema | _limit(rule, schema)
        return schema
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema_of(arg, definitions) for arg in args]}
    if origin is tuple:
        return {"type": "array", "items": _schema_of(args[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema_of(args[1], definitions)}
    plain: dict[Any, dict[str, Any]] = {
        int: {"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER},
        float: {"type": "number"},
        str: _TEXT,
        bool: {"type": "boolean"},
        types.NoneType: {"type": "null"},
    }
    return plain[kind]


def _object_of(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    summary = (inspect.getdoc(kind) or "").split("\n\n")[0]
    return {
        "description": " ".join(summary.split()),
        "type": "object",
        "additionalProperties": False,
        "required": list(hints),
        "properties": {name: _schema_of(hint, definitions) for name, hint in hints.items()},
    }


def _limit(rule: Any, schema: dict[str, Any]) -> dict[str, Any]:
    if isinstance(rule, Matches):
        return {"pattern": f"^(?:{rule.pattern})$"}
    assert isinstance(rule, Bound)
    key = {"string": "minLength", "array": "minItems", "object": "minProperties"}.get(schema["type"], "minimum")
    return {key: rule.least}


def main() -> None:
    """Writes the schema file."""
    SCHEMA_FILE.write_text(dump_json(make_schema()), encoding="utf-8")


if __name__ == "__main__":
    main()
