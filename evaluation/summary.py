"""The figures of a thing, each with its interval, as data and as lines for a reader. Loads no torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.intervals import Resamples, exp_interval, kl_sums, nll_sums, token_counts
from evaluation.scores import Floats, Interval, TaskScore, ThingScores

TAIL = 0.99  # the percentile of KL that is told beside its mean: what the worst tokens lose


@dataclass(frozen=True, kw_only=True)
class ThingSummary:
    """A thing on the text. Nats a token for `nll` and KL; `agreement` is a share of tokens."""

    nll: Interval
    perplexity: Interval
    bits_per_byte: Interval
    kl_mean: Interval | None  # None: there is no reference, or it is the thing itself
    kl_p99: Interval | None
    agreement: Interval | None
    tokens_per_s: float

    def to_json(self) -> dict[str, Any]:
        names = ("nll", "perplexity", "bits_per_byte", "kl_mean", "kl_p99", "agreement")
        figures = {name: getattr(self, name) for name in names}
        return {name: None if figure is None else figure.to_json() for name, figure in figures.items()} | {
            "tokens_per_s": round(self.tokens_per_s, 1)
        }


def summarize(thing: ThingScores, resamples: Resamples) -> ThingSummary:
    """The intervals of one thing's text figures.

    Args:
        resamples: of as many documents as were scored, the same for every thing.

    Raises:
        ValueError: a perplexity beyond all measure.
    """
    documents = thing.documents
    nats, tokens = nll_sums(documents), token_counts(documents)
    size = np.array([document.bytes for document in documents], dtype=np.float64)
    nll = resamples.ratio(nats, tokens)
    kl = [document.kl for document in documents if document.kl is not None]
    agreed = np.array([document.agree.sum() for document in documents if document.agree is not None], dtype=np.float64)
    return ThingSummary(
        nll=nll,
        perplexity=exp_interval(nll),
        bits_per_byte=resamples.ratio(nats / math.log(2), size),
        kl_mean=resamples.ratio(kl_sums(documents), tokens) if kl else None,
        kl_p99=resamples.quantile(kl, TAIL) if kl else None,
        agreement=resamples.ratio(agreed, tokens) if kl else None,
        tokens_per_s=thing.num_tokens / thing.seconds if thing.seconds else math.inf,
    )


@dataclass(frozen=True, kw_only=True)
class TaskSummary:
    """One task under one thing: shares of right answers."""

    name: str
    form: str
    questions: int
    accuracy: Interval  # by summed log-likelihood, or of greedy completions
    accuracy_by_length: Interval | None  # by log-likelihood a byte
    gold_nll: Interval  # nats of the right text
    cut: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        by_length = self.accuracy_by_length
        return {
            "name": self.name,
            "form": self.form,
            "questions": self.questions,
            "accuracy": self.accuracy.to_json(),
            "accuracy_by_length": None if by_length is None else by_length.to_json(),
            "gold_nll": self.gold_nll.to_json(),
            "cut": self.cut,
            "seconds": round(self.seconds, 3),
        }


def summarize_task(task: TaskScore) -> TaskSummary:
    """Its shares with intervals; a question is drawn as a whole."""
    resamples = Resamples(len(task.correct))

    def share(values: Floats) -> Interval:
        return resamples.ratio(values, np.ones_like(values))

    by_length = task.correct_by_length
    return TaskSummary(
        name=task.name,
        form=task.form,
        questions=len(task.correct),
        accuracy=share(task.correct.astype(np.float64)),
        accuracy_by_length=None if by_length is None else share(by_length.astype(np.float64)),
        gold_nll=share(task.gold_nll),
        cut=task.cut,
        seconds=task.seconds,
    )


def thing_lines(thing: ThingScores, summary: ThingSummary | None, reference: str | None) -> list[str]:
    """A thing for people: what it is, its figures with their 95 % intervals, and how it was run."""
    recipe = "" if thing.recipe is None else f", {thing.recipe}" + (f" by {thing.method}" if thing.method else "")
    lines = [f"{thing.name}: {thing.kind}{recipe}, {thing.bytes:,} bytes"]
    if summary is not None:
        lines.append(
            f"  perplexity {shown(summary.perplexity)}, {shown(summary.bits_per_byte)} bits a byte "
            f"({thing.num_tokens:,} tokens)"
        )
        if summary.kl_mean is not None and summary.kl_p99 is not None and summary.agreement is not None:
            lines.append(
                f"  against {reference}: KL {shown(summary.kl_mean)} nats a token, 99 % below {shown(summary.kl_p99)}; "
                f"the same first choice {shown(summary.agreement, percent=True)}"
            )
    lines += [task_line(summarize_task(task)) for task in thing.tasks]
    for task, metrics in thing.harness.items():
        figures = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items() if isinstance(value, float))
        lines.append(f"  lm-eval {task}: {figures}")
    speed = "" if summary is None else f", {summary.tokens_per_s:,.0f} tokens/s"
    lines += [f"  warning: {warning}" for warning in thing.warnings]
    return [*lines, f"  run by {thing.kernels}: {thing.how}{speed}"]


def task_line(task: TaskSummary) -> str:
    """A task for people."""
    cut = f"; {task.cut} texts cut from the left" if task.cut else ""
    if task.accuracy_by_length is None:
        return f"  {task.name}: {shown(task.accuracy, percent=True)} written exactly, of {task.questions:,}{cut}"
    return (
        f"  {task.name}: {shown(task.accuracy_by_length, percent=True)} right by likelihood a byte, "
        f"{shown(task.accuracy, percent=True)} by likelihood, of {task.questions:,}{cut}"
    )


def shown(interval: Interval, *, percent: bool = False) -> str:
    """`3.8406 [3.7912, 3.8925]`, or `84.3 % [83.9, 84.8]`; without bounds where there are none."""
    scale, digits = (100, 1) if percent else (1, 4)
    value, low, high = (f"{scale * x:.{digits}f}" for x in (interval.value, interval.low, interval.high))
    bounds = "" if math.isnan(interval.low) else f" [{low}, {high}]"
    return f"{value} %{bounds}" if percent else f"{value}{bounds}"


def to_lines(things: Sequence[ThingScores], resamples: Resamples | None, reference: str | None) -> list[str]:
    """All things for people."""
    return [
        line
        for thing in things
        for line in thing_lines(thing, None if resamples is None else summarize(thing, resamples), reference)
    ]
