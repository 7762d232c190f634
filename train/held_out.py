"""What a trained checkpoint makes of the held-out documents, in bits per byte, beside what xz makes of them.

Shapes: T tokens of a window, C model width, V vocabulary.
"""

import lzma
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic

import torch
from torch import Tensor, nn

from model.transformer import Transformer
from train.settings import RunSettings
from train.tokens import TokenSet

_HEAD_POSITIONS = 256  # logits of so many positions are in memory at once
_SECONDS_A_LINE = 5.0
_XZ = 9 | lzma.PRESET_EXTREME  # xz -9e


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The score of documents, each from its own beginning; the end-of-text token is scored too."""

    documents: int
    tokens: int
    bytes: int
    nats: float

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / self.bytes


def held_out_windows(settings: RunSettings, tokens: TokenSet) -> list[Tensor]:
    """The first held-out tokens as batches of int64 [B, T + 1]."""
    stream, loop = tokens.held_out, settings.train
    if stream is None:
        return []
    length = min(loop.window, stream.tokens - 1)
    count = max(1, min(loop.evaluate_tokens, stream.tokens - 1) // length)
    rows = torch.stack([stream.window(i * length, length + 1) for i in range(count)])
    return list(rows.split(max(1, loop.micro_batch // length)))


def score_documents(
    model: Transformer,
    documents: Sequence[Tensor],
    *,
    context: int,
    num_bytes: int,
    device: torch.device,
    progress: Callable[[str], None],
) -> HeldOut:
    """Scores every token after the first of every document.

    A document longer than the context is scored in windows that overlap by half: from the second on, each token sees
    at least half the context, as it does in a long chat.

    Args:
        context: tokens that are predicted at once; the longest window that the model was trained on.
        documents: int64 [T] each, beginning with the begin-of-text id.
        num_bytes: of all their text.
    """
    model.eval()
    nats, tokens, said = 0.0, 0, monotonic()
    with torch.inference_mode():
        for number, document in enumerate(documents, 1):
            for start, skip in _windows(len(document), context):
                piece = document[start : start + context + 1].to(device)
                hidden_TC = model.hidden(piece[:-1].unsqueeze(0))[0, skip:]
                targets = piece[1 + skip :]
                for at in range(0, len(targets), _HEAD_POSITIONS):
                    logits_TV = model.head(hidden_TC[at : at + _HEAD_POSITIONS]).float()
                    part = targets[at : at + _HEAD_POSITIONS]
                    nats += float(nn.functional.cross_entropy(logits_TV, part, reduction="none").double().sum())
                tokens += len(targets)
            if monotonic() - said > _SECONDS_A_LINE or number == len(documents):
                said = monotonic()
                progress(f"scored {number:,} of {len(documents):,} held-out documents")
    return HeldOut(documents=len(documents), tokens=tokens, bytes=num_bytes, nats=nats)


def xz_bits_per_byte(texts: Sequence[bytes]) -> tuple[float, float]:
    """What `xz -9e` needs for the texts, each by itself and all of them in one, in bits per byte."""
    size = sum(map(len, texts))
    each = sum(len(lzma.compress(text, preset=_XZ)) for text in texts)
    return 8 * each / size, 8 * len(lzma.compress(b"".join(texts), preset=_XZ)) / size


def _windows(tokens: int, context: int) -> Iterator[tuple[int, int]]:
    """Where each window of a document begins, and how many of its first predictions the window before has made."""
    predictions = tokens - 1
    yield 0, 0
    done, start = min(context, predictions), 0
    while done < predictions:
        start = min(start + max(1, context // 2), predictions - 1)
        yield start, done - start
        done = min(start + context, predictions)
