from dataclasses import dataclass
from pathlib import Path

import pytest

from evaluation import compare_choice
from evaluation.compare_choice import Choosing, choose, ordinal
from tests.evaluation.synthetic_things import make_things

ROLES = ["float", "ptq", "ptq", "qat"]
PATHS = [Path(name) for name in ("float", "a", "b", "qat")]


@dataclass
class Text:
    documents: int


@dataclass
class Scored:
    """What `choose` needs of an evaluation."""

    things: list

    @property
    def text(self):
        return Text(len(self.things[0].documents))


def scored(documents=50, seed=0, **things):
    things = things or {"a": (0.1, 0.20), "b": (0.2, 0.10), "qat": (0.02, 0.03)}
    return Scored(make_things(documents, 20, seed, **things))


def chosen(evaluation, choosing=None, **scoring):
    return choose(evaluation, ROLES, PATHS, choosing or Choosing(), progress=lambda line: None, scoring=scoring)


def test_the_best_is_the_nearest_to_float_on_every_nth_document_and_these_are_not_reported():
    found = chosen(scored())
    assert found.selection.best_ptq == "b" and found.selection.best_qat == "qat"
    assert found.selection.documents == 10
    names = {document.name for document in found.reported[0].documents}
    assert len(names) == 40 and names.isdisjoint(str(n) for n in range(5, 51, 5))
    assert all({d.name for d in thing.documents} == names for thing in found.reported)
    assert "every 5th document (10 of 50)" in found.selection.rule
    assert set(found.selection.kl_mean) == {"a", "b", "qat"}


def test_what_is_best_on_the_reported_documents_alone_is_not_chosen():
    things = make_things(50, 20, a=(0.1, 0.10), b=(0.1, 0.11), qat=(0.02, 0.03))
    for number, document in enumerate(things[2].documents):  # b: perfect where it does not count, bad where it does
        document.kl[:] = 1.0 if number % 5 == 4 else 0.0001
    assert chosen(Scored(things)).selection.best_ptq == "a"


def test_with_one_of_each_nothing_is_chosen_and_every_document_is_reported():
    evaluation = Scored(make_things(7, 20, ptq=(0.1, 0.2), qat=(0.02, 0.03)))
    found = choose(evaluation, ["float", "ptq", "qat"], PATHS, Choosing(), progress=lambda line: None, scoring={})
    assert len(found.reported[0].documents) == 7
    assert found.selection.best_ptq == "ptq" and found.selection.documents == 0
    assert found.selection.rule == "Nothing had to be chosen."


def test_another_text_chooses_and_all_documents_are_reported(monkeypatch):
    asked = {}

    def evaluate_things(paths, **settings):
        asked.update(settings, paths=paths)
        return scored(30, seed=1, a=(0.1, 0.05), b=(0.2, 0.10), qat=(0.02, 0.03))

    monkeypatch.setattr(compare_choice, "evaluate_things", evaluate_things)
    found = chosen(scored(), Choosing(text="other.txt"), protocol="stories", max_tokens=64, tasks=("arc.jsonl",))
    assert found.selection.best_ptq == "a" and found.selection.documents == 30
    assert len(found.reported[0].documents) == 50
    assert asked["text"] == "other.txt" and asked["protocol"] == "stories" and asked["reference"] == PATHS[0]
    assert "tasks" not in asked


def test_another_text_that_shares_documents_with_the_reported_one_is_refused(monkeypatch):
    monkeypatch.setattr(compare_choice, "evaluate_things", lambda paths, **settings: scored(30))
    with pytest.raises(ValueError, match=r"documents of other\.txt are also reported on"):
        chosen(scored(30), Choosing(text="other.txt"))


def test_a_text_too_short_to_be_parted_is_refused():
    with pytest.raises(ValueError, match="4 documents, so every 5th is none"):
        chosen(scored(4))
    with pytest.raises(ValueError, match="none to report"):
        Choosing(every=1)


def test_a_rule_counts_as_people_do():
    assert [ordinal(n) for n in (2, 3, 5, 11, 21, 112)] == ["2nd", "3rd", "5th", "11th", "21st", "112th"]
