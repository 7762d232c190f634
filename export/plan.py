"""What an export will make, decided before any work: context, chunk and every layer's cache. Loads no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from chat.window import Context
from export.manifest_parts import Cache, CacheLayer
from export.plan_coreml import (
    check_context,
    check_lint_rules,
    check_unit,
    coreml_layer,
    resolve_methods,
    stateful_chunk,
    static_chunk,
)
from export.static_layout import Methods
from export.target import COREML, TARGETS, ComputeUnit, Target
from model.cache_shape import layer_cache
from model.checkpoint import list_names
from model.checkpoint_info import CheckpointInfo
from model.config import ModelConfig
from quant.recipe import find_recipe

_INT8_HEAD_EXTRA = 5  # bytes: a float32 scale and an int8 zero point per (token, head)
_MASK_BYTES = 15  # a (query, slot): distance and three bools while it is made, its result, its copy; docs/numerics.md
_LARGE_MASKS, _FAIR_MASKS = 64 << 20, 32 << 20  # bytes: where a note is due, and what it aims at
_ENDLESS: Final = "endless"
_BOUNDED: Final = "bounded"


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """The resolved options of one export."""

    target: Target
    context: Context
    chunk: int
    window: int | None  # of local layers; None without any
    cache: Cache
    notes: tuple[str, ...]  # what the user should know of how the options were resolved
    methods: Methods | None = None  # of a static-kv package
    compute_unit: ComputeUnit | None = None  # for Core ML
    allow_lint: tuple[str, ...] = ()  # rules of the Neural Engine's lint that may be broken

    @property
    def is_bounded(self) -> bool:
        return self.context.kind == _BOUNDED

    @property
    def command(self) -> str:
        """The normalised command: resolved options, no paths."""
        words = [
            "export",
            "--target",
            self.target.name,
            "--max-context",
            str(self.context.tokens),
            "--prefill-chunk",
            str(self.chunk),
        ]
        words += ["--methods", self.methods] if self.methods else []
        words += [word for rule in self.allow_lint for word in ("--allow-lint", rule)]
        return " ".join(words + (["--bounded"] if self.is_bounded else []))


def plan_targets(
    info: CheckpointInfo,
    targets: Sequence[Target],
    *,
    max_context: int | None,
    prefill_chunk: int | None,
    bounded: bool,
    methods: Methods | None = None,
    allow_lint: tuple[str, ...] = (),
) -> list[ExportPlan]:
    """What one call makes for several targets; `methods` and `allow_lint` go to those that they say something of.

    Raises:
        ValueError: as `plan_export`; an option that says nothing of any target.
    """
    check_lint_rules(targets, allow_lint)
    some_static = any(target.is_static for target in targets)
    plans = [
        plan_export(
            info,
            target,
            max_context=max_context,
            prefill_chunk=prefill_chunk,
            bounded=bounded,
            methods=methods if target.is_static or not some_static else None,
        )
        for target in targets
    ]
    return [replace(plan, allow_lint=allow_lint if plan.target.has_lint else ()) for plan in plans]


def plan_export(
    info: CheckpointInfo,
    target: Target,
    *,
    max_context: int | None,
    prefill_chunk: int | None,
    bounded: bool,
    methods: Methods | None = None,
) -> ExportPlan:
    """What one target's export will make; also behind `--dry-run`.

    Raises:
        ValueError: the target cannot hold the recipe, or the options do not fit the model.
    """
    assert info.quantization is not None  # callers have read the plan
    recipe = find_recipe(info.quantization.recipe)
    schemes = {name: layer["scheme"] for name, layer in info.quantization.layers.items()}
    _check_holds(target, recipe.name, schemes)
    check_unit(target, recipe.name, schemes)
    plan = plan_package(
        info.config,
        target,
        max_context=max_context,
        prefill_chunk=prefill_chunk,
        bounded=bounded,
        cache_dtype=recipe.cache,
        methods=methods,
    )
    notes = plan.notes + ((target.notes[recipe.name],) if recipe.name in target.notes else ())
    return replace(plan, notes=notes, compute_unit=target.compute_units.get(recipe.name))


def _check_holds(target: Target, recipe: str, schemes: Mapping[str, str]) -> None:
    if recipe not in target.recipes:
        others = " or ".join(name for name, other in TARGETS.items() if recipe in other.recipes)
        because = f", because {target.refusals[recipe]}" if recipe in target.refusals else ""
        raise ValueError(
            f"target {target.name} cannot hold the recipe {recipe}{because}; it holds {', '.join(target.recipes)}: "
            f"quantize again with one of them, or export to {others}, which holds {recipe}"
        )
    odd = [name for name, scheme in schemes.items() if scheme not in target.schemes]
    if odd:
        raise ValueError(
            f"target {target.name} cannot hold {schemes[odd[0]]} layers ({list_names(odd)}); it holds "
            f"{', '.join(target.schemes)}: quantize again with other overrides"
        )


def plan_package(
    config: ModelConfig,
    target: Target,
    *,
    max_context: int | None,
    prefill_chunk: int | None,
    bounded: bool,
    cache_dtype: str,
    methods: Methods | None = None,
) -> ExportPlan:
    """Resolves the options against the model.

    Without --max-context an endless package keeps the target's default, at most what the model was trained for; a
    bounded one keeps all that the model was trained for, but for Core ML, whose caches are copied at each call.

    Args:
        cache_dtype: "float" or "int8", from the recipe; Core ML's caches are float16 whatever it says.
        methods: of a static-kv target; None means its default.

    Raises:
        ValueError: a number below 1, a chunk that does not fit context or window, a context over the target's limits,
            or options that the target's runner has no use for.
    """
    bounded = bounded or target.is_bounded
    methods = resolve_methods(target, methods)
    for name, value in (("--max-context", max_context), ("--prefill-chunk", prefill_chunk)):
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1 token")
    context, notes = _resolve_context(config, target, max_context, bounded=bounded)
    chunk = _resolve_chunk(prefill_chunk, target, context, bounded=bounded)
    if methods is not None:
        chunk = static_chunk(config, target, prefill_chunk, context=context, methods=methods)
    check_context(target, context, chunk)
    layers = tuple(
        coreml_layer(config, layer, context=context, bounded=bounded)
        if target.backend == COREML
        else _cache_layer(config, layer, context=context, chunk=chunk, bounded=bounded, cache_dtype=cache_dtype)
        for layer in range(config.num_layers)
    )
    notes += _mask_notes(layers, chunk) if target.backend != COREML else []
    has_local = len(config.global_layers) < config.num_layers
    return ExportPlan(
        target=target,
        context=Context(kind=_BOUNDED if bounded else _ENDLESS, tokens=context),
        chunk=chunk,
        window=min(config.sliding_window, context) if has_local else None,
        cache=Cache(layers=layers, bytes=sum(layer.bytes for layer in layers)),
        notes=tuple(notes),
        methods=methods,
    )


def _resolve_context(config: ModelConfig, target: Target, given: int | None, *, bounded: bool) -> tuple[int, list[str]]:
    """Positions, and notes on how they came about."""
    notes = []
    context = given
    if context is None:
        takes_all = bounded and target.backend != COREML
        context = config.max_context if takes_all else min(target.default_context, config.max_context)
        if not takes_all and context < target.default_context:
            notes.append(f"context is {context} tokens, all that the model was trained for (--max-context changes it)")
    elif context > config.max_context:
        notes.append(
            f"context {context} is longer than the {config.max_context} tokens that the model was trained for: "
            "what it writes past them is untested"
        )
    if target.is_bounded:
        notes.append(f"positions end at {context}: Core ML's state is a full cache here, not an endless window")
    return context, notes


def mask_bytes(layers: Sequence[CacheLayer], chunk: int) -> int:
    """Planned memory of the largest mask; a layer without a ring needs none. Masks of other rings add 4 of the 15."""
    return _MASK_BYTES * chunk * max((layer.slots for layer in layers if layer.ring), default=0)


def _mask_notes(layers: Sequence[CacheLayer], chunk: int) -> list[str]:
    """A smaller chunk, where the masks of a long endless context would take much memory."""
    masks, better = mask_bytes(layers, chunk), chunk
    if masks <= _LARGE_MASKS:
        return []
    while better > 1 and mask_bytes(layers, better) > _FAIR_MASKS:
        better //= 2
    return [
        f"the masks of so long a ring take {masks / 2**20:.0f} MiB at a chunk of {chunk} tokens: --prefill-chunk "
        f"{better} makes that {mask_bytes(layers, better) / 2**20:.0f} MiB, and --bounded needs none"
    ]


def _resolve_chunk(given: int | None, target: Target, context: int, *, bounded: bool) -> int:
    most = context if bounded else context - 1
    if most < 1:
        raise ValueError(f"a context of {context} token is too short for an endless package; give at least 2")
    if target.default_chunk == 1:
        return stateful_chunk(target, given)
    if given is None:
        return min(target.default_chunk, max(1, context // 2))
    if given > most:
        raise ValueError(
            f"--prefill-chunk {given} does not fit a context of {context} tokens: the phones' runner takes a package "
            f"for endless only if its chunk is smaller; give at most {most}"
            if not bounded
            else f"--prefill-chunk {given} is longer than the context of {context} tokens"
        )
    return given


def _cache_layer(
    config: ModelConfig, layer: int, *, context: int, chunk: int, bounded: bool, cache_dtype: str
) -> CacheLayer:
    shape = layer_cache(config, layer, context=context, chunk=chunk, bounded=bounded)
    head_bytes = config.head_dim + _INT8_HEAD_EXTRA if cache_dtype == "int8" else 4 * config.head_dim
    return CacheLayer(
        layer=layer,
        kind="global" if config.is_global(layer) else "local",
        ring=shape.wraps,
        slots=shape.slots,
        window=shape.window,
        dtype="int8" if cache_dtype == "int8" else "float32",
        bytes=2 * shape.slots * config.num_kv_heads * head_bytes,
    )
