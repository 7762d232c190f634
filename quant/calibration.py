"""Calibration text: documents as token ids, and those in batches. Reads no text file; knows one tokenizer at a time.

Shapes: B documents, T tokens.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from model.checkpoint import read_info
from model.tokenizer import load_tokenizer

Documents = Sequence[Sequence[int]]  # token ids of texts, the first token included

DEFAULT_TOKENS = 65_536  # stories260K, 64 wide, gains nothing beyond 4,096 (docs/log.md); GPTQ's paper takes 262,144
_DOCUMENT_TOKENS = 512  # where a document is cut; none is longer than the model's context
_BATCH_TOKENS = 4096


def encode_documents(checkpoint: Path, texts: Iterable[str], max_tokens: int = DEFAULT_TOKENS) -> list[list[int]]:
    """The first texts by the checkpoint's own tokenizer, each cut at 512 tokens, `max_tokens` in all.

    Raises:
        ValueError: the checkpoint has no tokenizer, or no text is left.
    """
    if max_tokens < 1:
        raise ValueError(
            f"{max_tokens} calibration tokens were asked for; give at least 1, by default {DEFAULT_TOKENS}"
        )
    info = read_info(checkpoint)
    if info.tokenizer is None:
        raise ValueError(
            f"{checkpoint} has no tokenizer, so no text can calibrate it; convert it from a folder with one"
        )
    tokenizer = load_tokenizer(checkpoint, info.tokenizer)
    most = min(_DOCUMENT_TOKENS, info.config.max_context)
    documents: list[list[int]] = []
    left = max_tokens
    for text in texts:
        ids = tokenizer.encode(text, first=True)[: min(most, left)]
        if ids:
            documents.append(ids)
            left -= len(ids)
        if not left:
            break
    if not documents:
        raise ValueError("the calibration text is empty; give text like what the model will read")
    return documents


def batches(documents: Documents) -> Iterator[tuple[Tensor, Tensor]]:
    """Token ids int64 [B, T] and which of them are no padding, documents of similar length together."""
    batch: list[Sequence[int]] = []
    for ids in sorted((ids for ids in documents if ids), key=lambda ids: -len(ids)):
        if batch and (len(batch) + 1) * len(batch[0]) > _BATCH_TOKENS:
            yield _pad(batch)
            batch = []
        batch.append(ids)
    if batch:
        yield _pad(batch)


def _pad(batch: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    tokens = torch.zeros(len(batch), len(batch[0]), dtype=torch.int64)
    keep = torch.zeros(tokens.shape, dtype=torch.bool)
    for row, ids in enumerate(batch):
        tokens[row, : len(ids)], keep[row, : len(ids)] = torch.tensor(ids), True
    return tokens, keep
