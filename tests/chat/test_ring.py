"""Ring arithmetic against a cache that is simply written, token by token."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.ring import EMPTY, CacheShape, cache_shape, positions_held, slots_of, visible_positions, visible_slots


def written_one_by_one(end: int, slots: int) -> list[int]:
    cache = [EMPTY] * slots
    for position in range(end):
        cache[position % slots] = position
    return cache


@settings(deadline=None)
@given(st.integers(0, 80), st.integers(1, 20))
def test_the_positions_held_are_those_that_writing_leaves(end: int, slots: int) -> None:
    assert positions_held(end, slots) == written_one_by_one(end, slots)


@settings(deadline=None)
@given(st.integers(0, 2**40), st.integers(1, 50), st.data())
def test_each_token_lies_in_its_own_slot_at_any_position(position: int, slots: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, slots))
    written = slots_of(position, count, slots)
    held = positions_held(position + count, slots)
    assert [held[slot] for slot in written] == list(range(position, position + count))


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 60), st.data())
def test_a_ring_of_window_plus_chunk_minus_one_holds_all_that_a_chunk_sees(
    window: int, chunk: int, position: int, data: st.DataObject
) -> None:
    shape = cache_shape("local", window=window, chunk=chunk, context=1000, is_endless=True)
    count = data.draw(st.integers(1, chunk))
    held = written_one_by_one(position + count, shape.slots)
    for query, row in zip(range(position, position + count), visible_slots(position, count, shape), strict=True):
        seen = {held[slot] for slot, is_seen in enumerate(row) if is_seen}
        assert seen == {p for p in range(query + 1) if query - p < window}


def test_positions_past_32_bits_are_exact() -> None:
    assert slots_of(2**31 - 1, 3, 1000) == [647, 648, 649]
    assert positions_held(2**33 + 1, 3) == [2**33 - 2, 2**33 - 1, 2**33]
    assert list(visible_positions(2**35, 2)) == [2**35 - 1, 2**35]


def test_layer_kinds_get_the_slots_that_the_architecture_promises() -> None:
    layer = {"window": 512, "chunk": 128, "context": 8192}
    assert cache_shape("local", **layer, is_endless=True) == CacheShape(slots=639, window=512, wraps=True)
    assert cache_shape("local", **layer, is_endless=False) == CacheShape(slots=639, window=512, wraps=True)
    assert cache_shape("global", **layer, is_endless=True) == CacheShape(slots=8319, window=8192, wraps=True)
    assert cache_shape("global", **layer, is_endless=False) == CacheShape(slots=8192, window=8192, wraps=False)


def test_the_largest_chunk_is_what_the_ring_was_made_for() -> None:
    assert cache_shape("local", window=5, chunk=3, context=9, is_endless=True).max_chunk == 3
    assert cache_shape("global", window=5, chunk=3, context=9, is_endless=False).max_chunk == 9


def test_a_chunk_that_would_overwrite_what_it_sees_is_refused() -> None:
    with pytest.raises(ValueError, match="a chunk of 3 tokens needs 6 slots for a window of 4, but there are 5"):
        visible_slots(10, 3, CacheShape(slots=5, window=4, wraps=True))


def test_the_end_of_a_cache_that_does_not_wrap_is_refused() -> None:
    shape = CacheShape(slots=4, window=4, wraps=False)
    assert visible_slots(3, 1, shape) == [[True] * 4]
    with pytest.raises(ValueError, match="positions 3 to 4 pass the end"):
        visible_slots(3, 2, shape)


def test_more_tokens_than_slots_are_refused() -> None:
    with pytest.raises(ValueError, match="5 tokens do not fit into 4 slots"):
        slots_of(0, 5, 4)


def test_negative_numbers_and_unknown_kinds_are_refused() -> None:
    for call in (
        lambda: slots_of(-1, 1, 4),
        lambda: positions_held(-1, 4),
        lambda: positions_held(1, 0),
        lambda: visible_positions(-1, 4),
        lambda: CacheShape(slots=0, window=1, wraps=True),
    ):
        with pytest.raises(ValueError, match="must be"):
            call()
    with pytest.raises(ValueError, match="does not fit into 3 slots"):
        CacheShape(slots=3, window=4, wraps=True)
    with pytest.raises(ValueError, match="unknown layer kind 'middle'"):
        cache_shape("middle", window=1, chunk=1, context=1, is_endless=True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="chunk is 0"):
        cache_shape("local", window=1, chunk=0, context=1, is_endless=True)
