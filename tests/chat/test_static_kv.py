"""The loop around a static-kv program against caches that are simply written; its numbers against numpy and torch."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.static_kv import (
    Rope,
    StaticKv,
    calls,
    half_bits,
    inverse_frequencies,
    mask,
    rope_rows,
    temperatures,
)
from chat.window import Context
from model.config import ModelConfig, RopeScaling
from model.rope import inverse_frequencies as torch_frequencies
from model.transformer import Transformer
from tests.packages import OTHER, TINY

PROGRAM = StaticKv(
    context=Context(kind="endless", tokens=20),
    vocab_size=96,
    chunk=4,
    has_prefill=True,
    slots=(8, 20),
    is_global=(False, True),
    num_kv_heads=2,
    rope=Rope(theta=10_000.0, head_dim=8),
)
BOUNDED = dataclasses.replace(PROGRAM, context=Context(kind="bounded", tokens=20))
ONE = dataclasses.replace(PROGRAM, has_prefill=False)


def seen_by_definition(position: int, length: int, slots: int) -> list[list[bool]]:
    """The cache written token by token, and each query's own band of positions."""
    cache: list[int | None] = [None] * slots
    for p in range(position):
        cache[p % slots] = p
    columns = [*cache, *range(position, position + length)]
    return [[p is not None and q - slots < p <= q for p in columns] for q in range(position, position + length)]


@settings(deadline=None)
@given(st.integers(0, 70), st.integers(1, 16), st.data())
def test_a_query_sees_its_band_of_positions_wherever_they_lie(position, slots, data):
    length = data.draw(st.integers(1, slots))
    assert mask(position, length, slots) == seen_by_definition(position, length, slots)


@settings(deadline=None)
@given(st.integers(0, 2**52), st.integers(1, 40), st.data())
def test_at_any_depth_each_query_sees_exactly_its_window_and_of_the_new_tokens_none_that_is_later(depth, slots, data):
    length = data.draw(st.integers(1, slots))
    position = slots + depth  # the ring is full
    for i, row in enumerate(mask(position, length, slots)):
        assert sum(row) == slots and row[slots:] == [j <= i for j in range(length)]


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(1, 8), st.booleans(), st.integers(0, 2**40))
def test_the_calls_of_a_chat_write_each_token_once_in_its_place(counts, chunk, has_prefill, position):
    program = dataclasses.replace(PROGRAM, chunk=chunk, has_prefill=has_prefill and chunk > 1)
    written = []
    at = position
    for count in counts:
        ids = [(at + i) % 96 for i in range(count)]
        for call in calls(ids, at, program):
            assert 1 <= len(call.ids) <= call.length and call.length in (1, chunk)
            assert len(call.tokens) == len(call.last) == call.length
            assert call.tokens == [*call.ids, *[0] * (call.length - len(call.ids))]
            assert call.last.index(1.0) == len(call.ids) - 1 and sum(call.last) == 1
            assert call.slots(8) == [(call.position + i) % 8 for i in range(len(call.ids))]
            assert call.method == ("prefill" if program.has_prefill and call.length > 1 else "forward")
            written += [(call.position + i, token) for i, token in enumerate(call.ids)]
        at += count
    assert written == [(p, p % 96) for p in range(position, at)]


def test_single_tokens_go_through_the_short_method_and_all_others_through_the_chunk():
    def shape(count: int, program: StaticKv) -> list[tuple[str, int, int]]:
        return [(call.method, call.length, len(call.ids)) for call in calls([1] * count, 7, program)]

    assert shape(1, PROGRAM) == [("forward", 1, 1)]
    assert shape(2, PROGRAM) == [("prefill", 4, 2)]
    assert shape(9, PROGRAM) == [("prefill", 4, 4), ("prefill", 4, 4), ("forward", 1, 1)]
    assert shape(1, ONE) == [("forward", 4, 1)]
    assert shape(6, ONE) == [("forward", 4, 4), ("forward", 4, 2)]


