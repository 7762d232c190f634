"""The sections of a package's manifest, schema v1, as frozen data. Rules between sections stand in manifest_rules.py.

Every key is always present; what does not apply is null or empty. Sizes are bytes, lengths are tokens or slots.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from export.strict import Bound, Matches
from model.config import ModelConfig

Count = Annotated[int, Bound(0)]
Positive = Annotated[int, Bound(1)]
TokenId = Annotated[int, Bound(0)]
Name = Annotated[str, Bound(1)]
NotNegative = Annotated[float, Bound(0)]
Sha256 = Annotated[str, Matches(r"[0-9a-f]{64}", "64 lower-case hexadecimal digits")]
Slug = Annotated[str, Matches(r"[a-z0-9]+(-[a-z0-9]+)*", "lower-case letters and digits, joined by single hyphens")]
Release = Annotated[str, Matches(r"[0-9]+\.[0-9]+(\.[0-9]+)?", "a release like 1.5.1")]
PackagePath = Annotated[
    str,
    Matches(
        r"[A-Za-z0-9_][A-Za-z0-9_.+() -]*(/[A-Za-z0-9_][A-Za-z0-9_.+() -]*)*",
        "a relative path inside the package: ASCII names joined by '/', none beginning with a dot",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Runner:
    """What an app must drive the program with."""

    kind: Literal["text-llm", "static-kv"]  # the runtime's own text runner, or a loop in the app that writes the caches
    min_runtime: Release  # oldest ExecuTorch release


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One input or output of a method, in calling order."""

    name: Name
    dtype: Literal["int64", "int32", "float32", "float16", "int8"]
    shape: tuple[Positive, ...]  # the largest sizes
    dynamic: tuple[Count, ...]  # indices of dimensions that may be anything from 1 to that size


@dataclass(frozen=True, kw_only=True)
class Method:
    """One entry point of the program."""

    inputs: Annotated[tuple[TensorSpec, ...], Bound(1)]
    outputs: Annotated[tuple[TensorSpec, ...], Bound(1)]


@dataclass(frozen=True, kw_only=True)
class Model:
    """Which model it is. `config` is all that decides its arithmetic, RoPE parameters included."""

    preset: Name | None  # null when the shape is none of the presets
    family: Name
    parameters: Positive
    config: ModelConfig


@dataclass(frozen=True, kw_only=True)
class CacheLayer:
    """Keys and values of one layer. The token at position p lies in slot p mod slots."""

    layer: Count
    kind: Literal["global", "local"]
    ring: bool  # whether old positions are overwritten
    slots: Positive
    window: Positive  # positions that a query sees, its own included
    dtype: Literal["float32", "float16", "int8"]  # int8: with one scale and zero point per (token, head)
    bytes: Positive  # keys, values, scales and zero points


@dataclass(frozen=True, kw_only=True)
class Cache:
    """All layers' caches, in the order of the layers."""

    layers: Annotated[tuple[CacheLayer, ...], Bound(1)]
    bytes: Positive


@dataclass(frozen=True, kw_only=True)
class PackageFile:
    """One file beside the manifest."""

    path: PackagePath
    bytes: Count
    sha256: Sha256
    role: Literal["program", "tokenizer", "licence"]


@dataclass(frozen=True, kw_only=True)
class SpecialToken:
    """A token that typed text must never become."""

    id: TokenId
    text: Name


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """How text becomes ids: `TokenizerSpec` of docs/architecture.md."""

    file: PackagePath
    kind: Literal["hf", "sentencepiece"]
    vocab_size: Positive
    bos_id: TokenId | None
    num_bos: Literal[0, 1]  # ids of `bos_id` that the runner must put before the first prompt
    bos_text: str  # what the first prompt's text must begin with instead, or ""
    stop_ids: tuple[TokenId, ...]
    special_tokens: tuple[SpecialToken, ...]


@dataclass(frozen=True, kw_only=True)
class LayerKind:
    """How all layers of one kind are stored, save those that `exceptions` names."""

    scheme: Slug
    bits: Literal[4, 8, 16, 32]
    group_size: Positive | None  # columns that share a scale; null: the whole row, or no scale
    count: Positive


@dataclass(frozen=True, kw_only=True)
class LayerException:
    """How one layer is stored that departs from its kind."""

    scheme: Slug
    bits: Literal[4, 8, 16, 32]
    group_size: Positive | None
    reason: Name


@dataclass(frozen=True, kw_only=True)
class RecipeRecord:
    """What was quantized and how. Kinds are layer names without `layers.<i>.`; exceptions are full names."""

    name: Slug
    group_size: Positive | None
    layers: dict[str, LayerKind]
    exceptions: dict[str, LayerException]


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What a phone needs, in bytes."""

    cache_bytes: Positive
    program_bytes: Positive
    estimated_peak_bytes: Positive  # while loading and generating
    estimate: Name  # a sentence: how the peak was estimated


@dataclass(frozen=True, kw_only=True)
class Golden:
    """A greedy generation that every machine must repeat for `compared` tokens; what differs later is reported."""

    prompt: Name  # exactly the text to hand to the runner, `bos_text` included
    prompt_ids: Annotated[tuple[TokenId, ...], Bound(1)]  # with the BOS that the runner adds
    ids: Annotated[tuple[TokenId, ...], Bound(1)]
    text: str  # the first `compared` ids decoded, for runners that return no ids
    margins: tuple[NotNegative, ...]  # best logit minus second best, one per id
    noise_floor: NotNegative  # margins below it may fall either way on another processor
    compared: Count  # leading ids whose margins reach the floor


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What the package was made from: enough to make the same bytes again. No paths, times or host names."""

    source_sha256: Sha256  # the foreign checkpoint
    checkpoint_sha256: Sha256  # the quantized checkpoint
    tool_version: Name
    versions: Annotated[dict[str, Name], Bound(1)]  # torch, executorch, torchao
    command: Name  # option names and values, normalised


def layer_kind(name: str) -> str:
    """`layers.3.attention.q_proj` is of kind `attention.q_proj`; `embedding` is its own."""
    parts = name.split(".")
    return ".".join(parts[2:]) if parts[0] == "layers" and len(parts) > 2 and parts[1].isdigit() else name


def record_recipe(name: str, *, group_size: int | None, layers: Mapping[str, Mapping[str, Any]]) -> RecipeRecord:
    """Sums the checkpoint's schemes up by layer kind.

    Args:
        name: the recipe's name.
        group_size: its group, or None.
        layers: per layer name `{"scheme", "bits", "group_size", "reason"}`; a layer with a reason is an exception.
    """
    kinds: dict[str, LayerKind] = {}
    exceptions: dict[str, LayerException] = {}
    for layer, given in layers.items():
        kind = layer_kind(layer)
        scheme = {key: given[key] for key in ("scheme", "bits", "group_size")}
        first = kinds.get(kind)
        differs = first is not None and scheme != {key: getattr(first, key) for key in scheme}
        if given["reason"] is not None or differs:
            reason = given["reason"] or "differs from the other layers of its kind"
            exceptions[layer] = LayerException(**scheme, reason=reason)
        else:
            kinds[kind] = LayerKind(**scheme, count=1 if first is None else first.count + 1)
    return RecipeRecord(name=name, group_size=group_size, layers=kinds, exceptions=exceptions)
