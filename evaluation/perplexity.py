"""Perplexity of a model on documents, each by itself: exp of the mean negative log likelihood of its tokens.

A document's first token (the begin-of-text id, where the tokenizer has one) is given, every later one is scored.
Whatever maps tokens to logits can be scored: a float model, the converted integer one, a package.
Shapes: B batch, T tokens, V vocabulary.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from evaluation.documents import read_documents
from model.checkpoint import read_info
from model.tokenizer import load_tokenizer
from quant.checkpoint import build_model

Logits = Callable[[torch.Tensor], torch.Tensor]  # tokens int64 [B, T] -> logits [B, T, V], causal
Progress = Callable[[str], None]

_LOGITS_BUDGET = 1 << 26  # floats of one batch's logits: 256 MiB
_MAX_BATCH_TOKENS = 8192
_PROGRESS_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Perplexity:
    documents: int  # that had a token to score
    tokens: int  # scored
    nll: float  # nats, all tokens together
    value: float  # exp(nll / tokens)


def perplexity(
    model: Logits, documents_ids: Sequence[Sequence[int]], *, batch_tokens: int, progress: Progress | None = None
) -> Perplexity:
    """Scores every token after the first of every document.

    Args:
        model: tokens int64 [B, T] to logits [B, T, V]; position t must not depend on later tokens, because shorter
            documents of a batch are padded at their end.
        documents_ids: token ids, first token included, already cut to the length wanted.
        batch_tokens: bound of B * T, padding included; a longer document is a batch by itself, so 1 means one
            document at a time.
        progress: receives a line every few seconds.

    Raises:
        ValueError: no token to score, or logits that are not finite or beyond all measure.
    """
    if batch_tokens < 1:
        raise ValueError(f"batch_tokens is {batch_tokens}; it must be at least 1")
    scored = [i for i, ids in enumerate(documents_ids) if len(ids) > 1]
    if not scored:
        raise ValueError("there is no token to score: every document has less than two tokens")
    total = sum(len(documents_ids[i]) - 1 for i in scored)
    nll, tokens, said = 0.0, 0, time.monotonic()
    with torch.inference_mode():
        for batch in _batches(documents_ids, scored, batch_tokens):
            for i, loss in zip(batch, _batch_nll(model, [documents_ids[i] for i in batch]), strict=True):
                if not math.isfinite(loss):
                    raise ValueError(f"the logits of document {i + 1} are not finite; the model is damaged")
                nll += loss
                tokens += len(documents_ids[i]) - 1
            if progress and (time.monotonic() - said > _PROGRESS_SECONDS or tokens == total):
                said = time.monotonic()
                progress(f"scored {tokens:,} of {total:,} tokens, perplexity {_exp(nll / tokens):.3f} so far")
    return Perplexity(documents=len(scored), tokens=tokens, nll=nll, value=_exp(nll / tokens))


def evaluate_text(
    checkpoint: Path,
    text_file: Path,
    protocol: str,
    max_tokens: int,
    *,
    batch_tokens: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Perplexity of a float or quantized checkpoint on a text file, as the JSON that `pocketlm evaluate` prints.

    Args:
        checkpoint: a checkpoint folder; a quantized one is scored as the converted integer model.
        text_file: UTF-8.
        protocol: how the text becomes documents, a name of `evaluation.documents.PROTOCOLS`.
        max_tokens: where each document is cut, first token included.
        batch_tokens: see `perplexity`; by default as many as keep the logits below 256 MiB.

    Raises:
        ValueError: a checkpoint without a tokenizer, a bad text file, protocol or bound.
    """
    if max_tokens < 2:
        raise ValueError(f"max_tokens is {max_tokens}; at least 2 are needed (one given, one scored)")
    documents = read_documents(text_file, protocol)
    info = read_info(checkpoint)
    if info.tokenizer is None:
        raise ValueError(f"{checkpoint} has no tokenizer, so text cannot be scored; convert it from a folder with one")
    tokenizer = load_tokenizer(checkpoint, info.tokenizer)
    documents_ids = [tokenizer.encode(document, first=True)[:max_tokens] for document in documents]
    model: nn.Module = build_model(checkpoint)
    if batch_tokens is None:
        batch_tokens = max(1, min(_MAX_BATCH_TOKENS, _LOGITS_BUDGET // info.config.vocab_size))
    started = time.monotonic()
    result = perplexity(model, documents_ids, batch_tokens=batch_tokens, progress=progress)
    seconds = time.monotonic() - started
    report = asdict(result)
    report["perplexity"] = report.pop("value")
    return report | {
        "recipe": info.quantization.recipe if info.quantization else None,
        "protocol": protocol,
        "max_tokens": max_tokens,
        "seconds": round(seconds, 3),
    }


def _exp(x: float) -> float:
    if x > 700:  # exp would overflow float64
        raise ValueError(f"the model loses {x:.0f} nats a token, which no perplexity can express; it is broken")
    return math.exp(x)


def _batches(ids: Sequence[Sequence[int]], scored: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Indices of documents of similar length, longest first: the first batch shows whether memory suffices."""
    batch: list[int] = []
    for i in sorted(scored, key=lambda i: (-len(ids[i]), i)):
        if batch and (len(batch) + 1) * (len(ids[batch[0]]) - 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(i)
    yield batch


def _batch_nll(model: Logits, documents: Sequence[Sequence[int]]) -> list[float]:
    """Summed negative log likelihood in nats of each document of a batch; the last token is never an input."""
    longest = max(len(ids) for ids in documents) - 1
    inputs_BT = torch.zeros(len(documents), longest, dtype=torch.int64)
    targets_BT = torch.full((len(documents), longest), -1, dtype=torch.int64)
    for row, ids in enumerate(documents):
        inputs_BT[row, : len(ids) - 1] = torch.tensor(ids[:-1])
        targets_BT[row, : len(ids) - 1] = torch.tensor(ids[1:])
    logits_BTV = model(inputs_BT)
    losses = []
    for logits_TV, targets_T in zip(logits_BTV, targets_BT, strict=True):
        each = nn.functional.cross_entropy(logits_TV.float(), targets_T, ignore_index=-1, reduction="none")
        losses.append(float(each.double().sum()))
    return losses
