"""Finds out by hashes whether a text was trained on. What was quoted, cut or put together differently is not found."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.listed import read_listed
from evaluation.text import Text


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How much of a text stands in the training split of a list."""

    documents: int
    of: int
    listed: Path

    @property
    def sentence(self) -> str:
        return (
            f"trained on {self.documents} of the {self.of} documents scored (by their hashes in {self.listed}): "
            "its figures say how well it remembers; score held-out text"
        )


def find_overlap(text: Text, lists: Sequence[Path]) -> Overlap | None:
    """The largest overlap of the text's documents with what one of the lists says was trained on, or None.

    A document is compared as it is and with a line's end behind it, because splitting takes white space away; a text
    file that was one training document counts with all that it was split into.

    Raises:
        ValueError: a list is damaged.
    """
    found: list[Overlap] = []
    total = len(text.documents)
    for listed in dict.fromkeys(lists):
        trained = read_listed(listed, "train")
        if text.file_sha256 in trained:
            count = total
        else:
            count = sum(any(digest in trained for digest in _digests(document.text)) for document in text.documents)
        if count:
            found.append(Overlap(documents=count, of=total, listed=listed))
    return max(found, key=lambda overlap: overlap.documents, default=None)


def _digests(text: str) -> list[str]:
    return [hashlib.sha256((text + end).encode()).hexdigest() for end in ("", "\n")]
