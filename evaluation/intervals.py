"""Confidence intervals by the bootstrap over documents: whole documents are drawn, because tokens of one are alike.

The percentile bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). The same
resamples serve every thing, so the difference of two things is paired: what a hard document costs both cancels out.
Loads no torch. Legend: R resamples, N documents (or questions).
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.scores import DocumentScore, Floats, Interval

RESAMPLES = 1000
SEED = 0
LEVEL = 0.95

_TAIL = 4  # a quantile is first looked for among so many times the share of values that lie above it
_CELLS = 1 << 24  # of resamples times values in memory at once


class Resamples:
    """How often each resample draws each document.

    Args:
        count: N documents, at least 1. With one there is nothing to draw, and every bound is NaN.

    Raises:
        ValueError: no document.
    """

    def __init__(self, count: int, *, resamples: int = RESAMPLES, seed: int = SEED) -> None:
        if count < 1:
            raise ValueError("there is nothing to draw from: no document was scored")
        self.count = count
        generator = np.random.default_rng(seed)
        self.draws: Floats = generator.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)

    def ratio(self, sums: Floats, weights: Floats) -> Interval:
        """Sum over documents of `sums` [N] divided by that of `weights` [N]: a mean over all their tokens."""
        return self._interval(float(sums.sum() / weights.sum()), self.ratios(sums, weights))

    def ratios(self, sums: Floats, weights: Floats) -> Floats:
        """The same in each resample, [R]; NaN where a resample drew no token at all."""
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = (self.draws @ sums) / (self.draws @ weights)
        return found

    def difference(self, ours: Floats, theirs: Floats, weights: Floats) -> Interval:
        """The mean of `ours` less that of `theirs`, both [N] sums over the same tokens, paired by document."""
        return self.ratio(ours - theirs, weights)

    def statistic(self, value: Callable[[Floats], Floats], *sums: Floats) -> Interval:
        """Any function of sums over documents, such as the share of a loss that was won back.

        Args:
            value: takes [K, R] sums of each of the K given, and returns [R].
            sums: K arrays [N].
        """
        whole = np.stack([part.sum() for part in sums])[:, None]
        return self._interval(float(value(whole)[0]), value(np.stack([self.draws @ part for part in sums])))

    def quantile(self, parts: Sequence[Floats], share: float) -> Interval:
        """The value below which `share` of all values of all documents lie, the smallest such one.

        Args:
            parts: N arrays, the values of each document.
        """
        values = np.concatenate(list(parts))
        owners = np.repeat(np.arange(self.count), [len(part) for part in parts])
        order = np.argsort(-values, kind="stable")
        values, owners = values[order], owners[order]
        whole = self._upper(values, owners, np.ones((1, self.count)), share)
        return self._interval(float(whole[0]), self._upper(values, owners, self.draws, share))

    def _upper(self, falling: Floats, owners: NDArray[np.int64], draws: Floats, share: float) -> Floats:
        """The quantile under each row of draws, counted from the top, since only the tail is needed."""
        lengths = np.bincount(owners, minlength=self.count).astype(np.float64)
        above = np.floor((draws @ lengths) * (1 - share) + 1e-9)  # values that may lie above it
        taken = min(len(falling), max(64, math.ceil(_TAIL * (1 - share) * len(falling))))
        rows = max(1, _CELLS // len(falling))
        found = np.empty(len(draws))
        for start in range(0, len(draws), rows):
            part = slice(start, start + rows)
            many = taken
            while True:
                counted = np.cumsum(draws[part][:, owners[:many]], axis=1)
                if many == len(falling) or bool((counted[:, -1] > above[part]).all()):
                    break
                many = min(len(falling), 2 * many)
            places = (counted > above[part][:, None]).argmax(axis=1)
            found[part] = falling[places]
        return found

    def _interval(self, value: float, resampled: Floats) -> Interval:
        if self.count < 2:
            return Interval(value=value, low=math.nan, high=math.nan)
        low, high = np.nanquantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Interval(value=value, low=float(low), high=float(high))


def token_counts(documents: Sequence[DocumentScore]) -> Floats:
    """Scored tokens of each document, [N]."""
    return np.array([len(document.nll) for document in documents], dtype=np.float64)


def nll_sums(documents: Sequence[DocumentScore]) -> Floats:
    """Nats of each document, [N]."""
    return np.array([document.nll.sum() for document in documents])


def kl_sums(documents: Sequence[DocumentScore]) -> Floats:
    """KL to the reference summed over the tokens of each document, [N]; zeros for the reference itself."""
    return np.array([0.0 if document.kl is None else document.kl.sum() for document in documents])


def paired_difference(
    ours: Sequence[DocumentScore], theirs: Sequence[DocumentScore], what: str, resamples: Resamples
) -> Interval:
    """How much more `ours` loses than `theirs` in nats a token, over the same resamples of the same documents.

    Args:
        what: "nll", or "kl" (to the reference that both were scored against).

    Raises:
        ValueError: the two were scored on different tokens, or `what` is neither.
    """
    sums = {"nll": nll_sums, "kl": kl_sums}.get(what)
    if sums is None:
        raise ValueError(f"there is no paired difference of {what!r}; known: 'nll', 'kl'")
    if [list(document.tokens) for document in ours] != [list(document.tokens) for document in theirs]:
        raise ValueError("the two were scored on different tokens; a paired difference needs the same")
    return resamples.difference(sums(ours), sums(theirs), token_counts(ours))


def exp_interval(interval: Interval) -> Interval:
    """Nats a token as perplexity: exp keeps the order, so the bounds move along.

    Raises:
        ValueError: exp would overflow: the model is broken.
    """
    if interval.value > 700:
        raise ValueError(f"the model loses {interval.value:.0f} nats a token, beyond all perplexity; it is broken")
    return Interval(value=math.exp(interval.value), low=_exp(interval.low), high=_exp(interval.high))


def _exp(x: float) -> float:
    return math.exp(x) if not x > 700 else math.inf
