"""Caches: a ring sees what an endless cache sees, over any chunking and any number of wraps; full caches end."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.cache import CacheDtype, KVCache, RingKVCache, make_caches
from model.config import PRESETS
from model.int8 import round_trip

HEADS, KV_HEADS, WIDTH = 4, 2, 8
_TOLERANCE = 1e-5  # float32 sums in another order; values of order one


def tokens(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries [1, T, H, D], keys and values [1, T, G, D]."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, count, heads, WIDTH, generator=generator) for heads in (HEADS, KV_HEADS, KV_HEADS))
    return q, k, v


def make(kind: type[KVCache], slots: int, window: int, dtype: CacheDtype = "float") -> KVCache:
    return kind(slots=slots, window=window, num_kv_heads=KV_HEADS, head_dim=WIDTH, dtype=dtype)


def reference(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """All T queries over all T keys in float64, head by head and query by query: [T, H, D]."""
    out = torch.empty(q.shape[1:], dtype=torch.float64)
    for t in range(q.shape[1]):
        seen = slice(max(0, t - window + 1), t + 1)
        for head in range(HEADS):
            group = head // (HEADS // KV_HEADS)
            keys, values = k[0, seen, group].double(), v[0, seen, group].double()
            out[t, head] = (keys @ q[0, t, head].double() / WIDTH**0.5).softmax(0) @ values
    return out


def run(cache: KVCache, q: Tensor, k: Tensor, v: Tensor, sizes: list[int], start: int = 0) -> Tensor:
    """Feeds consecutive chunks of the given sizes and joins their outputs: [T, H, D]."""
    outputs, at = [], 0
    for size in sizes:
        part = slice(at, at + size)
        outputs.append(cache.attend(q[:, part], k[:, part], v[:, part], start + torch.arange(at, at + size))[0])
        at += size
    return torch.cat(outputs)


def parts(total: int, sizes: list[int]) -> list[int]:
    """`sizes`, repeated and cut so that they sum to `total`."""
    out: list[int] = []
    while sum(out) < total:
        out.append(min(sizes[len(out) % len(sizes)], total - sum(out)))
    return out


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 9), st.integers(1, 5), st.data(), st.sampled_from(["float", "int8"]))
def test_a_ring_attends_as_if_nothing_was_ever_overwritten(
    window: int, chunk: int, data: st.DataObject, dtype: CacheDtype
) -> None:
    slots = window + chunk - 1 + data.draw(st.integers(0, 3), label="spare slots")
    total = data.draw(st.integers(1, 5 * slots), label="tokens")
    sizes = parts(total, data.draw(st.lists(st.integers(1, chunk), min_size=1, max_size=4), label="chunks"))
    q, k, v = tokens(total)
    got = run(make(RingKVCache, slots, window, dtype), q, k, v, sizes)
    if dtype == "int8":
        q, k, v = round_trip(q), round_trip(k), round_trip(v)
    assert (got - reference(q, k, v, window)).abs().max() <= _TOLERANCE


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 24), st.data(), st.sampled_from(["float", "int8"]))
def test_a_full_cache_attends_to_its_window_in_any_chunking(total: int, data: st.DataObject, dtype: CacheDtype) -> None:
    window = data.draw(st.integers(1, 30))
    sizes = parts(total, data.draw(st.lists(st.integers(1, total), min_size=1, max_size=4)))
    q, k, v = tokens(total)
    got = run(make(KVCache, total, window, dtype), q, k, v, sizes)
    if dtype == "int8":
        q, k, v = round_trip(q), round_trip(k), round_trip(v)
    assert (got - reference(q, k, v, window)).abs().max() <= _TOLERANCE


@pytest.mark.parametrize("dtype", ["float", "int8"])
def test_a_ring_and_a_full_cache_agree_bit_for_bit_before_the_wrap(dtype: CacheDtype) -> None:
    q, k, v = tokens(12)
    ring = run(make(RingKVCache, 12, 9, dtype), q, k, v, [4, 4, 4])
    assert torch.equal(ring, run(make(KVCache, 12, 9, dtype), q, k, v, [4, 4, 4]))


@pytest.mark.parametrize("dtype", ["float", "int8"])
def test_a_conversation_that_starts_over_sees_nothing_of_the_one_before(dtype: CacheDtype) -> None:
    cache, fresh = make(RingKVCache, 12, 9, dtype), make(RingKVCache, 12, 9, dtype)
    q, k, v = tokens(40)
    run(cache, q * 9, k * 9, v * 9, [4] * 10)
    assert torch.equal(run(cache, q, k, v, [4] * 10), run(fresh, q, k, v, [4] * 10))


def test_positions_far_beyond_32_bits_find_their_slots() -> None:
    q, k, v = tokens(30)
    start = 2**40 + 5
    cache = make(RingKVCache, 12, 9)
    got = run(cache, q, k, v, [4] * 7 + [2], start=start)
    assert (got[9:] - reference(q, k, v, 9)[9:]).abs().max() <= _TOLERANCE
    assert sorted(cache.positions_held(start + 29).tolist()) == list(range(start + 18, start + 30))


def test_a_chunk_too_large_for_the_ring_is_refused_and_nothing_is_written() -> None:
    cache = make(RingKVCache, 12, 9)
    q, k, v = tokens(5)
    with pytest.raises(ValueError, match="chunk of 5 tokens needs 13 slots for a window of 9; this ring has 12"):
        cache.attend(q, k, v, torch.arange(5))
    assert not cache.get_buffer("k_cache").any()
    cache.attend(q[:, :4], k[:, :4], v[:, :4], torch.arange(4))


def test_a_full_cache_refuses_the_position_past_its_end_and_takes_the_last() -> None:
    cache = make(KVCache, 12, 12)
    q, k, v = tokens(13)
    run(cache, q[:, :12], k[:, :12], v[:, :12], [12])
    with pytest.raises(ValueError, match="position 12 is past the end of a cache of 12 slots"):
        cache.attend(q[:, 12:], k[:, 12:], v[:, 12:], torch.tensor([12]))
    with pytest.raises(ValueError, match="position 12 is past the end"):
        make(KVCache, 12, 12).attend(q, k, v, torch.arange(13))


def test_an_int8_token_of_the_big_model_costs_552_bytes_a_layer() -> None:
    """Keys and values: 4 heads of 64 codes, a float32 scale and an int8 zero point each: 2 * 4 * (64 + 4 + 1)."""
    config = PRESETS["mobilellm-pro"]
    for cache in make_caches(config, context=1024, chunk=128, dtype="int8"):
        assert cache.num_bytes == 552 * cache.slots
    for cache in make_caches(config, context=1024, chunk=128):
        assert cache.num_bytes == 2 * 4 * 64 * 4 * cache.slots


def test_caches_are_no_part_of_a_checkpoint() -> None:
    assert not make(RingKVCache, 4, 4, "int8").state_dict()


def test_a_float_cache_gives_the_queries_type_back() -> None:
    q, k, v = (x.to(torch.bfloat16) for x in tokens(3))
    for dtype in ("float", "int8"):
        assert make(RingKVCache, 12, 9, dtype).attend(q, k, v, torch.arange(3)).dtype == torch.bfloat16
