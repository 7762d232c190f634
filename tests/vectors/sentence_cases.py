"""The vectors of the apps' own sentences, and the code that fills them in and spells sizes."""

import re

from tests.vectors.sentence_table import EXAMPLES, TABLE
from tests.vectors.text_cases import Case

_PLACE = re.compile(r"\{([a-z]+)\}")
_UNITS = ("kB", "MB", "GB", "TB")


def places(template: str) -> list[str]:
    """The names in braces, in order, each once."""
    return list(dict.fromkeys(_PLACE.findall(template)))


def fill(key: str, arguments: dict[str, str]) -> str:
    """A sentence with its places filled in, in one pass: braces in an argument stay what they are.

    Raises:
        ValueError: the arguments are not exactly the sentence's places.
    """
    template = TABLE[key]
    if set(arguments) != set(places(template)):
        raise ValueError(f"{key} has the places {places(template)}, not {sorted(arguments)}")
    return _PLACE.sub(lambda match: arguments[match[1]], template)


def size(count: int) -> str:
    """Bytes as people read them: decimal units, one decimal, rounded half up in whole numbers."""
    if count < 1000:
        return "1 byte" if count == 1 else f"{count} bytes"
    unit = 1000
    for name in _UNITS:
        tenths = (count * 10 + unit // 2) // unit
        if tenths < 10_000 or name == _UNITS[-1]:
            return f"{tenths // 10}.{tenths % 10} {name}"
        unit *= 1000
    raise AssertionError("the last unit takes everything")


def refusal(key: str, /, **arguments: str) -> Case:
    """A refusal as vectors spell it."""
    return {"key": key, "text": fill(key, arguments)}


def as_sentence(text: str) -> str:
    """A note or error of chat/ as the screen shows it: a capital letter first, a full stop last.

    Only ASCII letters are made capital, so that every language's rules give the same.
    """
    if not text:
        return ""
    first = text[0].upper() if "a" <= text[0] <= "z" else text[0]
    return first + text[1:] + ("" if text[-1] in ".!?" else ".")


_SIZES = (0, 1, 2, 999, 1000, 1049, 1050, 999_949, 999_950, 1_000_000, 148_000_000, 999_949_999, 999_950_000)
_LARGE_SIZES = (1_250_000_000, 5_000_000_000, 999_950_000_000, 2**53 - 1)
_NOTES = (
    "",
    "the chat is full: start a new chat",
    "1 older message no longer fits and is not remembered; it stays readable",
    "Done.",
    "really?",
    "étude",
    "😀 fits",
)


def sentence_cases() -> list[Case]:
    cases: list[Case] = []
    for key, template in TABLE.items():
        arguments = {place: EXAMPLES[place] for place in places(template)}
        cases.append(
            {
                "name": key,
                "call": "fill",
                "key": key,
                "template": template,
                "arguments": arguments,
                "expected": {"text": fill(key, arguments)},
            }
        )
    braces = {"name": "{name} {entry}"}
    cases.append(
        {
            "name": "braces in an argument stay",
            "call": "fill",
            "key": "notAPackageFile",
            "template": TABLE["notAPackageFile"],
            "arguments": braces,
            "expected": {"text": fill("notAPackageFile", braces)},
        }
    )
    for count in (*_SIZES, *_LARGE_SIZES):
        cases.append({"name": f"size of {count}", "call": "size", "bytes": count, "expected": {"text": size(count)}})
    for note in _NOTES:
        cases.append(
            {
                "name": f"as a sentence: {note}",
                "call": "as_sentence",
                "text": note,
                "expected": {"text": as_sentence(note)},
            }
        )
    return cases
