"""Where a package can run, as data: the table of targets. Loads no torch and lowers nothing."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from quant.recipe import SchemeName

RunnerKind = Literal["text-llm", "static-kv"]
ComputeUnit = Literal["CPU_AND_NE", "CPU_AND_GPU"]  # coremltools' names; NE is Apple's Neural Engine

XNNPACK, COREML = "XnnpackBackend", "CoreMLBackend"  # delegates, as a `.pte` names them


@dataclass(frozen=True, kw_only=True)
class Target:
    """One backend with the method layout that its runner drives.

    `text-llm`: the one method `forward(tokens, position)` of ExecuTorch's own text runner, which keeps the caches
    inside the program. `static-kv`: caches are inputs and outputs, and the app writes them.
    """

    name: str
    backend: str  # the delegate's identifier in the `.pte`
    runner_kind: RunnerKind
    min_runtime: str  # oldest ExecuTorch runtime that was tried with such a package
    recipes: tuple[str, ...]  # names of the recipes that the backend holds without loss
    schemes: tuple[SchemeName, ...]  # what a layer may be that departs from its recipe
    default_context: int  # tokens, when --max-context is not given
    default_chunk: int  # tokens of one prefill step, when --prefill-chunk is not given
    single_chunk: int = 1  # the same where one method serves prefill and decode (--methods one)
    max_rows: int | None = None  # no dimension of a tensor may be larger; None: no limit
    is_bounded: bool = False  # whether positions always end
    compute_units: Mapping[str, ComputeUnit] = field(default_factory=dict)  # by recipe, for Core ML
    refusals: Mapping[str, str] = field(default_factory=dict)  # by recipe: why it is not among `recipes`
    notes: Mapping[str, str] = field(default_factory=dict)  # by recipe: what holding it here changes

    @property
    def is_static(self) -> bool:
        return self.runner_kind == "static-kv"

    @property
    def has_lint(self) -> bool:
        """Whether the Neural Engine computes it, so that its lint decides."""
        return self.is_static and "CPU_AND_NE" in self.compute_units.values()


_BY_GROUP = (
    "the Neural Engine takes INT4 with one scale a row only, and computes smaller groups wrongly without saying so "
    "(coremltools issue 2510)"
)
_AS_FLOATS = (
    "Core ML has no dynamic INT8: activations and caches are float16 here, though the recipe was trained with INT8 ones"
)

TARGETS: dict[str, Target] = {
    "xnnpack": Target(
        name="xnnpack",
        backend=XNNPACK,
        runner_kind="text-llm",
        min_runtime="1.5.1",
        recipes=("8da4w-g32", "float"),
        # not int4-channel: under INT8 activations executorch 1.5.1 lowers it as one group a row, with bf16 scales
        schemes=("int4-group", "int8-channel", "float"),
        default_context=8192,
        default_chunk=128,
    ),
    "coreml-ane": Target(
        name="coreml-ane",
        backend=COREML,
        runner_kind="static-kv",
        min_runtime="1.5.1",
        recipes=("4w-channel",),
        schemes=("int4-channel", "int8-channel"),
        default_context=2048,
        default_chunk=64,
        single_chunk=32,
        max_rows=16_384,
        compute_units={"4w-channel": "CPU_AND_NE"},
        refusals={"8da4w-g32": _BY_GROUP},
    ),
    "coreml-gpu": Target(
        name="coreml-gpu",
        backend=COREML,
        runner_kind="static-kv",
        min_runtime="1.5.1",
        recipes=("8da4w-g32",),
        schemes=("int4-group", "int8-channel"),
        default_context=2048,
        default_chunk=64,
        single_chunk=32,
        compute_units={"8da4w-g32": "CPU_AND_GPU"},
        notes={"8da4w-g32": _AS_FLOATS},
    ),
    "coreml-stateful": Target(
        name="coreml-stateful",
        backend=COREML,
        runner_kind="text-llm",
        min_runtime="1.5.1",
        recipes=("8da4w-g32", "4w-channel"),
        schemes=("int4-group", "int4-channel", "int8-channel"),
        default_context=2048,
        default_chunk=1,
        is_bounded=True,
        compute_units={"8da4w-g32": "CPU_AND_GPU", "4w-channel": "CPU_AND_NE"},
        notes={"8da4w-g32": _AS_FLOATS},
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
