import dataclasses

import numpy as np
import pytest
import torch

from evaluation.disagreements import Place, describe_places, farthest_places, piece_text
from tests.evaluation.synthetic_things import make_things


class Words:
    """A tokenizer of ten pieces: a control token, half a character, and words."""

    pieces = (b"", b"\xe2\x82", *(f" w{n}".encode() for n in range(7)))

    def piece(self, token):
        if token >= len(self.pieces):
            raise ValueError("padding")
        return self.pieces[token]

    def decode(self, ids):
        return b"".join(map(self.piece, ids)).decode(errors="replace")


class Fixed:
    """A model that gives the same logits after anything, in blocks of one row."""

    def __init__(self, *logits):
        self.logits, self.asked = torch.tensor(logits), []

    def rows(self, ids, start=0):
        self.asked.append((list(ids), start))
        for _ in ids[start:]:
            yield self.logits[None]


def scored(**fields):
    _, thing = make_things(documents=3, tokens=4, thing=(0.1, 0.1))
    documents = [
        dataclasses.replace(document, **{name: np.array(values[number]) for name, values in fields.items()})
        for number, document in enumerate(thing.documents)
    ]
    return dataclasses.replace(thing, documents=documents)


def test_the_farthest_place_of_each_document_with_another_choice_comes_before_any_without():
    thing = scored(
        kl=[[0.1, 9.0, 0.2, 0.3], [0.5, 0.4, 0.1, 0.1], [5.0, 0.1, 0.1, 0.1]],
        agree=[[False, True, False, True], [False, False, True, True], [True] * 4],
    )
    assert farthest_places(thing, 8) == [
        Place(document=1, position=1, kl=0.5), Place(document=0, position=3, kl=0.2),
        Place(document=2, position=1, kl=5.0),
    ]  # fmt: skip
    assert len(farthest_places(thing, 2)) == 2


def test_things_that_are_equal_disagree_nowhere():
    assert farthest_places(scored(kl=[[0.0] * 4] * 3, agree=[[True] * 4] * 3), 8) == []


def test_a_place_is_described_by_what_both_models_would_write_after_the_same_text():
    thing = scored(kl=[[0.5] * 4] * 3, agree=[[False] * 4] * 3)
    document = dataclasses.replace(thing.documents[0], tokens=(2, 3, 4, 5, 6), name="story")
    thing = dataclasses.replace(thing, documents=[document])
    logits = ([0.0] * 9, [0.0] * 9)
    logits[0][7], logits[1][8] = 3.0, 2.0
    float_, other = Fixed(*logits[0]), Fixed(*logits[1])
    (found,) = describe_places(thing, [Place(document=0, position=3, kl=0.5)], other, float_, Words())
    assert float_.asked == other.asked == [([2, 3, 4], 2)]
    assert (found.document, found.before, found.actual) == ("story", " w0 w1 w2", " w3")
    assert (found.float_choice.text, found.thing_choice.text) == (" w5", " w6")
    shares = torch.tensor(logits).double().softmax(-1)
    assert found.float_choice.by_float == pytest.approx(float(shares[0, 7]))
    assert found.float_choice.by_thing == pytest.approx(float(shares[1, 7]))
    assert found.thing_choice.by_thing == pytest.approx(float(shares[1, 8]))


def test_a_token_without_text_of_its_own_is_named():
    assert [piece_text(Words(), token) for token in (0, 1, 2, 99)] == ["<0>", "<e2 82>", " w0", "<99>"]
