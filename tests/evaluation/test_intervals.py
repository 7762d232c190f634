"""Intervals against scipy's bootstrap and against brute force, and whether they hold the truth as often as they say."""

import math

import numpy as np
import pytest
from scipy import stats

from evaluation.intervals import Resamples, exp_interval, paired_difference
from evaluation.scores import DocumentScore, Interval

GENERATOR = np.random.default_rng(7)
LENGTHS = GENERATOR.integers(5, 90, size=40)
NATS = LENGTHS * GENERATOR.gamma(4.0, 0.4, size=40)


def document(nll, kl=None, tokens=None):
    nll = np.asarray(nll, dtype=np.float64)
    return DocumentScore(
        nll=nll, kl=kl, agree=None, bytes=4 * len(nll), tokens=tokens if tokens is not None else range(len(nll) + 1)
    )


def test_a_mean_over_tokens_has_the_interval_that_scipy_gives_it():
    ours = Resamples(40, resamples=9999).ratio(NATS, LENGTHS.astype(float))
    theirs = stats.bootstrap(
        (NATS, LENGTHS), lambda nats, tokens, axis: nats.sum(axis) / tokens.sum(axis), paired=True, vectorized=True,
        method="percentile", n_resamples=9999, rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    width = theirs.high - theirs.low
    assert ours.value == pytest.approx(NATS.sum() / LENGTHS.sum())
    assert abs(ours.low - theirs.low) < 0.05 * width and abs(ours.high - theirs.high) < 0.05 * width


def test_an_interval_holds_the_truth_nineteen_times_of_twenty():
    generator, held = np.random.default_rng(3), 0
    for seed in range(200):
        tokens = generator.integers(20, 60, size=60).astype(float)
        hardness = generator.normal(2.0, 0.5, size=60)  # of whole documents: their tokens are alike
        found = Resamples(60, resamples=400, seed=seed).ratio(hardness * tokens, tokens)
        held += found.low <= 2.0 <= found.high
    assert 0.90 < held / 200 < 0.98


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_a_percentile_is_the_one_of_each_resample_written_out(share):
    parts = [GENERATOR.exponential(size=size) for size in (3, 50, 1, 200, 17, 90)]
    resamples = Resamples(6, resamples=200)
    found = resamples.quantile(parts, share)
    written_out = [
        np.quantile(np.concatenate([np.repeat(part, int(n)) for part, n in zip(parts, row, strict=True)]), share,
                    method="inverted_cdf")
        for row in resamples.draws
    ]  # fmt: skip
    assert found.value == np.quantile(np.concatenate(parts), share, method="inverted_cdf")
    assert (found.low, found.high) == tuple(np.quantile(written_out, [0.025, 0.975]))


def test_a_paired_difference_is_far_narrower_than_the_two_intervals_that_it_compares():
    hard = [GENERATOR.gamma(4.0, 0.5) for _ in range(50)]
    ours = [document(np.full(30, nats + 0.10) + GENERATOR.normal(0, 0.02, 30)) for nats in hard]
    theirs = [document(np.full(30, nats)) for nats in hard]
    resamples = Resamples(50)
    difference = paired_difference(ours, theirs, "nll", resamples)
    alone = resamples.ratio(np.array([d.nll.sum() for d in ours]), np.full(50, 30.0))
    assert difference.low < 0.10 < difference.high
    assert difference.high - difference.low < 0.05 * (alone.high - alone.low)


def test_a_difference_of_kl_takes_the_reference_itself_as_zero():
    ours, itself = [document([1.0, 2.0], kl=np.array([0.2, 0.4]))] * 3, [document([1.0, 2.0])] * 3
    assert paired_difference(ours, itself, "kl", Resamples(3)).value == pytest.approx(0.3)


def test_a_difference_over_different_tokens_is_refused():
    ours, theirs = [document([1.0, 2.0], tokens=[1, 2, 3])], [document([1.0, 2.0], tokens=[1, 2, 4])]
    with pytest.raises(ValueError, match="scored on different tokens"):
        paired_difference(ours, theirs, "nll", Resamples(1))
    with pytest.raises(ValueError, match="no paired difference of 'ppl'; known: 'nll', 'kl'"):
        paired_difference(ours, ours, "ppl", Resamples(1))


def test_any_function_of_sums_has_an_interval_over_the_same_draws():
    resamples, tokens = Resamples(40), LENGTHS.astype(float)
    found = resamples.statistic(lambda sums: np.exp(sums[0] / sums[1]), NATS, tokens)
    mean = exp_interval(resamples.ratio(NATS, tokens))
    assert (found.value, found.low, found.high) == pytest.approx((mean.value, mean.low, mean.high), rel=1e-5)


def test_one_document_has_a_value_and_no_bounds():
    found = Resamples(1).ratio(np.array([6.0]), np.array([3.0]))
    assert found.value == 2.0 and math.isnan(found.low) and math.isnan(found.high)
    assert found.to_json() == {"value": 2.0, "low": None, "high": None}
    with pytest.raises(ValueError, match="nothing to draw from"):
        Resamples(0)


def test_the_same_seed_draws_the_same_and_the_draws_are_whole_documents():
    first, again, other = Resamples(9), Resamples(9), Resamples(9, seed=1)
    assert (first.draws == again.draws).all() and (first.draws != other.draws).any()
    assert (first.draws.sum(axis=1) == 9).all() and first.draws.shape == (1000, 9)


def test_a_loss_beyond_all_measure_is_refused():
    with pytest.raises(ValueError, match="loses 1000 nats a token"):
        exp_interval(Interval(value=1000.0, low=1.0, high=2.0))
