"""Attention of our own against its definition in float64, whatever the shapes, rings, masks, widths and paths.

The bound, 1e-5 of the output's largest magnitude, and where it comes from: docs/numerics.md.
"""

from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat.ring import CacheShape
from tests.kernels.attention_cases import (
    Case,
    Driver,
    Library,
    Quantized,
    random_case,
    reference,
    relative_error,
)

RELATIVE = 1e-5
GARBAGE = np.float32(np.nan)


class Kernels(Protocol):
    def paths(self) -> list[str]: ...

    def attend(self, case: Case, isa: str = "", *, is_serial: bool = False) -> np.ndarray: ...


def shapes(draw: st.DrawFn, most_tokens: int, most_slots: int) -> dict[str, Any]:
    kv_heads = draw(st.integers(1, 4))
    return {
        "seed": draw(st.integers(0, 2**32 - 1)),
        "kv_heads": kv_heads,
        "heads": kv_heads * draw(st.integers(1, 7) | st.just(20)),
        "width": draw(st.sampled_from([64, 128]) | st.integers(8, 160)),
        "batch": draw(st.sampled_from([1, 1, 1, 2])),
        "tokens": draw(st.just(1) | st.integers(1, most_tokens)),
        "slots": draw(st.integers(1, most_slots)),
        "is_int8": draw(st.booleans()),
        "spread": draw(st.sampled_from([0.1, 1.0, 3.0])),
        "mean": draw(st.sampled_from([0.0, 0.0, 1.0, -3.0])),
    }


@st.composite
def prefixes(draw: st.DrawFn) -> Case:
    """Causal, or all of the first slots; slots past the last position hold garbage."""
    shape = shapes(draw, 70, 700)
    shape["tokens"] = min(shape["tokens"], shape["slots"])
    start = draw(st.integers(0, shape["slots"] - shape["tokens"]))
    case = random_case(**shape, mode=draw(st.sampled_from(["causal", "prefix"])), start=start)
    return replace(with_garbage(case), heads_first=draw(st.booleans()))


@st.composite
def rings(draw: st.DrawFn) -> Case:
    """A ring at any position, before or after it wrapped; unwritten and forgotten slots hold garbage."""
    shape = shapes(draw, 40, 1)
    window = draw(st.integers(1, 400))
    ring = CacheShape(slots=window + shape["tokens"] - 1 + draw(st.integers(0, 40)), window=window, wraps=True)
    shape["slots"] = ring.slots
    mask = ring_mask(ring, draw(st.integers(0, 3 * ring.slots)), shape["tokens"])
    return with_garbage(random_case(**shape, mode="mask", mask=mask))


@st.composite
def masks(draw: st.DrawFn) -> Case:
    """Any mask in which each token sees something; some add numbers to the scores."""
    shape = shapes(draw, 40, 300)
    rng = np.random.default_rng(shape["seed"])
    visible = rng.random((shape["tokens"], shape["slots"])) < draw(st.sampled_from([0.02, 0.5, 0.98]))
    visible &= rng.random(shape["slots"]) < draw(st.sampled_from([0.3, 1.0]))
    visible[np.arange(shape["tokens"]), rng.integers(0, shape["slots"], shape["tokens"])] = True
    added = rng.standard_normal(visible.shape, np.float32) * np.float32(draw(st.sampled_from([0, 1])))
    case = random_case(**shape, mode="mask", mask=np.where(visible, added, -np.inf).astype(np.float32))
    return with_garbage(case)


def ring_mask(ring: CacheShape, position: int, tokens: int) -> np.ndarray:
    """From the definition: each slot holds the last position that was written to it, if any."""
    slots = np.arange(ring.slots)
    last = position + tokens - 1
    held = last - (last - slots) % ring.slots
    distance = position + np.arange(tokens)[:, None] - held
    return np.where((held >= 0) & (distance >= 0) & (distance < ring.window), 0.0, -np.inf).astype(np.float32)


def with_garbage(case: Case) -> Case:
    """The case with NaN, and codes at random, in all slots that no token sees."""
    hidden = ~(case.added() > -np.inf).any(axis=0)
    spoiled = {}
    for which in ("k", "v"):
        array = getattr(case, which)
        if isinstance(array, Quantized):
            scales = array.scales.copy()
            scales[:, hidden] = GARBAGE
            spoiled[which] = replace(array, scales=scales)
        else:
            spoiled[which] = array.copy()
            spoiled[which][:, hidden] = GARBAGE
    return replace(case, **spoiled)


