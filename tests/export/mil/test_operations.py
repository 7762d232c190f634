"""Every operation that the executor knows, against torch and against coremltools' own evaluation of constants."""

from typing import Any

import numpy as np
import pytest
import torch

from export.mil.arithmetic import ARITHMETIC
from export.mil.movement import MOVEMENT
from tests.export.mil.operation_cases import Case, cases

CASES = cases()
KERNELS = ARITHMETIC | MOVEMENT
WITHOUT_VALUE = {"silu"}  # coremltools evaluates none; torch alone speaks for it


def run(kind: str, inputs: dict[str, Any]) -> list[Any]:
    with np.errstate(all="ignore"):
        found = KERNELS[kind](**inputs)
    return found if isinstance(found, list) else [found]


def names(case: Case) -> str:
    return f"{case[0]}-{'-'.join(case[1])}"


@pytest.mark.parametrize("case", CASES, ids=names)
def test_it_computes_what_torch_computes(case: Case) -> None:
    kind, inputs, expected = case
    wanted = [tensor.numpy() for tensor in (expected if isinstance(expected, tuple) else (expected,))]
    found = run(kind, inputs)
    assert len(found) == len(wanted)
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine.shape == theirs.shape and mine.dtype == theirs.dtype
        # Two orders of summation and two libraries' exponentials: a few units in the last place of float32.
        np.testing.assert_allclose(mine, theirs, rtol=4e-6, atol=2e-6)


@pytest.mark.parametrize("case", CASES, ids=names)
def test_it_computes_what_coremltools_computes(case: Case) -> None:
    kind, inputs, _ = case
    values = coremltools_values(kind, inputs)
    assert (values is None) == (kind in WITHOUT_VALUE)
    if values is None:
        return
    found = run(kind, inputs)
    assert len(found) == len(values)
    for mine, theirs in zip(found, values, strict=True):
        assert mine.shape == np.shape(theirs)
        np.testing.assert_allclose(mine, theirs, rtol=4e-6, atol=2e-6)


def coremltools_values(kind: str, inputs: dict[str, Any]) -> list[Any] | None:
    """What coremltools' definition of the operation evaluates to."""
    import coremltools as ct
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Function

    with Function({}, opset_version=ct.target.iOS18):
        plain = {name: bool(v) if isinstance(v, np.bool_) else v for name, v in inputs.items()}
        made = getattr(mb, kind)(**plain)
        outputs = list(made) if isinstance(made, (list, tuple)) else [made]
        values = [output.val for output in outputs]
    return None if any(value is None for value in values) else values


def test_every_kind_has_a_case() -> None:
    assert {case[0] for case in CASES} == KERNELS.keys()


def test_the_products_agree_with_torch_for_grouped_attention() -> None:
    q, k = torch.randn(1, 2, 6, 8), torch.randn(1, 2, 10, 8)
    found = run("matmul", {"x": q.numpy(), "y": k.numpy(), "transpose_y": np.bool_(True)})[0]
    np.testing.assert_allclose(found, (q @ k.mT).numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "inputs", "sentence"),
    [
        ("gather", {"x": np.zeros((3, 2)), "indices": np.int32([3])}, "place 3 of 3"),
        ("gather", {"x": np.zeros((3, 2)), "indices": np.int32([-1])}, "place -1 of 3"),
        ("cast", {"x": np.int32([40_000]), "dtype": "int16"}, "casts 40000 to int16"),
        ("cast", {"x": np.float32([np.inf]), "dtype": "int32"}, "casts inf to int32"),
        ("cast", {"x": np.int32([1]), "dtype": "int4"}, "'int4'"),
        ("linear", {"x": np.zeros((1, 4)), "weight": np.zeros((3, 5))}, r"\[1, 4\] with a weight of \[3, 5\]"),
        ("split", {"x": np.zeros(5), "axis": np.int32(0), "split_sizes": np.int32([2, 2])}, r"5 into \[2, 2\]"),
        ("split", {"x": np.zeros(5), "axis": np.int32(0), "num_splits": np.int32(2)}, "sizes that fit"),
        ("tile", {"x": np.zeros((2, 2)), "reps": np.int32([2])}, "one number a dimension"),
        ("reshape", {"x": np.zeros((2, 2)), "shape": np.int32([0, 2, 1])}, "same rank"),
        ("slice_by_index", {"x": np.zeros((2, 2)), "begin": np.int32([0]), "end": np.int32([1])}, "lists of"),
        ("slice_by_size", {"x": np.zeros(3), "begin": np.int32([2]), "size": np.int32([2])}, "takes 2 of 3"),
        (
            "slice_update",
            {"x": np.zeros(4), "update": np.zeros(1), "begin": np.int32([0]), "end": np.int32([3])},
            r"\[1\] into a slice of \[3\]",
        ),
        ("real_div", {"x": np.int32([1]), "y": np.int32([0])}, "divides by zero"),
        ("concat", {"values": [np.zeros(1)] * 2, "axis": np.int32(0), "interleave": np.bool_(True)}, "interleaves"),
    ],
)
def test_what_core_ml_leaves_undefined_is_refused(kind: str, inputs: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        run(kind, inputs)
