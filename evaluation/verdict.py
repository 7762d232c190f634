"""The comparison in one sentence: what QAT won back, or that it adapted to the text, or that nothing can be told.

Perplexity on a text falls when a model comes back to the float model, and also when it learns the text. KL to the float
model falls only in the first case, so the two are read together. Decides on intervals, never on bare values.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from evaluation.comparison import Difference, Restoration
from evaluation.report_words import higher, percent, scaled, span
from evaluation.scores import Interval

Finding = Literal[
    "restored", "partly restored", "adaptation", "no loss", "not separated", "worse", "no QAT", "no PTQ", "float only"
]

# Recovered share of perplexity above the recovered share of KL that is taken for adaptation (docs/numerics.md).
MOST_EXCESS = 0.25
MOST_KL_OF_A_RETURN = 0.5  # of PTQ's; a QAT thing that kept more did not come back, whatever its perplexity says
LEAST_RECOVERED = 0.5  # of the perplexity that PTQ lost; with less of it or more of the KL a thing is partly restored


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A finding, and the sentence that says it with its figures."""

    finding: Finding
    sentence: str
    about: str | None  # the QAT thing, or the PTQ one where there is no QAT

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def judge(found: Restoration) -> Verdict:
    """What one QAT thing did, measured against the best PTQ."""
    finding, sentence = (
        _adaptation(found) or _worse(found) or _no_loss(found) or _not_separated(found) or _restored(found)
    )
    return Verdict(finding=finding, sentence=sentence, about=found.qat)


def judge_without(loss: Difference | None, *, has_qat: bool) -> Verdict:
    """The verdict where PTQ or QAT is missing.

    Args:
        loss: the best PTQ, or without any the QAT thing, less the float model; None where only the float one is there.
    """
    if loss is None:
        sentence = "Only the float model was scored; add --ptq and --qat to compare it with something."
        return Verdict(finding="float only", sentence=sentence, about=None)
    finding: Finding = "no PTQ" if has_qat else "no QAT"
    missing = "no PTQ was scored that it could be measured against" if has_qat else "no QAT was scored"
    cost = f"has a perplexity {higher(loss.nll)} than the float model's"
    if not separates(loss.nll):
        cost += ", which these documents do not separate from no difference at all,"
    kl = "" if loss.kl is None else f" and a KL to it of {span(loss.kl)} nats a token"
    return Verdict(finding=finding, sentence=f"{loss.first} {cost}{kl}; {missing}.", about=loss.first)


def separates(difference: Interval) -> bool:
    """Whether the interval of a difference leaves out zero."""
    return difference.low > 0 or difference.high < 0


def is_adaptation(found: Restoration) -> bool:
    """Perplexity below the float model's, or won back from PTQ's far beyond what the KL allows."""
    is_beyond = found.excess is not None and found.excess.low > MOST_EXCESS and found.gain.low > 0
    return found.qat_loss.high < 0 or is_beyond


def _adaptation(found: Restoration) -> tuple[Finding, str] | None:
    if not is_adaptation(found):
        return None
    if found.qat_loss.high < 0:
        share = "" if found.recovered is None else f", as if {percent(found.recovered)} of the loss were recovered"
        seen = f"its perplexity is {higher(found.qat_loss)} than the float model's{share}"
    else:
        assert found.recovered is not None  # an excess is made of it
        seen = f"it recovers {percent(found.recovered)} of the perplexity that {found.ptq} lost"
    if found.kl_ratio.value > MOST_KL_OF_A_RETURN:
        return "adaptation", (
            f"{found.qat} shows adaptation: {seen}, while its KL to the float model is still {_ratio(found)}, so it "
            "moved towards this text instead of back to the float model, and perplexity alone misleads."
        )
    return "adaptation", (
        f"{found.qat} came back in part, with a KL to the float model that is {_ratio(found)}, and shows adaptation to "
        f"this text: {seen}, so perplexity alone overstates what was restored."
    )


def _worse(found: Restoration) -> tuple[Finding, str] | None:
    is_farther, is_unlikelier = found.kl_gain.high < 0, found.gain.high < 0
    kl = f"its KL to the float model is {_ratio(found)}"
    perplexity = f"its perplexity is {higher(scaled(found.gain, -1))} than {found.ptq}'s"
    if is_farther and is_unlikelier:
        seen = f"{perplexity} and {kl}"
    elif is_farther:
        seen = f"{kl}, though {perplexity}"
    elif is_unlikelier:
        seen = f"{perplexity}, though {kl}"
    else:
        return None
    share = "" if found.recovered is None else f" (perplexity recovered: {percent(found.recovered)})"
    return "worse", f"{found.qat} did worse than {found.ptq}, the best PTQ: {seen}{share}."


def _no_loss(found: Restoration) -> tuple[Finding, str] | None:
    if found.recovered is not None:
        return None
    return "no loss", (
        f"These documents do not show that {found.ptq}, the best PTQ, costs perplexity (it is {higher(found.ptq_loss)} "
        f"than the float model's), so there is no loss to recover; {found.qat}'s KL to the float model is "
        f"{_ratio(found)}."
    )


def _not_separated(found: Restoration) -> tuple[Finding, str] | None:
    if separates(found.gain) or separates(found.kl_gain):
        return None
    assert found.recovered is not None  # or `_no_loss` has spoken
    return "not separated", (
        f"These documents do not separate {found.qat} from {found.ptq}, the best PTQ: it recovers "
        f"{percent(found.recovered)} of the lost perplexity, and its KL to the float model is {_ratio(found)}; score "
        "more text."
    )


def _restored(found: Restoration) -> tuple[Finding, str]:
    assert found.recovered is not None  # or `_no_loss` has spoken
    unclear = [what for what, gain in (("perplexity", found.gain), ("KL", found.kl_gain)) if not separates(gain)]
    rest = f", though these documents do not separate the two in {unclear[0]}" if unclear else ""
    is_partly = found.recovered.value < LEAST_RECOVERED or found.kl_ratio.value > MOST_KL_OF_A_RETURN
    return "partly restored" if is_partly else "restored", (
        f"{found.qat} recovers {percent(found.recovered)} of the perplexity that {found.ptq}, the best PTQ, lost, and "
        f"its KL to the float model is {_ratio(found)}{rest}."
    )


def _ratio(found: Restoration) -> str:
    return f"{span(found.kl_ratio, 2)} of {found.ptq}'s"
