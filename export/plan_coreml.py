"""What is particular about planning a CoreML package: methods, lengths that Apple's processors take, float16 caches.

Loads no torch.

Shapes: T tokens of a call, S slots of a cache, N positions of the context.
"""

import difflib
from collections.abc import Mapping, Sequence

from export.manifest_parts import CacheLayer
from export.static_layout import Methods
from export.target import Target
from model.checkpoint import list_names
from model.config import ModelConfig

_HALF = 2  # bytes of a float16


def resolve_methods(target: Target, given: Methods | None) -> Methods | None:
    """How many methods a static package gets; None where a text runner calls the one it knows.

    Raises:
        ValueError: --methods for a target whose runner decides.
    """
    if target.is_static:
        return given or "two"
    if given is not None:
        raise ValueError(
            f"--methods {given} does not fit target {target.name}: its runner calls one method, forward; leave it out"
        )
    return None


def check_lint_rules(targets: Sequence[Target], given: Sequence[str]) -> None:
    """Refuses names that are none of the lint's rules, and rules where nothing is linted.

    Raises:
        ValueError: an unknown rule, or no target for the Neural Engine.
    """
    if not given:
        return
    from export.mil.lint import RULES

    for rule in given:
        if rule not in RULES:
            near = difflib.get_close_matches(rule, list(RULES), n=1, cutoff=0.3)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"--allow-lint {rule!r} is no rule{hint}; rules: {', '.join(RULES)}")
    if not any(target.has_lint for target in targets):
        raise ValueError("--allow-lint belongs to targets for the Neural Engine (coreml-ane); leave it out")


def check_context(target: Target, context: int, chunk: int) -> None:
    """Refuses what the target's processor cannot address.

    Raises:
        ValueError: the context and a chunk together are longer than its largest dimension.
    """
    if target.max_rows is not None and context + chunk > target.max_rows:
        raise ValueError(
            f"a context of {context} tokens and a chunk of {chunk} make a row of {context + chunk} scores; target "
            f"{target.name} takes {target.max_rows} at most: give --max-context {target.max_rows - chunk} or less"
        )


def static_chunk(config: ModelConfig, target: Target, given: int | None, *, context: int, methods: Methods) -> int:
    """Tokens of a prefill step: a chunk must fit the shortest ring, because it is written there whole.

    Raises:
        ValueError: the given chunk is longer than the window.
    """
    has_local = len(config.global_layers) < config.num_layers
    window = min(config.sliding_window, context) if has_local else context
    if given is None:
        default = target.default_chunk if methods == "two" else target.single_chunk
        return max(1, min(default, window, context // 2))
    if given > window:
        raise ValueError(
            f"--prefill-chunk {given} is longer than the window of {window} tokens that a local layer keeps; give "
            f"{window} or less"
        )
    return given


def stateful_chunk(target: Target, given: int | None) -> int:
    """One.

    Raises:
        ValueError: another chunk was asked for.
    """
    if given not in (None, 1):
        raise ValueError(
            f"--prefill-chunk {given} does not fit target {target.name}: Core ML shares no state between methods, so "
            "its one method takes a token at a time; leave it out, or export to coreml-ane or coreml-gpu"
        )
    return 1


def coreml_layer(config: ModelConfig, layer: int, *, context: int, bounded: bool) -> CacheLayer:
    """A layer's cache in float16: as many slots as its window, since queries see the new tokens beside it."""
    is_global = config.is_global(layer)
    window = context if is_global else min(config.sliding_window, context)
    return CacheLayer(
        layer=layer,
        kind="global" if is_global else "local",
        ring=not (bounded and window == context),
        slots=window,
        window=window,
        dtype="float16",
        bytes=2 * window * config.num_kv_heads * config.head_dim * _HALF,
    )


def check_unit(target: Target, recipe: str, schemes: Mapping[str, str]) -> None:
    """Refuses layers that the compute unit of this recipe cannot hold, though another recipe's could.

    Raises:
        ValueError: a layer by group where the Neural Engine computes.
    """
    by_group = [name for name, scheme in schemes.items() if scheme == "int4-group"]
    if target.compute_units.get(recipe) == "CPU_AND_NE" and by_group:
        raise ValueError(
            f"target {target.name} runs the recipe {recipe} on the Neural Engine, which cannot hold int4-group layers "
            f"({list_names(by_group)}); quantize again with other overrides"
        )
