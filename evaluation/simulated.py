"""How much is scored when a CoreML package is among the things: its program runs here in a simulation, which is slow.

All things see the same tokens, so a bound for one is a bound for all; a note says what it has left out.
"""

from collections.abc import Sequence
from typing import TypeVar

from evaluation.scoring import TokenDocument
from evaluation.tokens import TokenStream

MOST_TOKENS = 2048  # of a text, if nobody says otherwise
MOST_QUESTIONS = 20  # of each task

Item = TypeVar("Item")


def first_documents(stream: TokenStream, simulated: Sequence[str], most: int) -> tuple[TokenStream, list[str]]:
    """The first documents of together at most `most` scored tokens; the last of them may be left out, never cut.

    Args:
        simulated: names of the things that are; none: the stream stays as it is.

    Raises:
        ValueError: the first document alone is longer.
    """
    if not simulated or stream.tokens <= most:
        return stream, []
    taken: list[TokenDocument] = []
    left = most
    for document in stream.documents:
        left -= len(document.ids) - 1
        if left < 0:
            break
        taken.append(document)
    if not taken:
        raise ValueError(
            f"{simulated[0]} is simulated, and the first document has {len(stream.documents[0].ids) - 1:,} tokens to "
            f"score, more than {most:,}: give a smaller --max-tokens, or a larger --simulated-tokens"
        )
    kept = TokenStream(documents=tuple(taken), cut=stream.cut)
    return kept, [
        f"{', '.join(simulated)}: simulated here, so the first {len(taken):,} of {len(stream.documents):,} documents "
        f"({kept.tokens:,} tokens) are scored, with every thing; --simulated-tokens sets the bound ({most:,})"
    ]


def few_questions(name: str, questions: Sequence[Item], simulated: Sequence[str]) -> tuple[Sequence[Item], list[str]]:
    """The first questions of a task, if something is simulated."""
    if not simulated or len(questions) <= MOST_QUESTIONS:
        return questions, []
    note = (
        f"{', '.join(simulated)}: simulated here, so {MOST_QUESTIONS} of {len(questions):,} questions of {name} are "
        "asked; --limit sets another bound"
    )
    return questions[:MOST_QUESTIONS], [note]
