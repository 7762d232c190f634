"""Models that are a table, so that every figure can be worked out by hand: the logits hang on the last token alone."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from evaluation.scorers import block_rows

VOCAB = 11


def random_table(seed: int, vocab: int = VOCAB) -> Tensor:
    return torch.randn(vocab, vocab, generator=torch.Generator().manual_seed(seed))


class TableScorer:
    """`evaluation.scorers.Scorer` over a table [V, V]; counts the tokens that it was asked for."""

    def __init__(self, table: Tensor, *, rows: int | None = None) -> None:
        self.table, self.asked = table, 0
        self._rows = rows or block_rows(table.shape[1])

    def rows(self, ids: Sequence[int], start: int = 0) -> Iterator[Tensor]:
        self.asked += len(ids)
        logits = self.table[torch.tensor(list(ids))][start:]
        for at in range(0, len(logits), self._rows):
            yield logits[at : at + self._rows]


class LetterTokenizer:
    """`model.tokenizer_readers.Tokenizer` of the letters a to j, with 0 as the begin of a text; a space is no token."""

    def encode(self, text: str, *, first: bool) -> list[int]:
        return [0] * first + [ord(letter) - 96 for letter in text if letter != " "]

    def piece(self, token: int) -> bytes:
        return b"" if token == 0 else chr(96 + token).encode()

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(map(self.piece, ids)).decode()
