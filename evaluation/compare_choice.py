"""The best of several PTQ or QAT things, chosen on other documents than those whose figures are reported.

Whoever picks the best of five on a text and reports it on the same text reports luck as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.comparison import Role, nearest, part_of
from evaluation.evaluate import evaluate_things
from evaluation.intervals import kl_sums, token_counts
from evaluation.report import Selection
from evaluation.result import Evaluation
from evaluation.scores import ThingScores
from evaluation.scoring import Progress

# Settings that belong to the reported text and what is measured beside it.
_OF_THE_TEXT = ("tasks", "limit_questions", "documents", "limit_documents", "lm_eval", "lm_eval_path")


@dataclass(frozen=True, kw_only=True)
class Choosing:
    """On what the best is chosen: another text, or every n-th document of the reported one."""

    text: str | None = None
    every: int = 5

    def __post_init__(self) -> None:
        if self.every < 2:
            raise ValueError(f"every {ordinal(self.every)} document would leave none to report; give 2 or more")


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The things on the reported documents, and which of them are the best."""

    reported: list[ThingScores]
    selection: Selection


def choose(
    evaluation: Evaluation,
    roles: Sequence[Role],
    paths: Sequence[Path],
    choosing: Choosing,
    *,
    progress: Progress,
    scoring: Mapping[str, Any],
) -> Chosen:
    """Chooses by mean KL to the float model.

    Args:
        evaluation: of all things on the text.
        roles: of its things.
        paths: of its things; scored again on the other text, if one is given.
        scoring: what `evaluate_things` was told.

    Raises:
        ValueError: the text is too short to be parted, or the other one shares a document with it.
    """
    things = list(evaluation.things)
    if max(roles.count("ptq"), roles.count("qat")) < 2:
        return Chosen(reported=things, selection=_selection(things, roles, "Nothing had to be chosen.", documents=0))
    if choosing.text is not None:
        progress(f"choosing the best on {choosing.text}")
        given = {name: value for name, value in scoring.items() if name not in _OF_THE_TEXT}
        other = evaluate_things(paths, text=choosing.text, reference=paths[0], progress=progress, **given)
        assert other.text is not None
        _check_apart(things[0], other.things[0], choosing.text)
        rule = f"The best was chosen by mean KL on another text, {choosing.text} ({other.text.documents:,} documents)."
        selection = _selection(other.things, roles, rule, documents=other.text.documents)
        return Chosen(reported=things, selection=selection)
    count = len(things[0].documents)
    apart = range(choosing.every - 1, count, choosing.every)
    if not apart:
        raise ValueError(
            f"the text has {count} documents, so every {ordinal(choosing.every)} is none, and the best of several "
            "cannot be chosen on others than those reported; give --select-text, a smaller --select-every, or more text"
        )
    rule = (
        f"The best was chosen by mean KL on every {ordinal(choosing.every)} document ({len(apart):,} of {count:,}); "
        "the figures are of the others."
    )
    selection = _selection(part_of(things, apart), roles, rule, documents=len(apart))
    rest = [i for i in range(count) if i not in apart]
    return Chosen(reported=part_of(things, rest), selection=selection)


def _selection(things: Sequence[ThingScores], roles: Sequence[Role], rule: str, *, documents: int) -> Selection:
    best: dict[Role, str] = {}
    for role in ("ptq", "qat"):
        mine = [thing for thing, own in zip(things, roles, strict=True) if own == role]
        if mine:
            best[role] = nearest(mine)
    return Selection(
        rule=rule,
        documents=documents,
        kl_mean={thing.name: _kl_mean(thing) for thing in things[1:]} if documents else {},
        best_ptq=best.get("ptq"),
        best_qat=best.get("qat"),
    )


def ordinal(number: int) -> str:
    """2nd, 3rd, 5th, 11th, 21st."""
    is_teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if is_teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def _kl_mean(thing: ThingScores) -> float:
    return float(kl_sums(thing.documents).sum() / token_counts(thing.documents).sum())


def _check_apart(reported: ThingScores, other: ThingScores, text: str) -> None:
    seen = {tuple(document.tokens) for document in reported.documents}
    shared = sum(tuple(document.tokens) in seen for document in other.documents)
    if shared:
        raise ValueError(
            f"{shared} documents of {text} are also reported on, and the best must be chosen on others; give another "
            "text, or leave --select-text out"
        )
