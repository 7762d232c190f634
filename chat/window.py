"""Counts a conversation's tokens: what the model still sees, how much room is left, what a saved chat may bring back.

Positions count tokens since the chat began. An endless context sees the last `tokens` positions for ever; a bounded
one ends at `tokens`, and nothing after it works, so callers ask here before they send anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Context:
    """A package's context, as its manifest says it.

    Raises:
        ValueError: an unknown kind, or fewer than 1 token.
    """

    kind: Literal["endless", "bounded"]
    tokens: int

    def __post_init__(self) -> None:
        if self.kind not in ("endless", "bounded"):
            raise ValueError(f"unknown kind of context {self.kind!r}; it is 'endless' or 'bounded'")
        if self.tokens < 1:
            raise ValueError(f"a context of {self.tokens} tokens holds nothing; it must be at least 1")


class ContextFullError(ValueError):
    """What should be sent does not fit into a bounded context; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Where the "older messages are forgotten" line belongs."""

    first_visible_position: int  # the oldest position that the next token sees
    first_visible_turn: int  # the oldest turn of which something is seen
    is_partial: bool  # whether that turn's beginning is out of sight


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Which messages of a saved chat are prefilled again."""

    has_system: bool  # whether the chat begins with a system message; it is kept whatever its age
    first: int  # index of the oldest other message kept; the number of messages when none is
    tokens: int  # of everything kept
    note: str  # what the user should know, "" when everything is kept


def mark(turn_starts: Sequence[int], position: int, context: Context) -> Mark:
    """What the next token sees of the conversation.

    Args:
        turn_starts: each turn's first position, never decreasing; the first starts at 0, the system message included.
        position: where the next token will go, that is: how many positions are in the cache.
        context: the package's.

    Raises:
        ValueError: starts that do not begin with 0, decrease, or lie past `position`.
    """
    starts = list(turn_starts)
    if starts != sorted(starts) or starts[:1] not in ([], [0]):
        raise ValueError(f"turn starts {starts} must begin with 0 and never decrease")
    if position < max(starts, default=0):
        raise ValueError(f"position {position} lies before the last turn's start; pass the position after that turn")
    first = max(0, position - context.tokens + 1) if context.kind == "endless" else 0
    turn = 0
    while turn + 1 < len(starts) and starts[turn + 1] <= first:
        turn += 1
    return Mark(first_visible_position=first, first_visible_turn=turn, is_partial=bool(starts) and starts[turn] < first)


def remaining(position: int, context: Context) -> int | None:
    """Positions that are left; None when they never run out.

    Raises:
        ValueError: a negative position.
    """
    if position < 0:
        raise ValueError(f"position {position} is negative")
    return None if context.kind == "endless" else max(0, context.tokens - position)


def new_token_budget(position: int, prompt_tokens: int, wanted: int, context: Context) -> int:
    """How many tokens may be generated after a prompt, so that a bounded context is never overrun.

    The prompt and every new token get a position, the last one too, so that the next turn can still write it.

    Raises:
        ContextFullError: the prompt and one new token do not fit into what is left of a bounded context.
        ValueError: nothing to send, or nothing wanted.
    """
    if prompt_tokens < 1:
        raise ValueError("there is nothing to send: the message has no token; type something")
    if wanted < 1:
        raise ValueError(f"{wanted} new tokens were asked for; it must be at least 1")
    left = remaining(position, context)
    if left is None:
        return wanted
    if left <= prompt_tokens:
        if prompt_tokens >= context.tokens:
            raise ContextFullError(
                f"the message has {_tokens(prompt_tokens)} and this package holds {context.tokens} "
                "in all; send a shorter message"
            )
        raise ContextFullError(
            f"the chat is full: the message has {_tokens(prompt_tokens)}, and of the package's "
            f"{context.tokens} only {left} are left; start a new chat"
        )
    return min(wanted, left - prompt_tokens)


def context_end_sentence(context: Context) -> str:
    """What to tell the user when a reply was cut because a bounded context is full."""
    return (
        f"the reply stops here because the chat has reached this package's limit of {context.tokens} tokens; "
        "start a new chat to go on"
    )


def restore(roles: Sequence[str], lengths: Sequence[int], context: Context, reserve: int) -> Kept:
    """Which messages of a saved chat to prefill again: the system message and the newest whole turns that fit.

    A turn is a user message and what follows it up to the next one. What is kept begins with a user message, in an
    endless context too, where an older beginning would only push itself out of sight.

    Args:
        roles: "system" (only first), "user" or "assistant", oldest first.
        lengths: each message's tokens, its template prefix and suffix included.
        context: the package's.
        reserve: tokens to leave free for the next message and its reply.

    Raises:
        ValueError: lists of unequal length, a role out of place, a negative number, or a system message and reserve
            that alone do not fit into the context.
    """
    _check_messages(roles, lengths, reserve)
    has_system = bool(roles) and roles[0] == "system"
    system_tokens = lengths[0] if has_system else 0
    room = context.tokens - reserve - system_tokens
    if room < 0:
        raise ValueError(
            f"the system message of {system_tokens} tokens and {reserve} reserved ones do not fit into "
            f"this package's context of {context.tokens}; shorten the system message or reserve less"
        )
    begin = 1 if has_system else 0
    first, used, newest_turn, tail = len(roles), 0, 0, 0
    for index in range(len(roles) - 1, begin - 1, -1):
        tail += lengths[index]
        if roles[index] != "user":
            continue
        newest_turn = newest_turn or tail
        if tail > room:
            break
        first, used = index, tail
    return Kept(
        has_system=has_system,
        first=first,
        tokens=system_tokens + used,
        note=_note(num_dropped=first - begin, num_kept=len(roles) - first, newest_turn=newest_turn, room=room),
    )


def _check_messages(roles: Sequence[str], lengths: Sequence[int], reserve: int) -> None:
    if len(roles) != len(lengths):
        raise ValueError(f"{len(roles)} roles and {len(lengths)} lengths; give one length for each message")
    if reserve < 0 or any(length < 0 for length in lengths):
        raise ValueError(f"reserve {reserve} and lengths {list(lengths)} must not be negative")
    if list(roles[:1]) == ["assistant"] or list(roles[:2]) == ["system", "assistant"]:
        raise ValueError("the chat begins with an assistant message; after the system message comes a user message")
    for index, role in enumerate(roles):
        if role not in ("system", "user", "assistant"):
            raise ValueError(f"message {index} has the role {role!r}; it is 'system', 'user' or 'assistant'")
        if role == "system" and index:
            raise ValueError(f"message {index} is a system message; only the first message may be one")


def _tokens(count: int) -> str:
    return "1 token" if count == 1 else f"{count} tokens"


def _note(*, num_dropped: int, num_kept: int, newest_turn: int, room: int) -> str:
    if num_dropped == 0:
        return ""
    if num_kept == 0:
        return (
            f"the newest turn alone has {newest_turn} tokens and {room} fit, so nothing of the saved chat is "
            "remembered; it stays readable"
        )
    if num_dropped == 1:
        return "1 older message no longer fits and is not remembered; it stays readable"
    return f"{num_dropped} older messages no longer fit and are not remembered; they stay readable"