@pytest.mark.parametrize(
    ("ids", "position", "says"),
    [
        ([], 0, "there is nothing to run"),
        ([1], -1, "position -1 is negative"),
        ([1, 96], 0, "id 96 is none of the vocabulary; ids go from 0 to 95"),
        ([-1], 0, "id -1 is none of the vocabulary"),
        ([1, 2], 19, "has reached this package's limit of 20 tokens; start a new chat"),
    ],
)
def test_what_cannot_be_written_is_refused(ids, position, says):
    with pytest.raises(ValueError, match=says):
        calls(ids, position, BOUNDED)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"slots": (8,)}, "1 caches and 2 kinds"),
        ({"slots": (), "is_global": ()}, "0 caches and 0 kinds"),
        ({"chunk": 0}, "chunk is 0; it must be at least 1"),
        ({"slots": (0, 20)}, "slots is 0"),
        ({"num_kv_heads": 0}, "num_kv_heads is 0"),
        ({"chunk": 9}, "a chunk of 9 tokens does not fit a ring of 8 slots"),
        ({"slots": (8, 20), "is_global": (True, True)}, r"layers of one kind have caches of \[8, 20\] slots"),
    ],
)
def test_a_program_that_no_loop_can_drive_is_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        dataclasses.replace(PROGRAM, **changes)


@pytest.mark.parametrize(("settings_", "says"), [({"head_dim": 7}, "head_dim is 7"), ({"theta": 0.0}, "theta is 0.0")])
def test_rotary_settings_that_mean_nothing_are_refused(settings_, says):
    with pytest.raises(ValueError, match=says):
        Rope(**({"theta": 1e4, "head_dim": 8} | settings_))


SCALING = RopeScaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_context=8192)


def rope_of(config: ModelConfig) -> Rope:
    scaling = config.rope_scaling
    more = {} if scaling is None else dataclasses.asdict(scaling)
    return Rope(theta=config.rope_theta, head_dim=config.head_dim, **more)


@pytest.mark.parametrize("theta", [10_000.0, 500_000.0])
@pytest.mark.parametrize("scaling", [None, SCALING])
def test_the_frequencies_are_the_model_s(theta, scaling):
    config = dataclasses.replace(TINY, head_dim=64, num_heads=4, rope_theta=theta, rope_scaling=scaling)
    found = inverse_frequencies(rope_of(config))
    np.testing.assert_allclose(found, torch_frequencies(config).numpy(), rtol=1e-15)


@pytest.mark.parametrize("position", [0, 1, 511, 131_071, 10_000_000])
def test_rows_and_temperatures_are_the_model_s(position):
    config = dataclasses.replace(OTHER, temperature_floor=8192)
    model = Transformer(config)
    wanted = model.positions(torch.arange(position, position + 5))
    cos, sin = rope_rows(position, 5, inverse_frequencies(rope_of(config)))
    factors = temperatures(position, 5, floor=8192, scale=config.temperature_scale)
    assert wanted.temperature is not None
    for found, reference in ((cos, wanted.cos[:, 0]), (sin, wanted.sin[:, 0]), (factors, wanted.temperature[:, 0, 0])):
        np.testing.assert_allclose(found, reference.numpy(), rtol=0, atol=6e-8 if position < 10**6 else 1e-7)


@given(st.floats(-65_519.99, 65_519.99))
@settings(max_examples=500)
def test_a_double_becomes_the_float16_that_numpy_makes_of_it(value):
    assert half_bits(value) == int(np.float64(value).astype(np.float16).view(np.uint16))


def test_every_float16_comes_back_and_every_midpoint_goes_to_the_even_one():
    halves = np.arange(0x7C00, dtype=np.uint16)
    values = halves.view(np.float16).astype(np.float64)
    assert [half_bits(float(value)) for value in values] == halves.tolist()
    middles = (values[:-1] + values[1:]) / 2  # exact in doubles
    assert [half_bits(float(value)) for value in middles] == [h + h % 2 for h in range(len(middles))]
    assert [half_bits(math.nextafter(float(v), 0)) for v in middles] == halves[:-1].tolist()
    assert [half_bits(math.nextafter(float(v), math.inf)) for v in middles] == halves[1:].tolist()


@pytest.mark.parametrize("value", [65_520.0, -1e9, math.inf, math.nan])
def test_what_float16_cannot_hold_is_refused(value):
    with pytest.raises(ValueError, match="float16"):
        half_bits(value)
