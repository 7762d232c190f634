"""How text becomes documents: one test a protocol, and what cannot be read."""

from pathlib import Path

import pytest

from evaluation.documents import find_protocol, read_documents

STORIES = """Once upon a time there was a cat.
It slept.

It woke up again. One day it ran.

One day, a dog came.
\t
There was once a hat.
Once upon a time it was new.



Once there were two.
"""


def test_a_story_begins_after_a_blank_line_with_its_opening_words() -> None:
    assert find_protocol("stories").split(STORIES) == [
        "Once upon a time there was a cat.\nIt slept.\n\nIt woke up again. One day it ran.",
        "One day, a dog came.",
        "There was once a hat.\nOnce upon a time it was new.",
        "Once there were two.",
    ]


def test_lines_are_documents_and_blank_ones_are_not() -> None:
    assert find_protocol("lines").split("  a b\n\n \nc\n") == ["a b", "c"]


def test_the_whole_text_is_one_document() -> None:
    assert find_protocol("whole").split("\na\n\nb\n") == ["a\n\nb"]


def test_the_shared_validation_file_holds_515_stories(shared: Path) -> None:
    assert len(read_documents(shared / "text" / "tinystories" / "valid.txt", "stories")) == 515


def test_an_unknown_protocol_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match="unknown protocol 'story'; did you mean 'stories'"):
        find_protocol("story")


@pytest.mark.parametrize("content, message", [
    (None, "is missing; name a text file"),
    (b"  \n \n", "holds no text"),
    (b"caf\xe9", "is not UTF-8 text .byte 3"),
])  # fmt: skip
def test_a_file_that_cannot_be_scored_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "text.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_documents(file, "lines")


def test_a_folder_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a folder"):
        read_documents(tmp_path, "lines")


def test_a_device_without_an_end_is_refused_before_it_is_read() -> None:
    with pytest.raises(ValueError, match="/dev/full is a device without an end; name a text file"):
        read_documents(Path("/dev/full"), "lines")
