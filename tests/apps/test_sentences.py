"""The table of sentences: each tells what to do, and both apps say it somewhere."""

import re

import pytest

from tests.apps.engine_client import ROOT
from tests.vectors.sentence_table import EXAMPLES, TABLE

KOTLIN = "\n".join(
    path.read_text() for path in sorted((ROOT / "android_app").rglob("*/main/**/*.kt")) if path.name != "Sentences.kt"
)
SWIFT = "\n".join(
    path.read_text()
    for folder in ("PocketCore/Sources/PocketCore", "App")
    for path in sorted((ROOT / "ios_app" / folder).rglob("*.swift"))
    if path.name not in ("Sentences.swift", "SentenceTable.swift")
)


def constant(key: str) -> str:
    """A key as Kotlin's enum spells it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", key).upper()


@pytest.mark.parametrize("key", TABLE)
def test_a_sentence_is_plain_and_ends(key: str) -> None:
    text = TABLE[key]
    assert text.endswith(".") and len(text) < 220
    assert not re.search(r"please|sorry|oops|!", text, re.IGNORECASE)


@pytest.mark.parametrize("key", TABLE)
def test_both_apps_say_it(key: str) -> None:
    assert re.search(rf"\b{constant(key)}\b", KOTLIN), f"Kotlin never says {key}"
    assert re.search(rf"\.{key}\b", SWIFT), f"Swift never says {key}"


def test_every_example_is_used() -> None:
    places = {place for text in TABLE.values() for place in re.findall(r"\{([a-z]+)\}", text)}
    assert places == set(EXAMPLES)
