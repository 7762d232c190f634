"""The figures of a comparison, from scored documents: each thing by itself, pairs of things, and what QAT won back.

Everything is drawn from the same resamples of the documents, so that what all things share cancels in a difference.
Knows no model, no file and no page. Loads no torch. Legend: D documents, K sums, R resamples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from evaluation.intervals import Resamples, exp_interval, kl_sums, nll_sums, token_counts
from evaluation.scores import Floats, Interval, TaskScore, ThingScores

Role = Literal["float", "ptq", "qat"]

HISTOGRAM_EDGES = tuple(10.0 ** (quarter / 4) for quarter in range(-28, 7))  # nats: 1e-7 to 32, four bins a decade


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One thing on the reported documents."""

    perplexity: Interval
    bits_per_byte: Interval
    kl_mean: Interval | None  # nats a token; None for the float model itself, as the next two
    kl_p99: Interval | None  # nats
    agreement: Interval | None  # share of tokens whose likeliest successor is the float model's
    tasks: dict[str, Interval]  # accuracies


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The first thing less the second: token by token of the same documents, question by question of the same tasks."""

    first: str
    second: str
    nll: Interval  # nats a token; positive: the first is worse
    kl: Interval | None  # nats a token, to the float model; against the float model itself this is the KL
    agreement: Interval | None  # share of tokens; None against the float model
    tasks: dict[str, Interval]  # accuracies; positive: the first is better


@dataclass(frozen=True, kw_only=True)
class Restoration:
    """What a QAT thing won back of what a PTQ thing lost, all by the same resamples."""

    qat: str
    ptq: str
    ptq_loss: Interval  # nats a token above the float model
    qat_loss: Interval
    gain: Interval  # nats a token by which QAT is below PTQ
    recovered: Interval | None  # gain / ptq_loss; None where the documents do not show that PTQ lost anything
    kl_ratio: Interval  # mean KL of QAT / mean KL of PTQ
    kl_gain: Interval  # mean KL of PTQ - mean KL of QAT, nats a token
    excess: Interval | None  # recovered - (1 - kl_ratio): perplexity won back beyond the share of the KL


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Tokens of one thing by their KL to the float model."""

    name: str
    tokens: tuple[int, ...]  # below the first of `HISTOGRAM_EDGES`, between neighbours, from the last on


def part_of(things: Sequence[ThingScores], indices: Sequence[int]) -> list[ThingScores]:
    """The things as if only some documents (by their place in the list) had been scored; the tasks stay."""
    return [replace(thing, documents=[thing.documents[i] for i in indices]) for thing in things]


def figures_of(thing: ThingScores, resamples: Resamples) -> Figures:
    """One thing's figures; without a KL they are those of the reference."""
    documents = thing.documents
    counts, nll = token_counts(documents), nll_sums(documents)
    has_kl = all(document.kl is not None for document in documents)
    return Figures(
        perplexity=exp_interval(resamples.ratio(nll, counts)),
        bits_per_byte=resamples.ratio(nll / math.log(2), np.array([float(document.bytes) for document in documents])),
        kl_mean=resamples.ratio(kl_sums(documents), counts) if has_kl else None,
        kl_p99=resamples.quantile([d.kl for d in documents if d.kl is not None], 0.99) if has_kl else None,
        agreement=resamples.ratio(_agreed(thing), counts) if has_kl else None,
        tasks={task.name: _accuracy(task) for task in thing.tasks},
    )


def difference_of(first: ThingScores, second: ThingScores, resamples: Resamples) -> Difference:
    """How two things differ on the same tokens.

    Raises:
        ValueError: they were scored on different tokens or questions.
    """
    _check_same(first, second)
    counts = token_counts(first.documents)
    is_reference = any(document.kl is None for document in second.documents)
    agreement = None if is_reference else resamples.difference(_agreed(first), _agreed(second), counts)
    theirs = {task.name: task for task in second.tasks}
    return Difference(
        first=first.name,
        second=second.name,
        nll=resamples.difference(nll_sums(first.documents), nll_sums(second.documents), counts),
        kl=resamples.difference(kl_sums(first.documents), kl_sums(second.documents), counts),
        agreement=agreement,
        tasks={task.name: _accuracy_difference(task, theirs[task.name]) for task in first.tasks},
    )


def restoration_of(float_: ThingScores, ptq: ThingScores, qat: ThingScores, resamples: Resamples) -> Restoration:
    """What `qat` won back of what `ptq` lost."""
    for thing in (ptq, qat):
        _check_same(float_, thing)
    nll = [nll_sums(thing.documents) for thing in (float_, ptq, qat)]
    kl = [kl_sums(thing.documents) for thing in (ptq, qat)]
    counts = token_counts(float_.documents)
    loss = resamples.difference(nll[1], nll[0], counts)
    is_shown = loss.low > 0
    return Restoration(
        qat=qat.name,
        ptq=ptq.name,
        ptq_loss=loss,
        qat_loss=resamples.difference(nll[2], nll[0], counts),
        gain=resamples.difference(nll[1], nll[2], counts),
        recovered=resamples.statistic(_recovered, *nll) if is_shown else None,
        kl_ratio=resamples.statistic(_ratio, *kl),
        kl_gain=resamples.difference(kl[0], kl[1], counts),
        excess=resamples.statistic(_excess, *nll, *kl) if is_shown else None,
    )


def histogram_of(thing: ThingScores) -> Histogram:
    """The tokens of a thing by their KL; not for the reference."""
    values = np.concatenate([document.kl for document in thing.documents if document.kl is not None])
    counted = np.bincount(np.searchsorted(HISTOGRAM_EDGES, values, side="right"), minlength=len(HISTOGRAM_EDGES) + 1)
    return Histogram(name=thing.name, tokens=tuple(int(count) for count in counted))


def nearest(things: Sequence[ThingScores]) -> str:
    """The name of the thing with the lowest mean KL to the float model; the first of equals."""
    return min(things, key=lambda thing: kl_sums(thing.documents).sum() / token_counts(thing.documents).sum()).name


def _recovered(sums_KR: Floats) -> Floats:
    float_, ptq, qat = sums_KR
    return _quotient(ptq - qat, ptq - float_)


def _ratio(sums_KR: Floats) -> Floats:
    ptq, qat = sums_KR
    return _quotient(qat, ptq)


def _excess(sums_KR: Floats) -> Floats:
    return _recovered(sums_KR[:3]) - 1 + _ratio(sums_KR[3:])


def _quotient(above: Floats, below: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(above / below)


def _agreed(thing: ThingScores) -> Floats:
    """[D] tokens on which a thing agrees with the float model."""
    return np.array([0.0 if document.agree is None else float(document.agree.sum()) for document in thing.documents])


def _accuracy(task: TaskScore) -> Interval:
    correct = task.correct.astype(np.float64)
    return Resamples(len(correct)).ratio(correct, np.ones(len(correct)))


def _accuracy_difference(ours: TaskScore, theirs: TaskScore) -> Interval:
    if len(ours.correct) != len(theirs.correct):
        raise ValueError(f"task {ours.name}: {len(ours.correct)} questions against {len(theirs.correct)}; score again")
    paired = ours.correct.astype(np.float64) - theirs.correct
    return Resamples(len(paired)).ratio(paired, np.ones(len(paired)))


def _check_same(first: ThingScores, second: ThingScores) -> None:
    ours, theirs = ([list(document.tokens) for document in thing.documents] for thing in (first, second))
    if ours != theirs:
        raise ValueError(
            f"{first.name} and {second.name} were scored on different tokens, so no difference of the two means "
            "anything; compare things with one tokenizer"
        )
