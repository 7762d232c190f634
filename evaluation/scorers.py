"""Token ids to logits, whatever computes them: a checkpoint in torch, or a package's program in ExecuTorch.

Knows no text and no loss. Each gives rows in small blocks, so that a long document never has all its logits in memory.
Shapes: T tokens of one document, R rows of one block, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Protocol

import torch
from torch import Tensor

from export.runner import LogitsRunner
from model.transformer import Transformer

_BLOCK_CELLS = 1 << 22  # of logits in one block: 16 MiB in float32, 32 MiB in float64


def block_rows(vocab_size: int) -> int:
    """R: how many rows stand in one block."""
    return max(1, min(512, _BLOCK_CELLS // vocab_size))


class Scorer(Protocol):
    """What is scored."""

    def rows(self, ids: Sequence[int], start: int = 0) -> Iterator[Tensor]:
        """Logits after each of `ids[start:]`, in order, as blocks [R, V] of `block_rows` (the last one shorter).

        The document begins with `ids[0]`. A second call may begin before the first iterator has ended; that one is
        then of no more use.
        """


class ModelScorer:
    """A float model, or the converted integer one, over whole documents without a cache.

    Args:
        model: with `hidden` and `head`, in eval mode.
    """

    def __init__(self, model: Transformer) -> None:
        self._model = model
        self._rows = block_rows(model.config.vocab_size)

    @torch.inference_mode()  # as a decorator it also ends at each yield
    def rows(self, ids: Sequence[int], start: int = 0) -> Iterator[Tensor]:
        """See `Scorer.rows`."""
        hidden_TC = self._model.hidden(torch.tensor([list(ids)]))[0, start:]
        for at in range(0, len(hidden_TC), self._rows):
            yield self._model.head(hidden_TC[at : at + self._rows])


class PackageScorer:
    """A package's shipped `forward`: the tokens before `start` in chunks, as a prompt, then one at a time.

    What two calls have in common at their beginning is kept in the program's cache while nothing of it has been
    overwritten, so that the choices of one question share its prompt.

    Args:
        runner: over the program; between two calls it may be used otherwise only if `forget` follows.
        safe: how many positions can be written before the smallest ring overwrites the first one.
    """

    def __init__(self, runner: LogitsRunner, *, vocab_size: int, safe: int) -> None:
        self.runner, self._safe = runner, safe
        self._rows = block_rows(vocab_size)
        self._cached: list[int] = []

    def rows(self, ids: Sequence[int], start: int = 0) -> Iterator[Tensor]:
        """See `Scorer.rows`."""
        at = self._shared(ids[:start])
        self._cached = list(ids[:at])
        if at < start:
            self.runner.prefill(ids[at:start], at)
            self._cached = list(ids[:start])
        block: list[Tensor] = []
        for position in range(start, len(ids)):
            block.append(self.runner.logits(ids[position : position + 1], position))
            self._cached.append(ids[position])
            if len(block) == self._rows or position + 1 == len(ids):
                yield torch.stack(block)
                block = []

    def forget(self) -> None:
        """The cache holds something else now."""
        self._cached = []

    def _shared(self, prompt: Sequence[int]) -> int:
        if len(self._cached) > self._safe:
            return 0
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(self._cached, prompt, strict=False)))
