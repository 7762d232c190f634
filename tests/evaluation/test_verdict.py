import re

import pytest

from evaluation.comparison import Restoration, difference_of, restoration_of
from evaluation.intervals import Resamples
from evaluation.verdict import judge, judge_without
from tests.evaluation.synthetic_things import make_things


def restoration(ptq, qat, *, documents=60, tokens=50) -> Restoration:
    """Of things that are (nats above float, mean KL)."""
    return restoration_of(*make_things(documents, tokens, rtn=ptq, qat=qat), Resamples(documents))


def test_self_distillation_as_in_the_prototype_is_restoration():
    # Perplexity 4.545 float, 5.356 PTQ with KL 0.185, 4.685 QAT with KL 0.039.
    found = judge(restoration((0.1642, 0.185), (0.0303, 0.039)))
    assert found.finding == "restored"
    assert re.search(r"qat recovers 8\d\.\d % \(7\d\.\d to 8\d\.\d\) of the perplexity that rtn", found.sentence)
    assert re.search(r"KL to the float model is 0\.2\d \(0\.\d\d to 0\.\d\d\) of rtn's\.$", found.sentence)


def test_cross_entropy_training_as_in_the_prototype_is_adaptation():
    # Perplexity 3.908, below float's 4.545, with KL 0.198.
    found = judge(restoration((0.1642, 0.185), (-0.151, 0.198)))
    assert found.finding == "adaptation"
    assert "lower than the float model's" in found.sentence
    assert "perplexity alone misleads" in found.sentence
    assert re.search(r"still 1\.\d\d \(", found.sentence)


def test_perplexity_that_comes_back_much_farther_than_kl_is_adaptation_even_above_float():
    found = judge(restoration((0.1642, 0.185), (0.01, 0.15)))
    assert found.finding == "adaptation"
    assert "it recovers 9" in found.sentence


def test_adaptation_beside_a_real_return_is_said_as_such():
    found = judge(restoration((0.1642, 0.185), (-0.03, 0.03)))
    assert found.finding == "adaptation"
    assert "came back in part" in found.sentence and "overstates" in found.sentence


def test_what_the_issue_aims_at_is_not_taken_for_adaptation():
    assert judge(restoration((0.1642, 0.185), (0.01642, 0.046))).finding == "restored"


def test_equal_things_are_said_to_be_inseparable():
    found = judge(restoration((0.16, 0.18), (0.16, 0.18), documents=20))
    assert found.finding == "not separated"
    assert "do not separate qat from rtn" in found.sentence and "score more text" in found.sentence


def test_less_than_half_of_the_way_is_partly_restored():
    for qat in ((0.1, 0.06), (0.05, 0.11)):
        found = judge(restoration((0.1642, 0.185), qat))
        assert found.finding == "partly restored" and found.sentence.startswith("qat recovers")


def test_a_gain_in_kl_alone_says_that_perplexity_does_not_separate_the_two():
    found = judge(restoration((0.03, 0.18), (0.0299, 0.03), documents=40))
    assert found.finding == "partly restored"
    assert "do not separate the two in perplexity" in found.sentence


def test_qat_that_made_it_worse_is_said_to_have():
    found = judge(restoration((0.1, 0.1), (0.2, 0.25)))
    assert found.finding == "worse"
    assert "did worse than rtn" in found.sentence and "higher than rtn's and its KL" in found.sentence


def test_a_better_perplexity_with_a_slightly_worse_kl_is_worse_or_adaptation_never_restored():
    for qat in ((0.09, 0.14), (0.05, 0.14), (0.0, 0.14)):
        assert judge(restoration((0.1, 0.1), qat)).finding in ("worse", "adaptation")


def test_where_ptq_lost_nothing_there_is_nothing_to_recover():
    found = judge(restoration((0.0, 0.02), (0.0, 0.01)))
    assert found.finding == "no loss"
    assert "no loss to recover" in found.sentence and "0.5" in found.sentence


def test_one_document_gives_no_interval_and_no_claim():
    found = judge(restoration((0.16, 0.18), (0.02, 0.03), documents=1))
    assert found.finding == "no loss"
    assert "no interval" in found.sentence and "nan" not in found.sentence


@pytest.mark.parametrize(("has_qat", "finding"), [(False, "no QAT"), (True, "no PTQ")])
def test_without_a_counterpart_the_cost_alone_is_said(has_qat, finding):
    float_, thing = make_things(thing=(0.16, 0.18))
    found = judge_without(difference_of(thing, float_, Resamples(60)), has_qat=has_qat)
    assert found.finding == finding
    assert re.search(r"thing has a perplexity 1\d\.\d % \(.*\) higher .* KL to it of 0\.1\d\d \(", found.sentence)


def test_the_float_model_alone_is_no_comparison():
    assert judge_without(None, has_qat=False).finding == "float only"


def test_every_verdict_is_one_sentence():
    cases = [((0.16, 0.18), (a, k)) for a in (-0.1, 0.0, 0.02, 0.16, 0.3) for k in (0.02, 0.17, 0.3)]
    for ptq, qat in cases:
        sentence = judge(restoration(ptq, qat, documents=30)).sentence
        assert sentence.endswith(".") and not re.search(r"\. [A-Z]", sentence) and "nan" not in sentence
