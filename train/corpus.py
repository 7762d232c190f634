"""The documents of a run in their numbers and splits, checked against an earlier reading."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from train.settings import DataSettings
from train.sources import Document, Dropped, read_documents

Mark = list[Any]  # how many documents, and a hash over theirs
Numbered = tuple[str, Document]  # the split and the document


class TextChanged(Exception):
    """The documents are not those that were read before."""


class Corpus:
    """All documents with their splits, once.

    Args:
        base: what relative paths start from.
        marks: what `mark` was at some points of an earlier reading. Where the text is another one now, the iteration
            ends in `TextChanged`, at the latest after the last document.
    """

    def __init__(self, data: DataSettings, base: Path, marks: Sequence[Mark] = ()) -> None:
        self._data, self._base = data, base
        self._expected = {number: digest for number, digest in marks if number}
        self._hash = hashlib.sha256()
        self._number = 0
        self.dropped = Dropped()

    @property
    def mark(self) -> Mark:
        """How far it was read."""
        return [self._number, self._hash.hexdigest()]

    def __iter__(self) -> Iterator[Numbered]:
        every = self._data.held_out_every
        for document in read_documents(self._data, base=self._base, dropped=self.dropped):
            self._number += 1
            self._hash.update(bytes.fromhex(document.sha256))
            if self._expected.pop(self._number, self._hash.hexdigest()) != self._hash.hexdigest():
                raise TextChanged
            yield "held_out" if every and self._number % every == 0 else "train", document
        if self._expected:  # there were more
            raise TextChanged


def batches(documents: Iterable[Numbered], size: int) -> Iterator[list[Numbered]]:
    """The documents in lists of at least `size` bytes of text, the last one shorter."""
    batch: list[Numbered] = []
    held = 0
    for entry in documents:
        batch.append(entry)
        held += entry[1].bytes
        if held >= size:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch
