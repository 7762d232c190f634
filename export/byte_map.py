"""Says of every byte of a `.pte` what it is for; the counts add up to the file's size."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from export.file_weights import FileWeight, constant_tensors
from export.pte import Pte

# In order of precedence: bytes that serve twice count once, under the first name.
CATEGORIES = (
    "codes",
    "scales",
    "float_weights",
    "norms",
    "constants",
    "initial_state",
    "delegates",
    "program",
    "padding",
    "other",
)
Stretch = tuple[int, int, str]  # first byte, end, category


def count_bytes(pte: Pte, weights: Iterable[FileWeight]) -> dict[str, int]:
    """Bytes of each of `CATEGORIES`.

    `norms` are float32 vectors, `constants` every other constant, `delegates` the backends' graphs, `program` the
    header and tables, `padding` zeros between them, `other` what nothing in the program points to.
    """
    return count_stretches(pte.data, _stretches(pte, weights), CATEGORIES)


def count_stretches(data: memoryview, found: Iterable[Stretch], categories: Sequence[str]) -> dict[str, int]:
    """Bytes of each category; what no stretch covers is "padding" where it is zeros, else "other".

    Args:
        categories: in order of precedence, these two among them.
    """
    order = {name: rank for rank, name in enumerate(categories)}
    counts = dict.fromkeys(categories, 0)
    stretches = sorted(found, key=lambda s: (s[0], order[s[2]]))
    edges = sorted({0, len(data), *(s[0] for s in stretches), *(s[1] for s in stretches)})
    active: list[Stretch] = []
    upcoming = iter(stretches)
    following = next(upcoming, None)
    for start, end in pairwise(edges):
        active = [s for s in active if s[1] > start]
        while following is not None and following[0] == start:
            active.append(following)
            following = next(upcoming, None)
        if active:
            counts[min((s[2] for s in active), key=order.__getitem__)] += end - start
        else:
            counts["other" if np.frombuffer(data[start:end], dtype=np.uint8).any() else "padding"] += end - start
    return counts


def _stretches(pte: Pte, weights: Iterable[FileWeight]) -> Iterator[Stretch]:
    yield 0, pte.program_bytes, "program"
    base = address(pte.data)
    for weight in weights:
        start = address(weight.content) - base
        yield start, start + len(weight.content), "float_weights" if weight.kind == "float" else "codes"
        if len(weight.scale_content):
            start = address(weight.scale_content) - base
            yield start, start + len(weight.scale_content), "scales"
    for method in pte.methods.values():
        for tensor in constant_tensors(method):
            if tensor.bytes:
                start = pte.constant_place(tensor)
                is_norm = tensor.dtype == "float32" and len(tensor.sizes) == 1
                yield start, start + tensor.bytes, "norms" if is_norm else "constants"
        for delegate in method.delegates:
            if delegate.segment is not None:
                yield _segment(pte, delegate.segment, "delegates")
    for index in pte.named_data.values():
        yield _segment(pte, index, "constants")
    for index in pte.mutable_segments:
        yield _segment(pte, index, "initial_state")


def _segment(pte: Pte, index: int, category: str) -> Stretch:
    segment = pte.segments[index]
    return segment.offset, segment.offset + segment.size, category


def address(content: memoryview) -> int:
    """Where in memory a view begins; minus that of a file's map: where in the file."""
    return int(np.frombuffer(content, dtype=np.uint8).__array_interface__["data"][0])
