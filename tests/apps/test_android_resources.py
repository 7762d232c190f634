"""Every string and drawable of the Android app is defined, used, and given what its places ask for."""

import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict

import pytest

from tests.apps.kotlin_trees import calls, sources
from tests.apps.trees import ANDROID, parse, text, walk
from tests.vectors.sentence_table import EXAMPLES

MAIN = ANDROID / "app" / "src" / "main"
ANDROID_NAME = "{http://schemas.android.com/apk/res/android}"
STRINGS = ElementTree.parse(MAIN / "res" / "values" / "strings.xml").getroot()
TEXTS = {entry.attrib["name"]: entry.text or "" for entry in STRINGS}
DRAWABLES = {path.stem for path in (MAIN / "res" / "drawable").glob("*.xml")}
XML = sorted(MAIN.rglob("*.xml"))
SOURCES = sources("app")

# Two strings of which one call takes one: their places are compared with each other instead.
CHOSEN_BETWEEN = {"context_endless", "context_bounded", "prompt_run", "warm_up_run"}


def used(kind: str) -> set[str]:
    """Names of resources of a kind that Kotlin or XML refers to."""
    in_kotlin = {name for path in SOURCES for name in re.findall(rf"\bR\.{kind}\.(\w+)", path.read_text())}
    return in_kotlin | {name for path in XML for name in re.findall(rf"@{kind}/(\w+)", path.read_text())}


def test_every_string_is_defined_once_and_used():
    names = [entry.attrib["name"] for entry in STRINGS]
    assert len(names) == len(set(names))
    assert set(names) == used("string")


def test_every_drawable_is_there_and_used():
    assert used("drawable") == DRAWABLES


def test_a_string_gets_as_many_arguments_as_it_has_places():
    given = defaultdict(set)
    for path in SOURCES:
        for name, arguments in calls(path):
            asks = name in ("stringResource", "context.getString")
            if asks and (found := re.fullmatch(r"R\.string\.(\w+)", text(arguments[0]))):
                given[found[1]].add(len(arguments) - 1)
    wanted = {name: {len(set(re.findall(r"%(\d)\$s", value)))} for name, value in TEXTS.items() if name in given}
    assert dict(given) == wanted
    with_places = {name for name, value in TEXTS.items() if "%" in value}
    assert with_places - set(given) == CHOSEN_BETWEEN
    assert TEXTS["context_endless"].count("%") == TEXTS["context_bounded"].count("%") == 1
    assert TEXTS["prompt_run"].count("%") == TEXTS["warm_up_run"].count("%") == 2


def test_places_are_numbered_from_one_so_that_translators_may_reorder_them():
    for name, value in TEXTS.items():
        numbers = sorted(map(int, re.findall(r"%(\d)\$s", value)))
        assert numbers == list(range(1, len(numbers) + 1)), name
        assert value.count("%") == len(numbers), name


@pytest.mark.parametrize("path", XML, ids=lambda path: str(path.relative_to(ANDROID)))
def test_xml_is_well_formed_and_holds_no_label_of_its_own(path):
    for element in ElementTree.parse(path).getroot().iter():
        for key in ("label", "text", "hint", "contentDescription"):
            assert element.attrib.get(ANDROID_NAME + key, "@string/").startswith("@string/")


def test_no_screen_holds_a_label_of_its_own():
    """A literal that is shown would be neither translated nor found by the tests above; glue like " · " is no label."""
    shown = ("Text", "Small", "Heading", "Notice", "Progress")
    for path in sources("app/src/main"):
        for name, arguments in calls(path):
            for argument in arguments if name in shown else []:
                literals = [text(node) for node in walk(argument) if node.type == "string_content"]
                labels = {literal for literal in literals if re.search(r"[A-Za-z]{2}", literal)}
                assert labels <= set(EXAMPLES), path.name  # a place of one of the core's sentences


def test_every_icon_has_a_name_for_talkback():
    """Icons are drawn in two places, and both ask for a string."""
    found = []
    for path in sources("app/src/main"):
        for name, arguments in calls(path):
            if name in ("Icon", "Image"):
                found.append(path.name)
                named = {text(argument).split("=")[0].strip(): text(argument) for argument in arguments}
                assert "stringResource(" in named["contentDescription"], path.name
    assert sorted(found) == ["PackagesScreen.kt", "Parts.kt"]


def test_layouts_know_no_left_and_right():
    """Start and end turn round in right-to-left languages; icons that point somewhere are mirrored."""
    for path in sources("app/src/main"):
        words = {text(node) for node in walk(parse(path)) if node.type == "identifier"}
        assert not words & {"left", "right", "absolutePadding", "Left", "Right"}, path.name
    mirrored = {path.stem for path in (MAIN / "res" / "drawable").glob("*.xml") if "autoMirrored" in path.read_text()}
    assert {"ic_back", "ic_send"} <= mirrored
    assert 'android:supportsRtl="true"' in (MAIN / "AndroidManifest.xml").read_text()
