"""The manifest of a package, schema v1: the contract with both apps. Loads no torch.

The sections are in manifest_parts.py, the rules between them in manifest_rules.py; docs/package.md tells it in prose.
"""

import dataclasses
import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn

from chat.template import ChatTemplate, CompletionOnly, template_from_json
from chat.window import Context
from export import manifest_rules
from export.manifest_parts import (
    Cache,
    Golden,
    Memory,
    Method,
    Model,
    Origin,
    PackageFile,
    Positive,
    RecipeRecord,
    Runner,
    Slug,
    Tokenizer,
)
from export.strict import Bound, read, shown

SCHEMA_VERSION = 1
MAX_MANIFEST_BYTES = 16 << 20  # Llama 4's 2,048 special tokens make about 0.2 MB

Template = ChatTemplate | CompletionOnly


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything that an app needs to know about a package before and while it runs it."""

    schema_version: Literal[1]
    target: Slug  # a name of `TARGETS`; apps decide by `runner`, not by this
    runner: Runner
    methods: Annotated[dict[str, Method], Bound(1)]
    model: Model
    cache: Cache
    context: Context
    window: Positive | None  # tokens that local layers see, the current one included; null without local layers
    chunk: Positive  # most tokens of one call
    files: Annotated[tuple[PackageFile, ...], Bound(1)]  # all but the manifest
    tokenizer: Tokenizer
    template: Template
    recipe: RecipeRecord
    memory: Memory
    golden: Golden
    origin: Origin

    def to_json(self) -> dict[str, Any]:
        """The JSON object that `parse_manifest` reads back to an equal manifest."""
        sections = {
            field.name: _plain(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if field.name != "template"
        }
        return sections | {"template": self.template.to_json()}


def parse_manifest(data: Any) -> Manifest:
    """Reads a parsed manifest.json strictly.

    Raises:
        ValueError: one line that names the place in the document, what stands there and what is allowed; a newer
            schema has a line of its own.
    """
    if isinstance(data, dict):
        _check_version(data)
    try:
        manifest = read(Manifest, data, readers={Template: _read_template})
        _check(manifest)
    except ValueError as error:
        raise ValueError(f"manifest.json: {error}") from None
    return manifest


def read_manifest(content: bytes) -> Manifest:
    """Reads the bytes of a manifest.json strictly.

    Raises:
        ValueError: it is not UTF-8 JSON, a key stands twice, or as `parse_manifest`.
    """
    if len(content) > MAX_MANIFEST_BYTES:
        raise ValueError(f"manifest.json has {len(content)} bytes; at most {MAX_MANIFEST_BYTES} are read")
    try:
        data = json.loads(content.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"manifest.json is not valid JSON ({error}); copy the package again") from None
    return parse_manifest(data)


def _check_version(data: dict[str, Any]) -> None:
    version = data.get("schema_version")
    if type(version) is int and version > SCHEMA_VERSION:
        raise ValueError(f"this package needs a newer pocketlm: schema {version}, this one reads {SCHEMA_VERSION}")
    if type(version) is not int or version < 1:
        given = "is missing" if version is None else f"is {shown(version)}"
        raise ValueError(f"manifest.json: schema_version {given}; it must be {SCHEMA_VERSION}")


def _check(manifest: Manifest) -> None:
    config = manifest.model.config
    manifest_rules.check_model(manifest.model)
    manifest_rules.check_context(manifest.context, window=manifest.window, chunk=manifest.chunk, config=config)
    manifest_rules.check_cache(
        manifest.cache,
        context=manifest.context,
        window=manifest.window,
        chunk=manifest.chunk,
        runner_kind=manifest.runner.kind,
        config=config,
    )
    manifest_rules.check_methods(
        manifest.methods,
        runner_kind=manifest.runner.kind,
        chunk=manifest.chunk,
        config=config,
        cache=manifest.cache,
    )
    manifest_rules.check_files(
        manifest.files, tokenizer=manifest.tokenizer, memory=manifest.memory, cache=manifest.cache
    )
    manifest_rules.check_tokenizer(manifest.tokenizer, vocab_size=config.vocab_size)
    if isinstance(manifest.template, ChatTemplate):
        manifest_rules.check_end_of_turn(manifest.template.end_of_turn, tokenizer=manifest.tokenizer)
    manifest_rules.check_recipe(manifest.recipe, config=config)
    manifest_rules.check_golden(
        manifest.golden, tokenizer=manifest.tokenizer, context=manifest.context, vocab_size=config.vocab_size
    )
    manifest_rules.check_origin(manifest.origin)


def _read_template(data: Any) -> Template:
    template = template_from_json(data)
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half of a surrogate pair; text must be valid Unicode") from None
    return template


def _plain(value: Any) -> Any:
    """Dataclasses to objects and tuples to lists, all the way down."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"manifest.json has the key {shown(key)} twice in one object; copy the package again")
        result[key] = value
    return result


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"manifest.json holds {name}, which is not JSON; copy the package again")
