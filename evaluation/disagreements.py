"""The tokens on which a thing is farthest from the float model, in context: what either would have written.

Shapes: T scored tokens of a document, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evaluation.report import Choice, Disagreement
from evaluation.scorers import Scorer
from evaluation.scores import ThingScores
from model.tokenizer_readers import Tokenizer

_BEFORE_TOKENS, _BEFORE_LETTERS = 60, 90  # of context that are shown


@dataclass(frozen=True, kw_only=True)
class Place:
    """A predicted token: `ids[position]` of a document."""

    document: int  # its index among those that were scored
    position: int
    kl: float  # nats


def farthest_places(thing: ThingScores, count: int) -> list[Place]:
    """Where the KL is highest, one place a document so that they are not all alike; other likeliest tokens first."""
    found = []
    for number, document in enumerate(thing.documents):
        assert document.kl is not None and document.agree is not None  # scored against the float model
        differs = not bool(document.agree.all())
        at = int(np.where(document.agree, -1.0, document.kl).argmax() if differs else document.kl.argmax())
        if document.kl[at] > 0:
            place = Place(document=number, position=at + 1, kl=float(document.kl[at]))
            found.append((not differs, -place.kl, number, place))
    return [place for *_, place in sorted(found, key=lambda entry: entry[:3])[:count]]


def describe_places(
    thing: ThingScores, places: Sequence[Place], scorer: Scorer, reference: Scorer, tokenizer: Tokenizer
) -> list[Disagreement]:
    """Both models' likeliest tokens at each place, with what each gives to either; runs both once a place."""
    found = []
    for place in places:
        ids = list(thing.documents[place.document].tokens[: place.position + 1])
        by_float, by_thing = (_probabilities(one, ids[:-1]) for one in (reference, scorer))
        choices = [
            Choice(text=piece_text(tokenizer, best), by_float=float(by_float[best]), by_thing=float(by_thing[best]))
            for best in (int(by_float.argmax()), int(by_thing.argmax()))
        ]
        before = tokenizer.decode(ids[max(0, len(ids) - 1 - _BEFORE_TOKENS) : -1])
        found.append(
            Disagreement(
                thing=thing.name,
                document=thing.documents[place.document].name,
                position=place.position,
                before=before[-_BEFORE_LETTERS:],
                actual=piece_text(tokenizer, ids[-1]),
                kl=place.kl,
                float_choice=choices[0],
                thing_choice=choices[1],
            )
        )
    return found


def piece_text(tokenizer: Tokenizer, token: int) -> str:
    """A token as a reader sees it; a part of a character, a control token or one of the padding by its number."""
    try:
        content = tokenizer.piece(token)
        return content.decode() or f"<{token}>"
    except UnicodeDecodeError:
        return f"<{content.hex(' ')}>"
    except ValueError:
        return f"<{token}>"


def _probabilities(scorer: Scorer, ids: Sequence[int]) -> Tensor:
    """[V] of the token after the ids."""
    (rows,) = scorer.rows(ids, len(ids) - 1)
    return torch.as_tensor(rows[-1]).double().softmax(-1)
