"""Picking ids: greedy, seeded, the smallest nucleus, the ends of the temperature, bad arguments."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.sampling import Sampler

LOGITS = torch.tensor([0.1, 2.0, -1.0, 3.0, 2.5])


def picks(sampler: Sampler, logits: Tensor, count: int) -> list[int]:
    return [sampler.pick(logits) for _ in range(count)]


def test_greedy_takes_the_largest_and_the_first_of_equals() -> None:
    assert picks(Sampler(), LOGITS, 3) == [3, 3, 3]
    assert Sampler().pick(torch.tensor([1.0, 5.0, 5.0])) == 1


def test_the_same_seed_gives_the_same_ids_and_another_seed_others() -> None:
    first, again, other = (picks(Sampler(temperature=1.0, seed=seed), LOGITS, 40) for seed in (7, 7, 8))
    assert first == again != other


def test_without_a_seed_two_samplers_differ() -> None:
    flat = torch.zeros(1000)
    assert picks(Sampler(temperature=1.0), flat, 12) != picks(Sampler(temperature=1.0), flat, 12)


def test_a_sampler_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    picks(Sampler(temperature=1.0, seed=1), LOGITS, 5)
    assert torch.equal(torch.rand(1), expected)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-6, 6, width=32), min_size=1, max_size=12), st.floats(0.01, 1.0), st.floats(0.3, 3.0))
def test_the_nucleus_is_the_smallest_set_that_reaches_top_p(
    values: list[float], top_p: float, temperature: float
) -> None:
    logits = torch.tensor(values)
    probs = torch.softmax(logits.double() / temperature, -1)
    sampler = Sampler(temperature=temperature, top_p=top_p, seed=0)
    seen = set(picks(sampler, logits, 60))
    for token in seen:  # what lies strictly before a kept token has not reached top_p yet
        assert float(probs[probs > probs[token]].sum()) < top_p + 1e-9


def test_every_token_of_the_nucleus_can_come_and_none_outside_of_it() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    for top_p, kept in ((0.4, {0}), (0.5, {0}), (0.51, {0, 1}), (0.8, {0, 1}), (0.81, {0, 1, 2}), (1.0, {0, 1, 2, 3})):
        assert set(picks(Sampler(temperature=1.0, top_p=top_p, seed=1), logits, 400)) == kept, top_p


def test_a_set_that_reaches_top_p_exactly_is_large_enough() -> None:
    assert set(picks(Sampler(temperature=1.0, top_p=0.5, seed=0), torch.zeros(4), 200)) == {0, 1}  # of 1/4 each


def test_frequencies_follow_the_probabilities() -> None:
    count = 4000
    seen = Counter(picks(Sampler(temperature=2.0, seed=5), LOGITS, count))
    for token, prob in enumerate(torch.softmax(LOGITS / 2.0, -1).tolist()):
        assert abs(seen[token] / count - prob) < 4 * math.sqrt(prob * (1 - prob) / count)


@pytest.mark.parametrize("temperature", [1e-320, 1e-30, 1e-3])
def test_a_temperature_close_to_zero_is_greedy(temperature: float) -> None:
    assert set(picks(Sampler(temperature=temperature, seed=0), LOGITS, 20)) == {3}


def test_an_infinite_temperature_is_uniform() -> None:
    assert set(picks(Sampler(temperature=math.inf, seed=0), LOGITS, 200)) == {0, 1, 2, 3, 4}


def test_a_token_of_minus_infinity_never_comes() -> None:
    logits = torch.tensor([0.0, -math.inf, 0.0])
    assert set(picks(Sampler(temperature=5.0, seed=0), logits, 100)) == {0, 2}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_overflowed_are_an_error_and_no_id(temperature: float, bad: float) -> None:
    with pytest.raises(ValueError, match=r"largest logit is (nan|inf).*overflowed"):
        Sampler(temperature=temperature, seed=0).pick(torch.tensor([0.0, bad, 1.0]))


@pytest.mark.parametrize("arguments, message", [
    ({"temperature": -0.1}, "temperature is -0.1; it must be 0"),
    ({"temperature": math.nan}, "temperature is nan"),
    ({"top_p": 0.0}, r"top_p is 0.0; it must lie in \(0, 1\]"),
    ({"top_p": 1.01}, "top_p is 1.01"),
    ({"top_p": math.nan}, "top_p is nan"),
    ({"seed": -1}, "seed is -1; it must be an integer from 0"),
    ({"seed": 2**63}, "seed is 9223372036854775808"),
    ({"seed": 1.5}, "seed is 1.5"),
])  # fmt: skip
def test_bad_arguments_are_refused_with_what_is_allowed(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampler(**arguments)
