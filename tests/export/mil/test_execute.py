"""The executor distrusts the program and the caller: every contradiction is an error that names the operation."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from export.mil.execute import MilExecutor
from export.pte_values import KernelCall, Move
from model.errors import GateError
from tests.export.mil.small_models import Change, changed, main_block
from tests.packages import TINY, Made

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def pte(tiny_gpu: Made) -> Path:
    return tiny_gpu.package / "model.pte"


@pytest.fixture(scope="module")
def inputs(pte: Path) -> list[Array]:
    """Zeros for `forward`, in calling order."""
    method = MilExecutor(pte).file.methods["forward"].method
    return [np.zeros(method.tensor(i).sizes, dtype=method.tensor(i).dtype) for i in method.inputs]


def first(spec: Any, kind: str) -> Any:
    return next(operation for operation in main_block(spec).operations if operation.type == kind)


def other_kind(spec: Any) -> None:
    first(spec, "silu").type = "erf"


def other_dtype(spec: Any) -> None:
    first(spec, "silu").outputs[0].type.tensorType.dataType = 11


def other_input(spec: Any) -> None:
    operation = first(spec, "softmax")
    operation.inputs["ax"].CopyFrom(operation.inputs["axis"])
    del operation.inputs["axis"]


def no_input(spec: Any) -> None:
    del first(spec, "softmax").inputs["x"]


def mixed(spec: Any) -> None:
    operation = first(spec, "gather")
    first(spec, "mul").inputs["y"].CopyFrom(operation.inputs["indices"])


def scales(spec: Any) -> None:
    value = first(spec, "constexpr_blockwise_shift_scale").inputs["scale"].arguments[0].value
    value.type.tensorType.dimensions[1].constant.size = 7


def other_file(spec: Any) -> None:
    value = first(spec, "constexpr_blockwise_shift_scale").inputs["scale"].arguments[0].value
    value.blobFileValue.fileName = "@model_path/w"


def other_offset(spec: Any) -> None:
    value = first(spec, "constexpr_blockwise_shift_scale").inputs["data"].arguments[0].value
    value.blobFileValue.offset += 64


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (other_kind, r"operation \S+ \(erf\) of method forward: no operation of this kind"),
        (other_dtype, r"\(silu\) of method forward: it declares \S+ as float32, but makes float16"),
        (other_input, r"\(softmax\) of method forward: it takes \['ax', 'x'\]"),
        (no_input, r"\(softmax\) of method forward: it takes \['axis'\]; \['x'\] are needed"),
        (mixed, r"\(mul\) of method forward: its inputs are of several types"),
        (scales, r"\(constexpr_blockwise_shift_scale\) of method forward: "),
        (other_file, r"\(constexpr_blockwise_shift_scale\) of method forward: a constant lies in '@model_path/w'"),
        (other_offset, r"\(constexpr_blockwise_shift_scale\) of method forward: weight.bin: "),
    ],
)
def test_an_operation_that_contradicts_itself_is_refused_before_anything_runs(
    pte: Path, tmp_path: Path, change: Change, sentence: str
) -> None:
    forged = changed(pte, tmp_path / "forged.pte", change)
    with pytest.raises(GateError, match=sentence) as caught:
        MilExecutor(forged)
    assert "\n" not in str(caught.value)


def other_shape(spec: Any) -> None:
    first(spec, "silu").outputs[0].type.tensorType.dimensions[0].constant.size = 9


def other_axis(spec: Any) -> None:
    name = first(spec, "concat").inputs["axis"].arguments[0].name
    constant = next(o for o in main_block(spec).operations if o.outputs and o.outputs[0].name == name)
    constant.attributes["val"].immediateValue.tensor.ints.values[0] = 9


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (other_shape, r"operation \S+ \(silu\) of method forward makes \[1, \d+\]; it declares float16 \[9, \d+\]"),
        (other_axis, r"operation \S+ \(concat\) of method forward fails: .*axis 9"),
    ],
)
def test_a_result_that_is_not_what_is_declared_is_refused_where_it_is_made(
    pte: Path, inputs: list[Array], tmp_path: Path, change: Change, sentence: str
) -> None:
    executor = MilExecutor(changed(pte, tmp_path / "forged.pte", change))
    with pytest.raises(GateError, match=sentence):
        executor.execute("forward", inputs)


def test_inputs_that_do_not_fit_are_named_with_what_fits(pte: Path, inputs: list[Array]) -> None:
    executor = MilExecutor(pte)
    with pytest.raises(ValueError, match="no method 'main'; there are "):
        executor.execute("main", inputs)
    with pytest.raises(ValueError, match=rf"takes {len(inputs)} inputs; 1 were given"):
        executor.execute("forward", inputs[:1])
    for index, array, sentence in [
        (
            0,
            np.zeros((1, 2), dtype=np.int32),
            r"input tokens of method forward is int32 \[1, 2\]; it must be int32 \[1, 1\]",
        ),
        (0, np.zeros((1, 1), dtype=np.float16), "input tokens of method forward is float16"),
        (0, np.full((1, 1), 2**40), "does not fit int32"),
        (1, np.ones((1, 1), dtype=np.float32), "input last of method forward is float32"),
        (1, np.full((1, 1), np.inf, dtype=np.float16), "input last of method forward is not finite"),
        (
            0,
            np.full((1, 1), TINY.vocab_size, dtype=np.int32),
            rf"\(gather\) .* fails: it gathers place {TINY.vocab_size}",
        ),
    ]:
        with pytest.raises(ValueError, match=sentence):
            executor.execute("forward", [*inputs[:index], array, *inputs[index + 1 :]])


def test_float32_precision_takes_float32_and_float16_and_gives_float32(pte: Path, inputs: list[Array]) -> None:
    executor = MilExecutor(pte, precision="fp32")
    wide = [array.astype(np.float32) if array.dtype == np.float16 else array for array in inputs]
    found, again = executor.execute("forward", inputs), executor.execute("forward", wide)
    assert all(a.dtype == np.float32 and np.array_equal(a, b) for a, b in zip(found, again, strict=True))
    assert all(a.dtype == np.float16 for a in MilExecutor(pte).execute("forward", inputs))


def test_inputs_are_neither_kept_nor_changed(pte: Path, inputs: list[Array]) -> None:
    executor = MilExecutor(pte)
    given = [array.copy() for array in inputs]
    found = executor.execute("forward", given)
    assert all(np.array_equal(a, b) for a, b in zip(given, inputs, strict=True))
    for array in given:
        array.fill(1)
    assert all(np.array_equal(a, b) for a, b in zip(executor.execute("forward", inputs), found, strict=True))


def test_what_runs_outside_of_the_delegate_is_refused_by_name(pte: Path, inputs: list[Array]) -> None:
    for instruction, name in ((KernelCall("aten::add.out", (0,)), "aten::add.out"), (Move(0, 1), "Move")):
        executor = MilExecutor(pte)
        model = executor.file.methods["forward"]
        method = dataclasses.replace(model.method, instructions=(instruction, *model.method.instructions))
        executor.file.methods["forward"] = dataclasses.replace(model, method=method)
        with pytest.raises(GateError, match=rf"method forward runs {name} outside of CoreML"):
            executor.execute("forward", inputs)


def test_an_output_that_nothing_made_is_refused(pte: Path, inputs: list[Array]) -> None:
    executor = MilExecutor(pte)
    model = executor.file.methods["forward"]
    executor.file.methods["forward"] = dataclasses.replace(
        model, method=dataclasses.replace(model.method, instructions=())
    )
    with pytest.raises(GateError, match="which nothing made"):
        executor.execute("forward", inputs)


def test_weights_are_the_same_whether_they_are_kept_or_made_again(pte: Path, inputs: list[Array]) -> None:
    kept, again = MilExecutor(pte), MilExecutor(pte, cache_bytes=0)
    for a, b in zip(kept.execute("forward", inputs), again.execute("forward", inputs), strict=True):
        assert np.array_equal(a, b)


def test_peaks_are_the_largest_magnitudes_over_all_calls(pte: Path, inputs: list[Array]) -> None:
    executor = MilExecutor(pte, trace=True)
    logits = []
    for token in (3, 5):
        found = executor.execute("forward", [np.full((1, 1), token, dtype=np.int32), *inputs[1:]])
        logits.append(np.abs(found[0].astype(np.float32)).max())
    function = executor.file.methods["forward"].function
    name = executor.file.methods["forward"].output_names
    (head,) = [o.name for o in function.operations if o.outputs[0].name in name and o.kind == "linear"]
    assert abs(executor.peaks[f"forward/{head}"] - max(logits)) <= max(logits) * 2**-10  # before rounding
    assert not MilExecutor(pte).peaks and not any(key.startswith("prefill") for key in executor.peaks)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_program_runs_or_is_refused_in_one_line(
    pte: Path, inputs: list[Array], tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(pte.read_bytes())
    (files,) = MilExecutor(pte).file.packages.values()
    model = bytes(next(part for path, part in files.items() if path.endswith(".mlmodel")))
    start = content.index(model)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(start, start + len(model) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "damaged.pte").write_bytes(content)
    try:
        MilExecutor(tmp_path / "damaged.pte").execute("forward", inputs)
    except ValueError as error:
        assert str(error) and "\n" not in str(error)
