"""What scoring leaves behind: numbers of every scored token, document by document, and of every question.

Knows no model and no text; intervals are made of these by evaluation/intervals.py. Loads no torch.
Legend: T scored tokens of one document, Q questions of one task.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["float checkpoint", "quantized checkpoint", "package"]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure with the bounds between which 95 % of its bootstrap resamples lie.

    The bounds are NaN (null in JSON) where there was one document only.
    """

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float | None]:
        return {name: x if np.isfinite(x := getattr(self, name)) else None for name in ("value", "low", "high")}


@dataclass(frozen=True, kw_only=True, eq=False)
class DocumentScore:
    """One document under one thing. Entry t of each array is the prediction of `tokens[t + 1]`."""

    nll: Floats  # [T] negative log likelihood in nats
    kl: Floats | None  # [T] KL(reference || thing) in nats; None where there is no reference, and for itself
    agree: Bools | None  # [T] the thing's most likely token is the reference's; None as above
    bytes: int  # of the text that the scored tokens stand for, as UTF-8
    tokens: Sequence[int]  # ids, the given first one included: T + 1
    best: NDArray[np.int32] | None = None  # [T] the thing's most likely token
    name: str = ""  # of the document: its file, or its place in the text, from 1


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskScore:
    """The questions of one task under one thing."""

    name: str  # of the file, without its ending
    form: Literal["choices", "completion"]  # pick one of several texts; write exactly one continuation greedily
    correct: Bools  # [Q] by summed log-likelihood; of a completion, that greedy decoding writes it
    correct_by_length: Bools | None  # [Q] by log-likelihood a byte of the scored text; None for a completion
    gold_nll: Floats  # [Q] negative log likelihood in nats of the right text
    cut: int  # texts that were cut from the left, because the context is shorter
    seconds: float


@dataclass(frozen=True, kw_only=True, eq=False)
class ThingScores:
    """One thing on the whole text: what `evaluate` and `compare` read."""

    name: str  # unique among the things of one evaluation: the path as far as it tells them apart
    path: str
    kind: Kind
    recipe: str | None  # None: float
    method: str | None  # how its codes were chosen: "rtn", "hqq", "gptq", "trained"; None: float, or not known
    bytes: int  # of the weight file or the program
    kernels: str  # what computed it, for a reader: "ExecuTorch 1.5.1, ..."
    how: str  # the way in which it was run: "the shipped forward, one token at a time"
    seconds: float  # spent on the text
    documents: Sequence[DocumentScore]
    tasks: Sequence[TaskScore] = ()
    trained_on: int = 0  # documents of the text that it, or what it was made from, was trained on
    warnings: Sequence[str] = ()
    harness: Mapping[str, Mapping[str, float | str]] = field(
        default_factory=dict
    )  # lm-evaluation-harness: task, metric

    @property
    def num_tokens(self) -> int:
        """How many tokens were scored."""
        return sum(len(document.nll) for document in self.documents)
