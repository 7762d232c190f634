"""Rounding to float16 is numpy's own conversion, and dequantised weights are what coremltools makes of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.mil.constants import Dequantised, WeightCache, dequantised, round_half
from export.mil.program import Operation
from export.mil.values import Constant, Value
from export.mil.weights import WeightFile

RANDOM = np.random.default_rng(2)
NO_WEIGHTS = WeightFile(b"\0\0\0\0\2".ljust(64, b"\0"))


def test_rounding_is_the_conversion_over_every_exponent_and_at_every_tie() -> None:
    bits = np.arange(0, 1 << 32, 1009, dtype=np.uint64).astype(np.uint32)
    some = bits.view(np.float32)
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    halves = halves[np.isfinite(halves)]
    ties = (halves + np.nextafter(halves.astype(np.float16), np.float16(7)).astype(np.float32)) / 2
    for numbers in (some[np.abs(some) <= 65_504], halves, ties[np.abs(ties) <= 65_504]):
        assert np.array_equal(round_half(numbers), numbers.astype(np.float16).astype(np.float32))
        few = numbers[:: max(1, numbers.size // 500)]
        assert np.array_equal(round_half(few), few.astype(np.float16).astype(np.float32))


def test_rounding_takes_any_layout() -> None:
    numbers = RANDOM.standard_normal((40, 30, 20)).astype(np.float32)
    for view in (numbers, numbers.transpose(2, 0, 1), numbers[:, ::2], numbers[::-1]):
        assert np.array_equal(round_half(view), view.astype(np.float16).astype(np.float32))


def weight(**constants: Constant) -> Dequantised:
    shape = constants["data"].shape
    outputs = (Value("w", constants["scale"].dtype, shape),)
    operation = Operation("x", "w", {k: (v,) for k, v in constants.items()}, outputs, {})
    return dequantised(operation, NO_WEIGHTS, "", WeightCache(limit_bytes=0), half=False)


def constant(dtype: str, array: np.ndarray) -> Constant:
    return Constant(dtype, array.shape, array)


@given(st.sampled_from([(4, 6), (2, 4, 6), (6,)]), st.booleans(), st.data())
def test_weights_are_dequantised_as_coremltools_defines_it(
    shape: tuple[int, ...], shifted: bool, data: st.DataObject
) -> None:
    from coremltools.converters.mil.mil.ops.defs.iOS18.compression import constexpr_blockwise_shift_scale

    counts = tuple(data.draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0])) for size in shape)
    codes = RANDOM.integers(-8, 8, shape, dtype=np.int8)
    scale = RANDOM.standard_normal(counts).astype(np.float32)
    offset = RANDOM.integers(-8, 8, counts, dtype=np.int8) if shifted else None
    given = {"data": constant("int8", codes), "scale": constant("float32", scale)}
    if offset is not None:
        given["offset"] = constant("int8", offset)
    expected = constexpr_blockwise_shift_scale.decompress(codes, scale, offset)
    assert np.array_equal(weight(**given).load(), expected)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"scale": constant("float32", np.ones((3, 1), np.float32))}, r"scales \[3, 1\] do not divide data \[4, 6\]"),
        ({"scale": constant("float32", np.ones(4, np.float32))}, "do not divide"),
        ({"scale": constant("float32", np.ones((4, 0), np.float32))}, "do not fit"),
        ({"scale": constant("int8", np.ones((4, 1), np.int8))}, "its scales int8"),
        ({"data": constant("float32", np.ones((4, 6), np.float32))}, "its data are float32"),
        ({"offset": constant("int8", np.ones((4, 2), np.int8))}, "offsets do not fit"),
        ({"other": constant("int8", np.ones((4, 2), np.int8))}, "'other'"),
    ],
)
def test_scales_that_do_not_fit_are_refused(changes: dict[str, Constant], sentence: str) -> None:
    given = {
        "data": constant("int8", np.ones((4, 6), np.int8)),
        "scale": constant("float32", np.ones((4, 1), np.float32)),
    }
    with pytest.raises(ValueError, match=sentence):
        weight(**(given | changes))
