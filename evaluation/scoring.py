"""Scores several things on the same tokens, document by document, all of them in step.

The reference's logits and each thing's are compared block by block and dropped, so memory holds a block of each.
Shapes: T scored tokens of a document, R rows of a block, V vocabulary.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

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
    blocks: list[list[_Block]] = [[] for _ in runs]
    order = sorted(range(len(runs)), key=lambda i: i != reference)  # the reference first
    at = 0
    while at < len(targets_T):
        against: tuple[Tensor, Tensor] | None = None
        for i in order:
            started = time.monotonic()
            logits_RV = next(streams[i])
            runs[i].seconds += time.monotonic() - started
            log_probs_RV = _log_probs(logits_RV, runs[i].name, document.name)
            blocks[i].append(_compare(log_probs_RV, targets_T[at : at + len(log_probs_RV)], against))
            if i == reference:
                against = log_probs_RV, blocks[i][-1].best
        at += len(logits_RV)
    for run, found in zip(runs, blocks, strict=True):
        run.documents.append(_join(found, document))


@dataclass(frozen=True, kw_only=True)
class _Block:
    nll: Tensor
    best: Tensor
    kl: Tensor | None
    agree: Tensor | None


def _log_probs(logits_RV: Tensor, name: str, document: str) -> Tensor:
    """Float64: a KL of 1e-6 is a difference of sums near 1."""
    log_probs_RV = logits_RV.double().log_softmax(-1)
    if not math.isfinite(float(log_probs_RV.sum())):
        raise ValueError(f"{name}: the logits of document {document} are not finite; the model is damaged")
    return log_probs_RV


def _compare(log_probs_RV: Tensor, targets_R: Tensor, against: tuple[Tensor, Tensor] | None) -> _Block:
    nll = -log_probs_RV.gather(1, targets_R.unsqueeze(1)).squeeze(1)
    best = log_probs_RV.argmax(-1)
    if against is None:
        return _Block(nll=nll, best=best, kl=None, agree=None)
    reference_RV, reference_best = against
    kl = (reference_RV.exp() * (reference_RV - log_probs_RV)).sum(-1).clamp_min(0.0)  # below 0 is rounding
    return _Block(nll=nll, best=best, kl=kl, agree=best == reference_best)


def _join(blocks: Sequence[_Block], document: TokenDocument) -> DocumentScore:
    def joined(name: str) -> Any:
        parts = [getattr(block, name) for block in blocks]
        return None if parts[0] is None else torch.cat(parts).numpy()

    return DocumentScore(
        nll=joined("nll"),
        kl=joined("kl"),
        agree=joined("agree"),
        bytes=document.bytes,
        tokens=document.ids,
        best=joined("best").astype(np.int32),
        name=document.name,
    )


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
