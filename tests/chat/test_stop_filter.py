"""The stop filter gives the same reply however the stream is split, and never shows a part of a stop text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.stop_filter import StopFilter

ALPHABET = "ab<é😀"


def filtered(stops: list[str], pieces: list[str]) -> str:
    stop_filter = StopFilter(stops)
    return "".join(stop_filter.push(piece) for piece in pieces) + stop_filter.flush()


def cut_by_definition(stops: list[str], text: str) -> str:
    """Grows the text character by character and cuts where a stop text first stands at its end."""
    for end in range(len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return text[: min(starts)]
    return text


def test_a_stop_text_and_everything_after_it_is_removed() -> None:
    assert filtered(["<|eot|>"], ["Hi there.<|eot|>and more"]) == "Hi there."


def test_a_stop_text_spread_over_pieces_is_never_shown() -> None:
    stop_filter = StopFilter(["<|eot|>"])
    assert [stop_filter.push(piece) for piece in ["Hi", "<", "|e", "ot|", ">", "more"]] == ["Hi", "", "", "", "", ""]
    assert stop_filter.is_stopped
    assert stop_filter.flush() == ""


def test_what_only_looked_like_a_stop_text_is_shown_in_the_end() -> None:
    stop_filter = StopFilter(["<|eot|>"])
    assert stop_filter.push("1 <|e") == "1 "
    assert stop_filter.push(" 2") == "<|e 2"
    assert stop_filter.push("<|") == ""
    assert stop_filter.flush() == "<|"
    assert not stop_filter.is_stopped


def test_only_the_longest_possible_beginning_is_held_back() -> None:
    stop_filter = StopFilter(["aab"])
    assert stop_filter.push("aaa") == "a"
    assert stop_filter.push("b") == ""
    assert stop_filter.is_stopped


def test_the_stop_text_that_is_complete_first_wins_although_a_longer_one_began_before() -> None:
    assert filtered(["bc", "abcd"], ["abcd"]) == "a"


def test_of_two_stop_texts_that_end_together_the_longer_is_cut() -> None:
    assert filtered(["c", "bc"], ["abc"]) == "a"
    assert filtered(["bc", "c"], ["abc"]) == "a"


def test_a_combining_mark_does_not_hide_a_stop_text() -> None:
    assert filtered(["e"], ["x", "e\u0301"]) == "x"


def test_without_stop_texts_everything_passes_at_once() -> None:
    stop_filter = StopFilter([])
    assert stop_filter.push("abc") == "abc"
    assert stop_filter.flush() == ""


def test_an_empty_stop_text_is_refused() -> None:
    with pytest.raises(ValueError, match="a stop text is empty"):
        StopFilter(["x", ""])


@settings(deadline=None)
@given(
    st.lists(st.text(ALPHABET, min_size=1, max_size=4), max_size=4), st.lists(st.text(ALPHABET, max_size=5), max_size=8)
)
def test_any_split_gives_what_the_definition_says(stops: list[str], pieces: list[str]) -> None:
    assert filtered(stops, pieces) == cut_by_definition(stops, "".join(pieces))


@settings(deadline=None)
@given(
    st.lists(st.text(ALPHABET, min_size=1, max_size=4), min_size=1, max_size=4),
    st.lists(st.text(ALPHABET, max_size=5), max_size=8),
)
def test_no_more_is_held_back_than_a_beginning_of_a_stop_text(stops: list[str], pieces: list[str]) -> None:
    stop_filter = StopFilter(stops)
    fed = shown = ""
    for piece in pieces:
        fed += piece
        shown += stop_filter.push(piece)
        if stop_filter.is_stopped:
            break
        held = fed[len(shown) :]
        assert fed.startswith(shown)
        assert held == "" or any(stop.startswith(held) for stop in stops)
