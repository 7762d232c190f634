"""How a text file becomes documents to score: the named protocols, one small table.

Two figures compare only under the same protocol, so every report names it. Knows no tokenizer and no model.
"""

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FILES = "files"  # the protocol of folders and other sources of several documents: evaluation/text.py

# TinyStories' validation file has no separators: a story begins after a blank line with one of these.
_STORY_START = re.compile(r"\n[^\S\n]*\n\s*(?=Once upon a time|One day|Once there|There was once)")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A way to split; `split` gives the documents in their order, without surrounding white space or empty ones."""

    name: str
    meaning: str
    split: Callable[[str], list[str]]


def _stories(text: str) -> list[str]:
    return _stripped(_STORY_START.split(text))


def _lines(text: str) -> list[str]:
    return _stripped(text.split("\n"))


def _whole(text: str) -> list[str]:
    return _stripped([text])


def _unchanged(text: str) -> list[str]:
    return [text] if text.strip() else []


def _stripped(parts: list[str]) -> list[str]:
    return [part.strip() for part in parts if part.strip()]


PROTOCOLS: dict[str, Protocol] = {
    "stories": Protocol(
        name="stories",
        meaning="a document begins after a blank line with a story's opening words (TinyStories' validation file)",
        split=_stories,
    ),
    "lines": Protocol(name="lines", meaning="each line that is not blank is a document", split=_lines),
    "whole": Protocol(name="whole", meaning="the file is one document", split=_whole),
    FILES: Protocol(
        name=FILES,
        meaning="each file, JSON line or row is a document as `pocketlm train` reads it, white space and all",
        split=_unchanged,
    ),
}


def find_protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        ValueError: no such protocol; the message names the nearest and lists all.
    """
    if name not in PROTOCOLS:
        near = difflib.get_close_matches(name, PROTOCOLS, n=1, cutoff=0.3)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown protocol {name!r}{hint}; known: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def read_documents(path: Path, protocol: str) -> list[str]:
    """The documents of a UTF-8 text file.

    Raises:
        ValueError: an unknown protocol, a file that is missing or not UTF-8, or one without any document.
    """
    split = find_protocol(protocol).split
    if path.is_char_device():
        raise ValueError(f"{path} is a device without an end; name a text file to score")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; name a text file to score") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder; name a text file to score") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start}); convert it first") from None
    documents = split(text)
    if not documents:
        raise ValueError(f"{path} holds no text; there is nothing to score")
    return documents
