"""Seeded sampling against the native runner's own C++ sampler and against its definition."""

import ctypes
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.sampling import SeededSampler, SplitMix64, Xoshiro256
from kernels.toolchain import Source, build, host_toolchain

ROOT = Path(__file__).resolve().parents[2]
LOGITS = [0.1, 2.0, -1.0, 3.0, 2.5]


def picks(logits: list[float], *, count: int = 40, **settings_: float) -> list[int]:
    sampler = SeededSampler(**settings_)  # type: ignore[arg-type]
    return [sampler.pick(logits) for _ in range(count)]


def test_the_random_numbers_are_the_published_ones():
    # Vectors of the authors' C code (prng.di.unimi.it), as other libraries' tests have them.
    filler = SplitMix64(1234567)
    assert [filler.next() for _ in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    generator = Xoshiro256([1, 2, 3, 4])
    assert [generator.next() for _ in range(6)] == [
        11520,
        0,
        1509978240,
        1215971899390074240,
        1216172134540287360,
        607988272756665600,
    ]


@pytest.fixture(scope="module")
def native():
    toolchain = host_toolchain()
    if toolchain is None:
        pytest.skip("there is no C++ compiler here")
    runner, check = ROOT / "runner", ROOT / "tests" / "runner" / "native_check.cpp"
    sources = [runner / "sampler.cpp", runner / "threads.cpp", runner / "json.cpp", check]
    return ctypes.CDLL(str(build(toolchain, [Source(path) for path in sources], kind="library", name="native_check")))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=80),
    st.sampled_from([0.0, 0.3, 1.0, 2.0]),
    st.sampled_from([0.05, 0.5, 0.9, 1.0]),
    st.integers(0, 2**63 - 1),
)
def test_a_seed_gives_the_ids_of_the_native_runner(native, logits, temperature, top_p, seed):
    out = (ctypes.c_int64 * 12)()
    values = (ctypes.c_float * len(logits))(*logits)
    numbers = (ctypes.c_double(temperature), ctypes.c_double(top_p), ctypes.c_uint64(seed))
    native.check_pick(values, len(logits), *numbers, out, len(out))
    assert picks(logits, temperature=temperature, top_p=top_p, seed=seed, count=12) == list(out)


def test_greedy_takes_the_first_of_the_largest():
    assert picks([1.0, 5.0, 5.0], count=2) == [1, 1]


def test_without_a_seed_two_samplers_differ():
    assert picks([0.0] * 1000, temperature=1.0) != picks([0.0] * 1000, temperature=1.0)


def test_frequencies_follow_the_probabilities():
    weights = np.exp(np.array(LOGITS) / 2.0)
    seen = Counter(picks(LOGITS, temperature=2.0, seed=5, count=4000))
    for token, prob in enumerate(weights / weights.sum()):
        assert abs(seen[token] / 4000 - prob) < 4 * math.sqrt(prob * (1 - prob) / 4000)


def test_every_token_of_the_nucleus_can_come_and_none_outside_of_it():
    logits = [math.log(p) for p in (0.5, 0.3, 0.15, 0.05)]
    for top_p, kept in ((0.4, {0}), (0.51, {0, 1}), (0.81, {0, 1, 2}), (1.0, {0, 1, 2, 3})):
        assert set(picks(logits, temperature=1.0, top_p=top_p, seed=1, count=400)) == kept, top_p


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("logits", [[0.0, math.nan], [0.0, math.inf], [-math.inf] * 2])
def test_logits_that_overflowed_are_an_error_and_no_id(temperature, logits):
    with pytest.raises(ValueError, match=r"largest logit is -?(nan|inf).*overflowed"):
        picks(logits, temperature=temperature, seed=0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"temperature": -0.1}, "temperature is -0.1; it must be 0"),
        ({"temperature": math.inf}, "temperature is inf"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"top_p": 0.0}, r"top_p is 0.0; it must lie in \(0, 1\]"),
        ({"top_p": 1.01}, "top_p is 1.01"),
        ({"seed": -1}, "seed is -1; it must be an integer from 0"),
        ({"seed": 2**63}, "seed is 9223372036854775808"),
        ({"seed": 1.5}, "seed is 1.5"),
    ],
)
def test_bad_arguments_are_refused_with_what_is_allowed(arguments, says):
    with pytest.raises(ValueError, match=says):
        SeededSampler(**arguments)
