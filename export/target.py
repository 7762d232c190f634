"""Where a package can run, as data: the table of targets. Loads no torch and lowers nothing."""

import difflib
from dataclasses import dataclass
from typing import Literal

from quant.recipe import SchemeName

RunnerKind = Literal["text-llm", "static-kv"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """One backend with the method layout that its runner drives.

    `text-llm`: the one method `forward(tokens, position)` of ExecuTorch's own text runner, which keeps the caches
    inside the program. `static-kv`: caches are inputs and outputs, and the app writes them (a later target).
    """

    name: str
    backend: str  # the delegate's identifier in the `.pte`
    runner_kind: RunnerKind
    min_runtime: str  # oldest ExecuTorch runtime that was tried with such a package
    recipes: tuple[str, ...]  # names of the recipes that the backend holds without loss
    schemes: tuple[SchemeName, ...]  # what a layer may be that departs from its recipe
    default_context: int  # tokens, when --max-context is not given
    default_chunk: int  # tokens of one prefill step, when --prefill-chunk is not given


TARGETS: dict[str, Target] = {
    "xnnpack": Target(
        name="xnnpack",
        backend="XnnpackBackend",
        runner_kind="text-llm",
        min_runtime="1.5.1",
        recipes=("8da4w-g32", "float"),
        # not int4-channel: under INT8 activations executorch 1.5.1 lowers it as one group a row, with bf16 scales
        schemes=("int4-group", "int8-channel", "float"),
        default_context=8192,
        default_chunk=128,
    ),
}


# What the folder that holds the packages of several targets may contain.
PACKAGE_NAMES = tuple(f"{name}{suffix}" for name in TARGETS for suffix in ("", ".zip"))


def find_target(name: str) -> Target:
    """The target of that name.

    Raises:
        ValueError: no such target; the message names the nearest and lists all.
    """
    if name not in TARGETS:
        near = difflib.get_close_matches(name.lower(), TARGETS, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown target {name!r}{hint}; known: {', '.join(TARGETS)}")
    return TARGETS[name]
