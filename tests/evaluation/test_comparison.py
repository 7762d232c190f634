import dataclasses
import math

import numpy as np
import pytest

from evaluation.comparison import (
    HISTOGRAM_EDGES,
    difference_of,
    figures_of,
    histogram_of,
    nearest,
    part_of,
    restoration_of,
)
from evaluation.intervals import Resamples
from tests.evaluation.synthetic_things import make_things


def test_the_recovered_share_is_that_of_the_definition_and_its_interval_holds_it():
    float_, ptq, qat = make_things(ptq=(0.16, 0.18), qat=(0.016, 0.03))
    found = restoration_of(float_, ptq, qat, Resamples(60))
    nll = [np.concatenate([d.nll for d in thing.documents]).mean() for thing in (float_, ptq, qat)]
    kl = [np.concatenate([d.kl for d in thing.documents]).mean() for thing in (ptq, qat)]
    assert found.recovered.value == pytest.approx((nll[1] - nll[2]) / (nll[1] - nll[0]), rel=1e-12)
    assert found.kl_ratio.value == pytest.approx(kl[1] / kl[0], rel=1e-12)
    assert found.excess.value == pytest.approx(found.recovered.value - 1 + found.kl_ratio.value, rel=1e-12)
    assert found.recovered.low < 0.9 < found.recovered.high  # what the things were made with
    assert found.kl_ratio.low < 1 / 6 < found.kl_ratio.high
    assert found.recovered.high - found.recovered.low < 0.1  # hard documents cancel out of the pair


def test_a_loss_that_the_documents_do_not_show_gives_no_recovered_share():
    float_, ptq, qat = make_things(documents=10, tokens=20, ptq=(0.0001, 0.18), qat=(0.0, 0.03))
    found = restoration_of(float_, ptq, qat, Resamples(10))
    assert found.recovered is None and found.excess is None
    assert found.kl_ratio.high < 0.5


def test_pairing_makes_the_interval_of_a_difference_narrower_than_the_things_own():
    float_, ptq = make_things(ptq=(0.16, 0.18))
    resamples = Resamples(60)
    difference, alone = difference_of(ptq, float_, resamples).nll, figures_of(float_, resamples).perplexity
    assert difference.low > 0
    assert difference.high - difference.low < 0.2 * math.log(alone.high / alone.low)


def test_figures_are_plain_means_over_all_tokens():
    _, ptq = make_things(ptq=(0.16, 0.18))
    found = figures_of(ptq, Resamples(60))
    nll = np.concatenate([d.nll for d in ptq.documents])
    kl = np.concatenate([d.kl for d in ptq.documents])
    assert found.perplexity.value == pytest.approx(math.exp(nll.mean()), rel=1e-12)
    assert found.bits_per_byte.value == pytest.approx(nll.sum() / math.log(2) / (60 * 200), rel=1e-12)
    assert found.kl_mean.value == pytest.approx(kl.mean(), rel=1e-12)
    assert np.quantile(kl, 0.985) < found.kl_p99.value < np.quantile(kl, 0.995)
    assert found.agreement.value == pytest.approx(np.concatenate([d.agree for d in ptq.documents]).mean(), rel=1e-12)
    assert found.tasks["arc_easy"].value == pytest.approx(ptq.tasks[0].correct.mean())


def test_the_float_model_has_no_figure_against_itself():
    found = figures_of(make_things()[0], Resamples(60))
    assert found.kl_mean is None and found.kl_p99 is None and found.agreement is None


def test_a_difference_from_float_is_the_kl_and_has_no_difference_of_agreement():
    float_, ptq = make_things(ptq=(0.16, 0.18))
    found = difference_of(ptq, float_, Resamples(60))
    assert found.agreement is None
    assert found.kl == figures_of(ptq, Resamples(60)).kl_mean


def test_a_histogram_counts_every_token_once_at_its_bin():
    _, ptq = make_things(documents=2, tokens=4, ptq=(0.1, 0.1))
    first = dataclasses.replace(ptq.documents[0], kl=np.array([0.0, 1e-9, HISTOGRAM_EDGES[0], 0.5]))
    second = dataclasses.replace(ptq.documents[1], kl=np.array([0.5, 0.51, 99.0, HISTOGRAM_EDGES[-1]]))
    found = histogram_of(dataclasses.replace(ptq, documents=[first, second]))
    assert len(found.tokens) == len(HISTOGRAM_EDGES) + 1
    assert sum(found.tokens) == 8
    assert found.tokens[0] == 2 and found.tokens[1] == 1 and found.tokens[-1] == 2
    place = int(np.searchsorted(HISTOGRAM_EDGES, 0.5, side="right"))
    assert HISTOGRAM_EDGES[place - 1] <= 0.5 < HISTOGRAM_EDGES[place] and found.tokens[place] == 3


def test_the_nearest_thing_is_that_with_the_lowest_kl_not_the_lowest_perplexity():
    _, *things = make_things(tempted=(-0.3, 0.2), faithful=(0.02, 0.05))
    assert nearest(things) == "faithful"


def test_a_part_of_the_documents_is_scored_as_if_there_were_no_others():
    things = make_things(ptq=(0.16, 0.18))
    part = part_of(things, range(4, 60, 5))
    assert [d.name for d in part[1].documents] == [str(n) for n in range(5, 61, 5)]
    assert figures_of(part[0], Resamples(12)).perplexity != figures_of(things[0], Resamples(60)).perplexity


def test_things_that_saw_other_tokens_are_not_compared():
    float_, ptq = make_things(ptq=(0.1, 0.1))
    (other,) = make_things(seed=1)
    with pytest.raises(ValueError, match="different tokens"):
        difference_of(ptq, other, Resamples(60))
    with pytest.raises(ValueError, match="different tokens"):
        restoration_of(other, ptq, ptq, Resamples(60))
    shorter = dataclasses.replace(ptq.tasks[0], correct=ptq.tasks[0].correct[:-1])
    with pytest.raises(ValueError, match="39 questions against 40"):
        difference_of(dataclasses.replace(ptq, tasks=(shorter,)), float_, Resamples(60))
