"""The joiner is Python's own incremental decoder with errors="replace", call for call but for one known delay."""

import codecs

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chat.utf8 import REPLACEMENT, Utf8Joiner, replace_lone_surrogates, whole_text

# Every byte at which a row of table 3-7 begins or ends, so that short random strings meet all the edges.
EDGES = [
    0x00,
    0x41,
    0x7F,
    0x80,
    0x8F,
    0x90,
    0x9F,
    0xA0,
    0xBF,
    0xC0,
    0xC1,
    0xC2,
    0xDF,
    0xE0,
    0xE1,
    0xEC,
    0xED,
    0xEE,
    0xEF,
    0xF0,
    0xF1,
    0xF3,
    0xF4,
    0xF5,
    0xFF,
]
PIECES = st.lists(st.lists(st.sampled_from(EDGES), max_size=6).map(bytes), max_size=6)


def joined(pieces: list[bytes]) -> list[str]:
    joiner = Utf8Joiner()
    return [joiner.push(piece) for piece in pieces] + [joiner.flush()]


@settings(deadline=None)
@given(PIECES)
@example([b"\xf0\x9f", b"\x98", b"\x80"])
@example([b"\xed\xa0\x80", b"\xe0\x80\x80", b"\xf4\x90"])
@example([b"\xed\xa0", b"\x80"])
def test_after_every_call_the_text_is_what_pythons_decoder_made(pieces: list[bytes]) -> None:
    decoder, joiner = codecs.getincrementaldecoder("utf-8")("replace"), Utf8Joiner()
    fed, ours, theirs = b"", "", ""
    for piece in pieces:
        fed, ours, theirs = fed + piece, ours + joiner.push(piece), theirs + decoder.decode(piece)
        # CPython waits for a surrogate's third byte (for its "surrogatepass"), although the second is wrong already.
        is_delayed = len(fed) > 1 and fed[-2] == 0xED and 0xA0 <= fed[-1] <= 0xBF
        assert ours == theirs + (REPLACEMENT * 2 if is_delayed else "")
    assert ours + joiner.flush() == theirs + decoder.decode(b"", final=True) == fed.decode("utf-8", "replace")


@settings(deadline=None)
@given(st.text(max_size=12), st.data())
def test_well_formed_text_survives_any_split(text: str, data: st.DataObject) -> None:
    encoded = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(encoded)), max_size=6)))
    pieces = [encoded[a:b] for a, b in zip([0, *cuts], [*cuts, len(encoded)], strict=True)]
    assert "".join(joined(pieces)) == text


def test_all_two_byte_beginnings_agree_with_pythons_decoder() -> None:
    for first in range(0x80, 0x100):
        for second in range(0x100):
            sequence = bytes([first, second])
            assert "".join(joined([sequence])) == sequence.decode("utf-8", "replace"), sequence.hex()


def test_an_emoji_split_at_every_byte_waits_for_its_last_byte() -> None:
    assert joined([b"\xf0", b"\x9f", b"\x98", b"\x80"]) == ["", "", "", "😀", ""]


def test_an_unfinished_character_becomes_one_replacement_at_the_end() -> None:
    assert joined([b"ok\xf0\x9f\x98"]) == ["ok", REPLACEMENT]


def test_a_surrogate_becomes_three_replacements_at_once() -> None:
    assert joined([b"\xed\xa0\x80"]) == [REPLACEMENT * 3, ""]


def test_after_flush_a_continuation_byte_is_alone() -> None:
    joiner = Utf8Joiner()
    assert joiner.push(b"\xe2\x82") + joiner.flush() == REPLACEMENT
    assert joiner.push(b"\xac") == REPLACEMENT


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", ""),
        (b" mat", " mat"),
        ("\ufffd".encode(), "\ufffd"),
        (b"\x98\x80", None),
        (b"a\xf0\x9f", None),
        (b"\xed\xa0\x80", None),
    ],
)
def test_whole_text_knows_bytes_that_stand_by_themselves(data: bytes, expected: str | None) -> None:
    assert whole_text(data) == expected


def test_lone_surrogates_are_replaced_and_pairs_are_joined() -> None:
    assert replace_lone_surrogates("a\ud800b\udc00\ud83d\ude00") == "a\ufffdb\ufffd😀"
