"""Scores questions by the likelihood of their texts, as the public harnesses do: no answer is parsed.

Two accuracies stand beside each other: the choice of the highest summed log-likelihood, and of the highest
log-likelihood a byte (which does not favour short choices). Shapes: Q questions.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from evaluation.scorers import Scorer
from evaluation.scores import TaskScore
from evaluation.scoring import Progress, score_continuations
from evaluation.task_files import Form, Question
from model.tokenizer_readers import Tokenizer

DELIMITER = " "
_PROGRESS_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class _Encoded:
    ids: tuple[int, ...]
    start: int  # the first scored id, at least 1
    bytes: int  # of the scored text, the delimiter aside


@dataclass(frozen=True, kw_only=True)
class Task:
    """A file's questions as ids, the same for every thing."""

    name: str
    form: Form
    questions: tuple[tuple[_Encoded, ...], ...]
    gold: tuple[int, ...]
    cut: int  # texts that were cut from the left


def encode_task(
    name: str, questions: Sequence[Question], tokenizer: Tokenizer, *, room: int, delimiter: str = DELIMITER
) -> Task:
    """Questions into ids.

    Args:
        questions: all of one form.
        room: the most tokens of a text, the scored ones included; a longer one loses tokens after its begin-of-text id.
        delimiter: stands between a prompt and what is scored after it.
    """
    cut, encoded = 0, []
    for question in questions:
        texts = []
        for prompt, continuation in question.pairs:
            text, is_cut = _encode(prompt, delimiter + continuation, tokenizer, room)
            texts.append(_Encoded(ids=text[0], start=text[1], bytes=len(continuation.encode())))
            cut += is_cut
        encoded.append(tuple(texts))
    return Task(
        name=name,
        form=questions[0].form,
        questions=tuple(encoded),
        gold=tuple(question.gold for question in questions),
        cut=cut,
    )


def encode_pair(prompt: str, continuation: str, tokenizer: Tokenizer) -> tuple[list[int], int]:
    """The ids of both texts together and the place of the first one that is not the prompt's alone, at least 1.

    Where the tokenizer joins the prompt's end with what follows, the joined token is scored.
    """
    whole = tokenizer.encode(prompt + continuation, first=True)
    alone = tokenizer.encode(prompt, first=True)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(whole, alone, strict=False)))
    return whole, max(1, min(shared, len(whole) - 1))


def cut_left(ids: Sequence[int], start: int, room: int, begin: Sequence[int]) -> tuple[list[int], int]:
    """The last ids that fit behind those that begin every text, and where the scored ones begin now."""
    kept = list(begin) if list(ids[: len(begin)]) == list(begin) and len(begin) < room else []
    lost = len(ids) - room
    return [*kept, *ids[lost + len(kept) :]], max(1, start - lost)


def _encode(
    prompt: str, continuation: str, tokenizer: Tokenizer, room: int
) -> tuple[tuple[tuple[int, ...], int], bool]:
    ids, start = encode_pair(prompt, continuation, tokenizer)
    is_cut = len(ids) > room
    if is_cut:
        ids, start = cut_left(ids, start, room, tokenizer.encode("", first=True))
    return (tuple(ids), start), is_cut


def score_task(task: Task, scorer: Scorer, *, label: str = "", progress: Progress | None = None) -> TaskScore:
    """Answers every question; `label` begins each line of progress."""
    began = said = time.monotonic()
    correct, by_length, gold_nll = [], [], []
    for number, (texts, gold) in enumerate(zip(task.questions, task.gold, strict=True), 1):
        found = list(score_continuations(scorer, [(text.ids, text.start) for text in texts]))
        if task.form == "completion":
            correct.append(found[0][1])
        else:
            sums = np.array([total for total, _ in found])
            correct.append(int(sums.argmax()) == gold)
            by_length.append(int((sums / [text.bytes for text in texts]).argmax()) == gold)
        gold_nll.append(-found[gold][0])
        if progress and (time.monotonic() - said > _PROGRESS_SECONDS or number == len(task.questions)):
            said = time.monotonic()
            progress(f"{label}: {number:,} of {len(task.questions):,} questions, {sum(correct) / number:.1%} right")
    return TaskScore(
        name=task.name,
        form=task.form,
        correct=np.array(correct),
        correct_by_length=np.array(by_length) if by_length else None,
        gold_nll=np.array(gold_nll),
        cut=task.cut,
        seconds=time.monotonic() - began,
    )