def check(kernels: Kernels, case: Case) -> None:
    want = reference(case)
    for isa in kernels.paths():
        threaded, serial = kernels.attend(case, isa), kernels.attend(case, isa, is_serial=True)
        error = relative_error(threaded, want)
        assert error <= RELATIVE, f"{isa}: {error:.2g}"
        assert np.array_equal(threaded, serial), f"{isa}: threads change the result"


@given(prefixes())
def test_causal_attention_is_its_definition_on_every_path_and_any_number_of_threads(library: Library, case: Case):
    check(library, case)


@given(rings())
def test_rings_are_attended_as_defined_and_slots_that_nobody_sees_are_never_read(library: Library, case: Case):
    check(library, case)


@given(masks())
def test_any_mask_is_obeyed(library: Library, case: Case):
    check(library, case)


@pytest.mark.parametrize("is_int8", [True, False], ids=["int8", "float"])
@pytest.mark.parametrize("tokens, start", [(1, 8191), (128, 2048)])
def test_the_full_size_shape_is_within_the_bound_at_depth(library, tokens, start, is_int8):
    shape = {"slots": start + tokens, "heads": 20, "kv_heads": 4, "width": 64, "tokens": tokens, "start": start}
    for spread, mean in ((0.1, 2.0), (1.0, 0.0), (3.0, 0.0)):
        check(library, random_case(3, mode="causal", is_int8=is_int8, spread=spread, mean=mean, **shape))


def test_the_largest_codes_and_zero_points_are_exact(library):
    """All codes -128 or 127 under zero points at the other end: the largest sums that there can be."""
    rng = np.random.default_rng(0)

    def extreme(tokens: int, heads: int, width: int) -> Quantized:
        signs = rng.random((1, tokens, heads, width)) < 0.9
        codes = np.where(signs, 127, -128).astype(np.int8)
        zeros = np.full((1, tokens, heads, 1), -128, np.int8)
        return Quantized(codes=codes, scales=np.full(zeros.shape, 1e-3, np.float32), zeros=zeros)

    for width in (64, 160, 256):
        case = Case(
            q=extreme(3, 4, width),
            k=extreme(300, 2, width),
            v=extreme(300, 2, width),
            mode="causal",
            start=297,
            scale=1,
        )
        check(library, case)


def test_a_token_that_sees_nothing_comes_out_as_zeros(library):
    mask = np.full((3, 40), -np.inf, np.float32)
    mask[1, 7] = 0
    for is_int8 in (True, False):
        case = random_case(
            1, tokens=3, slots=40, heads=4, kv_heads=2, width=64, mode="mask", mask=mask, is_int8=is_int8
        )
        for isa in library.paths():
            out = library.attend(case, isa)
            assert not out[:, [0, 2]].any() and out[:, 1].all()


def test_a_nan_that_is_seen_is_not_hidden(library):
    for which in ("k", "v"):
        case = random_case(1, tokens=1, slots=900, heads=4, kv_heads=2, width=64, mode="causal", start=899)
        getattr(case, which).scales[0, 150] = np.nan
        for isa in library.paths():
            assert np.isnan(library.attend(case, isa)).all(), (which, isa)


def test_an_unknown_path_is_refused_by_name(library):
    case = random_case(1, tokens=1, slots=4, heads=1, kv_heads=1, width=8, mode="causal", start=3)
    with pytest.raises(
        ValueError, match=r"POCKETLM_ISA is sse9, which this processor cannot run; of .*portable it runs"
    ):
        library.attend(case, "sse9")


some = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.slow
@some
@given(prefixes() | rings() | masks())
def test_no_step_outside_of_an_array_and_nothing_undefined(sanitized: Driver, case: Case):
    check(sanitized, case)


@pytest.mark.slow
@some
@given(prefixes() | rings())
def test_threads_share_nothing_that_one_of_them_writes(raced: Driver, case: Case):
    check(raced, case)


@pytest.mark.emulated
@some
@given(prefixes() | rings() | masks())
def test_the_same_holds_on_aarch64(aarch64: Driver, case: Case):
    assert aarch64.paths() == ["neondot", "portable"]
    check(aarch64, case)
