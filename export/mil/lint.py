"""What keeps a MIL program off the Neural Engine, by rule: shapes, scales, states, scatters, and float32.

The limits are Apple's and undocumented; they are collected from reports (docs/coreml.md names them). That nothing is
found here does not prove that a phone will place every operation there.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from export.mil.constants import DEQUANTISE
from export.mil.program import Function, MilProgram, Operation
from export.mil.values import Constant, Value, show

MAX_RANK = 4
MAX_DIMENSION = 16_384

RULES = {
    "rank": f"no tensor has more than {MAX_RANK} dimensions",
    "dimension": f"no dimension is larger than {MAX_DIMENSION:,}",
    "dynamic-shape": "every dimension is known when the program is made",
    "block-scales": "a quantized weight has one scale a row, not one a group",
    "state": "nothing is kept between calls",
    "scatter": "nothing is scattered",
    "float32": "floating point is float16",
}


@dataclass(frozen=True)
class Finding:
    """One breach of a rule."""

    rule: str
    operation: str  # the operation's name, or that of a function's input
    message: str  # a sentence that names both


def lint_neural_engine(program: MilProgram) -> tuple[Finding, ...]:
    """All breaches, in the order of the program; one a rule and name, where functions share operations."""
    found: dict[tuple[str, str], Finding] = {}
    for function in program.functions.values():
        for finding in _function(function):
            found.setdefault((finding.rule, finding.operation), finding)
    return tuple(found.values())


def _function(function: Function) -> Iterator[Finding]:
    for value in function.inputs:
        yield from _value(value.name, f"input {value.name} of {function.name}", value)
    for state in function.states:
        yield Finding("state", state.name, f"{function.name} keeps the state {state.name} ({show(state)})")
    for operation in function.operations:
        yield from _operation(operation)


def _operation(operation: Operation) -> Iterator[Finding]:
    what = f"operation {operation.name} ({operation.kind})"
    for value in operation.outputs:
        yield from _value(operation.name, what, value)
    if operation.kind.startswith("scatter"):
        yield Finding("scatter", operation.name, f"{what} scatters")
    if operation.kind in ("read_state", "write_state", "coreml_update_state"):
        yield Finding("state", operation.name, f"{what} uses a state")
    if operation.kind == DEQUANTISE:
        scales = [a for a in operation.inputs.get("scale", ()) if isinstance(a, Constant)]
        for scale in scales:
            if math.prod(scale.shape[1:]) != 1:
                text = f"{what} has scales {list(scale.shape)}: several a row"
                yield Finding("block-scales", operation.name, text)


def _value(name: str, what: str, value: Value) -> Iterator[Finding]:
    if len(value.shape) > MAX_RANK:
        yield Finding("rank", name, f"{what} has {len(value.shape)} dimensions: {show(value)}")
    if any(size is not None and size > MAX_DIMENSION for size in value.shape):
        yield Finding("dimension", name, f"{what} has a dimension over {MAX_DIMENSION:,}: {show(value)}")
    if None in value.shape:
        yield Finding("dynamic-shape", name, f"{what} has a shape that only running decides: {show(value)}")
    if value.dtype in ("float32", "float64"):
        yield Finding("float32", name, f"{what} is {show(value)}")
