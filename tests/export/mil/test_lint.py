"""The Neural Engine's lint: each rule finds its breach and names the operation; what is lowered for it is clean."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from export.mil.container import open_coreml
from export.mil.lint import RULES, lint_neural_engine
from export.mil.program import Function, MilProgram, Operation
from export.mil.values import Constant, Value
from tests.packages import Made

CLEAN = Operation("relu", "quiet", {"x": ("x",)}, (Value("y", "float16", (1, 4)),), {})
SCALES = Constant("float16", (4, 2), np.ones((4, 2), dtype=np.float16))


def program(*operations: Operation, states: tuple[Value, ...] = (), inputs: tuple[Value, ...] = ()) -> MilProgram:
    function = Function("forward", "CoreML8", inputs, states, operations, ())
    return MilProgram(9, {"forward": function, "prefill": function}, "forward")


def with_output(dtype: str, *shape: int | None) -> Operation:
    return dataclasses.replace(CLEAN, outputs=(CLEAN.outputs[0], Value("z", dtype, shape)))


@pytest.mark.parametrize(
    ("rule", "operation"),
    [
        ("rank", with_output("float16", 1, 1, 1, 1, 2)),
        ("dimension", with_output("float16", 16_385, 2)),
        ("dynamic-shape", with_output("float16", None, 2)),
        ("float32", with_output("float32", 1)),
        ("scatter", dataclasses.replace(CLEAN, kind="scatter_nd")),
        ("scatter", dataclasses.replace(CLEAN, kind="scatter_along_axis")),
        ("state", dataclasses.replace(CLEAN, kind="read_state")),
        (
            "block-scales",
            dataclasses.replace(CLEAN, kind="constexpr_blockwise_shift_scale", inputs={"scale": (SCALES,)}),
        ),
    ],
)
def test_each_breach_is_found_once_and_named(rule: str, operation: Operation) -> None:
    (finding,) = lint_neural_engine(program(CLEAN, operation))
    assert (finding.rule, finding.operation) == (rule, "quiet")
    assert "quiet" in finding.message and finding.rule in RULES


def test_what_lies_on_the_limit_is_clean() -> None:
    rows = dataclasses.replace(SCALES, shape=(4, 1))
    compressed = dataclasses.replace(CLEAN, kind="constexpr_blockwise_shift_scale", inputs={"scale": (rows,)})
    assert lint_neural_engine(program(CLEAN, with_output("float16", 1, 1, 16_384, 2), compressed)) == ()
    assert lint_neural_engine(program(with_output("int32", 3))) == ()


def test_inputs_and_states_are_looked_at_too() -> None:
    found = lint_neural_engine(
        program(states=(Value("cache", "float16", (2,)),), inputs=(Value("x", "float16", (None, 20_000)),))
    )
    assert [(f.rule, f.operation) for f in found] == [("dimension", "x"), ("dynamic-shape", "x"), ("state", "cache")]


def lint(pte: Path) -> set[str]:
    (program,) = {id(m.program): m.program for m in open_coreml(pte).methods.values()}.values()
    return {finding.rule for finding in lint_neural_engine(program)}


def test_what_is_lowered_for_the_neural_engine_is_clean_and_what_is_not_is_found(
    tiny_ane: Made, other_ane: Made, tiny_gpu: Made, tiny_stateful: Made
) -> None:
    assert lint(tiny_ane.package / "model.pte") == set()
    assert lint(other_ane.package / "model.pte") == set()
    assert lint(tiny_gpu.package / "model.pte") == {"block-scales"}
    assert "state" in lint(tiny_stateful.package / "model.pte")
