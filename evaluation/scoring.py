"""Scores several things on the same tokens, document by document, all of them in step.

The reference's logits and each thing's are compared block by block and dropped, so memory holds a block of each.
Shapes: T scored tokens of a document, R rows of a block, V vocabulary.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from evaluation.scorers import Scorer
from evaluation.scores import DocumentScore

Progress = Callable[[str], None]

_PROGRESS_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class TokenDocument:
    """A document as all things get it."""

    name: str
    ids: tuple[int, ...]  # the given first one included, already cut
    bytes: int  # of the text that the ids after the first stand for


@dataclass(kw_only=True)
class Run:
    """A thing being scored."""

    name: str
    scorer: Scorer
    seconds: float = 0.0  # of its own computation
    documents: list[DocumentScore] = field(default_factory=list)


def score_documents(
    runs: Sequence[Run], documents: Sequence[TokenDocument], *, reference: int | None, progress: Progress | None = None
) -> None:
    """Scores every token after the first of every document with each thing; the results go into `runs`.

    Args:
        runs: all of the same vocabulary.
        reference: which of the runs the others are compared with; None: no KL and no agreement.
        documents: of two tokens at least each.

    Raises:
        ValueError: logits that are not finite.
    """
    total, done, said = sum(len(document.ids) - 1 for document in documents), 0, time.monotonic()
    for number, document in enumerate(documents, 1):
        _score_document(runs, document, reference)
        done += len(document.ids) - 1
        if progress and (time.monotonic() - said > _PROGRESS_SECONDS or number == len(documents)):
            said = time.monotonic()
            progress(f"scored {done:,} of {total:,} tokens, perplexity so far: {_so_far(runs, done)}")


def _score_document(runs: Sequence[Run], document: TokenDocument, reference: int | None) -> None:
    targets_T = torch.tensor(document.ids[1:])
    streams = [run.scorer.rows(document.ids[:-1]) for run in runs]
    found = [_Figures(len(targets_T), is_compared=reference not in (None, i)) for i in range(len(runs))]
    order = sorted(range(len(runs)), key=lambda i: i != reference)  # the reference first
    at = 0
    while at < len(targets_T):
        against: tuple[Tensor, Tensor] | None = None
        for i in order:
            started = time.monotonic()
            logits_RV = next(streams[i])
            runs[i].seconds += time.monotonic() - started
            log_probs_RV = _log_probs(logits_RV, runs[i].name, document.name)
            part = slice(at, at + len(logits_RV))
            found[i].fill(part, log_probs_RV, targets_T[part], against)
            if i == reference:
                against = log_probs_RV, log_probs_RV.exp()
                best = found[i].best[part]
            elif against is not None:
                found[i].agree[part] = found[i].best[part] == best
        at += len(logits_RV)
    for run, figures in zip(runs, found, strict=True):
        run.documents.append(figures.to_score(document))


class _Figures:
    """Of one thing on one document: made whole beforehand, because small results left between the large blocks would
    keep the allocator from giving their memory back (glibc: 2.3 MiB a token at a vocabulary of 202,048)."""

    def __init__(self, tokens: int, *, is_compared: bool) -> None:
        self.nll, self.best = np.empty(tokens), np.empty(tokens, dtype=np.int32)
        self.kl, self.agree = np.empty(tokens), np.empty(tokens, dtype=np.bool_)
        self._is_compared = is_compared

    def fill(self, part: slice, log_probs_RV: Tensor, targets_R: Tensor, against: tuple[Tensor, Tensor] | None) -> None:
        """Takes one block; `against` is the reference's log-probabilities and probabilities."""
        self.nll[part] = -log_probs_RV.gather(1, targets_R.unsqueeze(1)).squeeze(1).numpy()
        self.best[part] = log_probs_RV.argmax(-1).numpy()
        if against is not None:
            theirs_RV, shares_RV = against
            kl_R = _dot(shares_RV, theirs_RV) - _dot(shares_RV, log_probs_RV)
            self.kl[part] = kl_R.clamp_min(0.0).numpy()  # below 0 is rounding

    def to_score(self, document: TokenDocument) -> DocumentScore:
        return DocumentScore(
            nll=self.nll,
            kl=self.kl if self._is_compared else None,
            agree=self.agree if self._is_compared else None,
            bytes=document.bytes,
            tokens=document.ids,
            best=self.best,
            name=document.name,
        )


def _log_probs(logits_RV: Tensor, name: str, document: str) -> Tensor:
    """Float64: a KL of 1e-6 is a difference of sums near 1."""
    log_probs_RV = logits_RV.double().log_softmax(-1)
    if not math.isfinite(float(log_probs_RV.sum())):
        raise ValueError(f"{name}: the logits of document {document} are not finite; the model is damaged")
    return log_probs_RV


def _dot(a_RV: Tensor, b_RV: Tensor) -> Tensor:
    """The product of each row with its row, [R], without a product as large as they are."""
    return torch.bmm(a_RV.unsqueeze(1), b_RV.unsqueeze(2)).flatten()


def _so_far(runs: Sequence[Run], tokens: int) -> str:
    parts = []
    for run in runs:
        nats = sum(float(document.nll.sum()) for document in run.documents) / tokens
        parts.append(f"{run.name} {math.exp(nats):.4f}" if nats < 700 else f"{run.name} beyond measure")
    return ", ".join(parts)


def score_continuations(scorer: Scorer, texts: Sequence[tuple[Sequence[int], int]]) -> Iterator[tuple[float, bool]]:
    """Log-likelihood in nats of the ids from a place on, and whether greedy decoding would write just these.

    Args:
        texts: ids and the place of the first scored one, at least 1.
    """
    for ids, start in texts:
        total, is_greedy, at = 0.0, True, start
        for block_RV in scorer.rows(ids[:-1], start - 1):
            targets_R = torch.tensor(ids[at : at + len(block_RV)])
            log_probs_RV = block_RV.double().log_softmax(-1)
            total += float(log_probs_RV.gather(1, targets_R.unsqueeze(1)).sum())
            is_greedy = is_greedy and bool((log_probs_RV.argmax(-1) == targets_R).all())
            at += len(block_RV)
        yield total, is_greedy
