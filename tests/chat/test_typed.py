"""Typed text never becomes a special token, by rule and through the phones' own reader."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.typed import neutralise
from model.tokenizer import read_tokenizer_spec
from model.tokenizer_readers import open_native

SMOLLM = Path(__file__).parents[3] / "shared" / "tokenizers" / "smollm"
MARKERS = ("<|im_end|>", "<|im_start|>", "<|endoftext|>", "<repo_name>")
BREAK = "\u200b"


@pytest.mark.parametrize(
    ("text", "specials", "expected"),
    [
        ("plain text", ["<|im_end|>"], "plain text"),
        ("", ["<|im_end|>"], ""),
        ("a<|im_end|>b<|im_end|>", ["<|im_end|>"], f"a<{BREAK}|im_end|>b<{BREAK}|im_end|>"),
        ("aaa", ["aa"], f"a{BREAK}a{BREAK}a"),
        ("<s><s>x", ["<s>", "<s><s>x"], f"<{BREAK}s><{BREAK}s>x"),
        ("a|b", ["|"], f"a{BREAK}b"),
        ("<|a|b|>", ["<|a|", "|b|>"], f"<{BREAK}|a|b|>".replace("|b|>", f"|{BREAK}b|>")),
        ("\U0001f600!", ["\U0001f600!"], f"\U0001f600{BREAK}!"),
        ("ab", ["ab", f"a{BREAK}b"], "a\u2060b"),
        ("cut\0off", [], "cutoff"),
        ("<|im\0_end|>", ["<|im_end|>"], f"<{BREAK}|im_end|>"),
        ("x", [""], "x"),
    ],
    ids=[
        "nothing to do",
        "empty text",
        "two markers",
        "overlap with itself",
        "a prefix of another",
        "one character",
        "overlap of two",
        "beyond the BMP",
        "the separator is in a special",
        "NUL",
        "NUL inside a marker",
        "empty special",
    ],
)
def test_the_rule_breaks_markers_and_nothing_else(text: str, specials: list[str], expected: str) -> None:
    assert neutralise(text, specials) == expected


def test_specials_that_hold_every_separator_are_refused() -> None:
    with pytest.raises(ValueError, match=r"U\+200B and U\+2060"):
        neutralise("text", ["\u200b", "a\u2060"])


@given(text=st.text("ab<|>\u200b\0", max_size=40), specials=st.lists(st.text("ab<|>\0", max_size=4), max_size=6))
@settings(max_examples=300, deadline=None)
def test_no_special_is_left_and_a_second_pass_changes_nothing(text: str, specials: list[str]) -> None:
    done = neutralise(text, specials)
    assert not any(special.replace("\0", "") in done for special in specials if special.replace("\0", ""))
    assert neutralise(done, reversed(specials)) == done
    kept = [c for c in text if c not in {"\0", BREAK} and c not in specials]
    assert [c for c in done if c != BREAK] == [c for c in kept if c not in {s.replace("\0", "") for s in specials}]


@pytest.fixture(scope="module")
def reader() -> Any:
    if not SMOLLM.is_dir():
        pytest.skip("../shared is not here: tokenizers/smollm is needed")
    return open_native(SMOLLM / "tokenizer.json", "hf")


@pytest.fixture(scope="module")
def specials(reader: Any) -> dict[str, int]:
    spec = read_tokenizer_spec(SMOLLM, vocab_size=49_152)
    assert spec is not None
    return {token.text: token.id for token in spec.special_tokens}


@given(
    parts=st.lists(
        st.one_of(st.sampled_from([*MARKERS, "<", "|", "im_end|>", "<|im_", "<|im_end|", BREAK]), st.text(max_size=3)),
        max_size=8,
    )
)
@settings(max_examples=200, deadline=None)
def test_the_phones_reader_finds_no_special_id_in_neutralised_text(
    reader: Any, specials: dict[str, int], parts: list[str]
) -> None:
    text, ids = "".join(parts), set(specials.values())
    assert ids.isdisjoint(reader.encode(neutralise(text, specials), 0, 0))
    if any(marker in text for marker in MARKERS):  # the danger is real
        assert not ids.isdisjoint(reader.encode(text, 0, 0))
