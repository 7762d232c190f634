"""Token accounting: what is still seen, how much is left, what a saved chat brings back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.ring import visible_positions
from chat.window import (
    Context,
    ContextFullError,
    Mark,
    context_end_sentence,
    mark,
    new_token_budget,
    remaining,
    restore,
)

ENDLESS = Context(kind="endless", tokens=100)
BOUNDED = Context(kind="bounded", tokens=100)


def marked(first: int, turn: int, is_partial: bool) -> Mark:
    return Mark(first_visible_position=first, first_visible_turn=turn, is_partial=is_partial)


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (0, marked(0, 0, False)),
        (99, marked(0, 0, False)),
        (100, marked(1, 0, True)),  # the next token sees 100 positions, its own included: position 0 is out of sight
        (139, marked(40, 1, False)),  # exactly the first turn has left
        (140, marked(41, 1, True)),
        (2**33, marked(2**33 - 99, 2, True)),
    ],
)
def test_the_mark_moves_with_the_window(position: int, expected: Mark) -> None:
    starts = [start for start in (0, 40, 90) if start <= position]
    assert mark(starts, position, ENDLESS) == expected


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(1, 60))
def test_the_mark_agrees_with_what_the_ring_lets_the_next_token_see(lengths: list[int], tokens: int) -> None:
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    position = sum(lengths)
    seen = mark(starts, position, Context(kind="endless", tokens=tokens))
    visible = set(visible_positions(position, tokens))
    whole = [visible.issuperset(range(s, s + n)) for s, n in zip(starts, lengths, strict=True)]
    some = [not visible.isdisjoint(range(s, s + n)) for s, n in zip(starts, lengths, strict=True)]
    if tokens > 1:  # a window of one token sees nothing but the next token itself
        assert seen.first_visible_turn == some.index(True)
        assert seen.is_partial is not whole[seen.first_visible_turn]
    assert seen.first_visible_position == min(visible)


def test_a_bounded_context_forgets_nothing() -> None:
    assert mark([0, 40, 90], 100, BOUNDED) == marked(0, 0, False)


@pytest.mark.parametrize(("starts", "position"), [([1, 5], 9), ([0, 6, 5], 9), ([0, 10], 9), ([], -1)])
def test_impossible_turn_starts_are_refused(starts: list[int], position: int) -> None:
    with pytest.raises(ValueError, match=r"must begin with 0|lies before"):
        mark(starts, position, ENDLESS)


def test_an_endless_context_never_runs_out() -> None:
    assert remaining(10**12, ENDLESS) is None
    assert new_token_budget(10**12, 500, 40, ENDLESS) == 40


def test_a_bounded_context_is_never_overrun() -> None:
    assert remaining(30, BOUNDED) == 70
    assert remaining(101, BOUNDED) == 0
    assert new_token_budget(30, 20, 500, BOUNDED) == 50
    assert new_token_budget(30, 20, 10, BOUNDED) == 10
    assert new_token_budget(30, 69, 10, BOUNDED) == 1


def test_a_full_chat_is_refused_with_a_sentence() -> None:
    with pytest.raises(ContextFullError, match="has 70 tokens, and of the package's 100 only 70 are left; start"):
        new_token_budget(30, 70, 10, BOUNDED)
    with pytest.raises(ContextFullError, match="has 100 tokens and this package holds 100 in all; send a shorter"):
        new_token_budget(0, 100, 10, BOUNDED)
    assert "limit of 100 tokens; start a new chat" in context_end_sentence(BOUNDED)


def test_nothing_to_send_and_nothing_wanted_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing to send: the message has no token; type something"):
        new_token_budget(0, 0, 5, ENDLESS)
    with pytest.raises(ValueError, match="0 new tokens were asked for"):
        new_token_budget(0, 5, 0, ENDLESS)
    with pytest.raises(ValueError, match="position -1 is negative"):
        remaining(-1, ENDLESS)


def test_impossible_contexts_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind of context 'ring'"):
        Context(kind="ring", tokens=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a context of 0 tokens"):
        Context(kind="endless", tokens=0)


CHAT = ["system", "user", "assistant", "user", "assistant", "user", "assistant"]


def test_all_of_a_short_chat_comes_back() -> None:
    kept = restore(CHAT, [10, 5, 5, 5, 5, 5, 5], ENDLESS, 20)
    assert (kept.first, kept.tokens, kept.note) == (1, 40, "")


def test_the_system_message_and_the_newest_whole_turns_come_back() -> None:
    kept = restore(CHAT, [10, 20, 20, 20, 15, 20, 15], ENDLESS, 20)
    assert (kept.has_system, kept.first, kept.tokens) == (True, 3, 80)
    assert kept.note == "2 older messages no longer fit and are not remembered; they stay readable"


def test_a_turn_is_kept_whole_or_not_at_all() -> None:
    kept = restore(CHAT, [10, 20, 20, 30, 15, 20, 15], ENDLESS, 20)  # the middle reply would fit, its question not
    assert (kept.first, kept.tokens) == (5, 45)


def test_turns_that_fit_exactly_are_kept_and_one_token_more_drops_one() -> None:
    assert restore(CHAT, [10, 10, 10, 20, 15, 20, 15], ENDLESS, 0).first == 1
    assert restore(CHAT, [10, 10, 11, 20, 15, 20, 15], ENDLESS, 0).first == 3


def test_a_newest_turn_larger_than_the_window_is_explained() -> None:
    kept = restore(CHAT, [10, 5, 5, 5, 5, 90, 15], ENDLESS, 20)
    assert (kept.first, kept.tokens) == (7, 10)
    assert kept.note == (
        "the newest turn alone has 105 tokens and 70 fit, so nothing of the saved chat is remembered; it stays readable"
    )


def test_an_older_small_turn_never_jumps_over_a_newer_large_one() -> None:
    assert restore(["user", "assistant"] * 3, [1, 1, 60, 60, 10, 10], ENDLESS, 0).first == 4


def test_a_single_dropped_message_is_told_in_the_singular() -> None:
    assert restore(["user", "user"], [90, 20], ENDLESS, 0).note.startswith("1 older message no longer fits")


def test_an_empty_chat_brings_back_nothing_without_a_note() -> None:
    assert (restore([], [], ENDLESS, 0).first, restore([], [], ENDLESS, 0).note) == (0, "")
    assert restore(["system"], [100], ENDLESS, 0).tokens == 100


@pytest.mark.parametrize(
    ("roles", "lengths", "reserve", "message"),
    [
        (["user"], [], 0, "1 roles and 0 lengths"),
        (["assistant"], [1], 0, "begins with an assistant message"),
        (["system", "assistant"], [1, 1], 0, "begins with an assistant message"),
        (["user", "system"], [1, 1], 0, "message 1 is a system message"),
        (["tool"], [1], 0, "message 0 has the role 'tool'"),
        (["user"], [-1], 0, "must not be negative"),
        (["user"], [1], -1, "must not be negative"),
        (["system"], [90], 20, "system message of 90 tokens and 20 reserved ones do not fit"),
    ],
)
def test_impossible_saved_chats_are_refused(roles: list[str], lengths: list[int], reserve: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        restore(roles, lengths, ENDLESS, reserve)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=8), st.integers(0, 50), st.integers(0, 60))
def test_what_comes_back_is_the_longest_run_of_turns_that_fits(
    turns: list[tuple[int, int]], reserve: int, system: int
) -> None:
    if reserve + system > 100:
        return
    lengths = [system, *(length for turn in turns for length in turn)]
    kept = restore(["system", *["user", "assistant"] * len(turns)], lengths, ENDLESS, reserve)
    fitting = [n for n in range(len(turns) + 1) if system + sum(map(sum, turns[len(turns) - n :])) + reserve <= 100]
    assert kept.first == 1 + 2 * (len(turns) - max(fitting))
    assert kept.tokens == system + sum(lengths[kept.first :])
