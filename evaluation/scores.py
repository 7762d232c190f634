"""What scoring leaves behind: numbers of every scored token, document by document, and of every question.

Knows no model and no text; intervals are made of these by evaluation/intervals.py. Loads no torch.
Legend: T scored tokens of one document, Q questions of one task.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["float checkpoint", "quantized checkpoint", "package"]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure with the bounds between which 95 % of its bootstrap resamples lie."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True, kw_only=True, eq=False)
class DocumentScore:
    """One document under one thing. Entry t of each array is the prediction of `tokens[t + 1]`."""

    nll: Floats  # [T] negative log likelihood in nats
    kl: Floats | None  # [T] KL(reference || thing) in nats; None where there is no reference, or for itself
    agree: Bools | None  # [T] the thing's most likely token is the reference's
    bytes: int  # of the text that the scored tokens stand for, as UTF-8
    tokens: Sequence[int]  # ids, the given first one included: T + 1
    index: int = 0  # of the document in the text, from 0


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskScore:
    """The questions of one task under one thing."""

    name: str
    form: Literal["choices", "completion"]  # pick one of several texts; write exactly one continuation greedily
    correct: Bools  # [Q] by summed log-likelihood; of a completion, that greedy decoding writes it
    correct_by_length: Bools | None  # [Q] by log-likelihood a byte of the choice; None for a completion
    gold_nll: Floats  # [Q] negative log likelihood in nats of the right text
    cut: int = 0  # prompts that were cut from the left to fit


@dataclass(frozen=True, kw_only=True, eq=False)
class ThingScores:
    """One thing on the whole text: what `evaluate` and `compare` read."""

    name: str  # unique among the things of one evaluation: the path as far as it tells them apart
    path: str
    kind: Kind
    recipe: str | None  # None: float
    method: str | None  # how its codes were chosen: "rtn", "hqq", "gptq", "trained"; None for a float checkpoint
    bytes: int  # of the weight file or the program
    kernels: str  # what computed it, for a reader: "ExecuTorch 1.5.1, ..."
    how: str  # the way in which it was run: "the shipped forward, one token at a time"
    seconds: float  # spent on the text
    documents: Sequence[DocumentScore]
    tasks: Sequence[TaskScore] = ()
    warnings: Sequence[str] = field(default=())

    @property
    def num_tokens(self) -> int:
        return sum(len(document.nll) for document in self.documents)
