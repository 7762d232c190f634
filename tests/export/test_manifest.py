"""Reading manifests: good ones come back equal, each bad one is refused in one line that names the place."""

import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from export.manifest import SCHEMA_VERSION, parse_manifest, read_manifest
from export.manifest_parts import LayerException, LayerKind, layer_kind, record_recipe
from export.manifest_schema import SCHEMA_FILE, make_schema
from model.files import dump_json
from tests.export.manifest_corpus import BAD, BAD_FIELDS, BAD_RULES, GOOD, endless

VALIDATOR = Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
DOC = Path(__file__).resolve().parents[2] / "docs" / "package.md"


@pytest.mark.parametrize("name", GOOD)
def test_a_good_manifest_comes_back_equal(name):
    data = GOOD[name]()
    manifest = parse_manifest(data)
    assert manifest.to_json() == data
    assert parse_manifest(manifest.to_json()) == manifest
    assert read_manifest(dump_json(data).encode()) == manifest


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_a_bad_manifest_is_refused_by_place(bad):
    with pytest.raises(ValueError, match=re.escape(bad.says)) as caught:
        parse_manifest(bad.manifest())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", GOOD)
def test_the_json_schema_accepts_a_good_manifest(name):
    assert [error.message for error in VALIDATOR.iter_errors(GOOD[name]())] == []


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_the_json_schema_refuses_exactly_what_it_can_express(bad):
    assert VALIDATOR.is_valid(bad.manifest()) is not bad.by_schema


def test_the_corpus_reaches_most_rules_that_no_schema_can_say():
    assert not any(bad.by_schema for bad in BAD_RULES)
    assert sum(bad.by_schema for bad in BAD_FIELDS) > 30
    assert len({bad.name for bad in BAD}) == len(BAD)


def test_the_schema_file_is_the_one_that_the_annotations_make():
    Draft202012Validator.check_schema(make_schema())
    assert SCHEMA_FILE.read_text(encoding="utf-8") == dump_json(make_schema())


@pytest.mark.parametrize("document", [None, [], "text", 1, {}])
def test_what_is_no_manifest_is_refused(document):
    with pytest.raises(ValueError, match=r"^manifest\.json: "):
        parse_manifest(document)


def test_a_newer_schema_gets_its_own_sentence_even_with_unknown_keys():
    data = endless() | {"schema_version": 7, "hologram": True}
    with pytest.raises(ValueError, match=r"^this package needs a newer pocketlm: schema 7, this one reads 1$"):
        parse_manifest(data)
    assert SCHEMA_VERSION == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not valid JSON"),
        (b"{", "is not valid JSON"),
        (b"\xff\xfe{}", "is not valid JSON"),
        (b"[" * 100_000, "is not valid JSON"),
        (b'{"chunk": 1, "chunk": 2}', "has the key 'chunk' twice"),
        (b'{"chunk": NaN}', "holds NaN"),
        (b'{"chunk": -Infinity}', "holds -Infinity"),
    ],
)
def test_bytes_that_are_not_a_plain_json_object_are_refused(content, says):
    with pytest.raises(ValueError, match=f"manifest.json {says}"):
        read_manifest(content)


def test_a_number_too_large_for_a_float_is_refused():
    text = json.dumps(endless()).replace("10000.0", "1e999")
    with pytest.raises(ValueError, match=r"model\.config\.rope_theta is not a finite number"):
        read_manifest(text.encode())


def test_a_manifest_of_absurd_length_is_refused_before_it_is_parsed():
    with pytest.raises(ValueError, match="at most 16777216 are read"):
        read_manifest(b" " * (16 * 2**20 + 1))


def test_a_long_wrong_value_is_shown_cut_short():
    data = endless()
    data["target"] = "x\n" * 10_000
    with pytest.raises(ValueError, match="target is") as caught:
        parse_manifest(data)
    assert len(str(caught.value)) < 250
    assert "\n" not in str(caught.value)


def test_an_endless_package_whose_context_is_smaller_than_the_window_narrows_it():
    data = endless()
    data["model"]["config"]["sliding_window"] = 512
    data["context"]["tokens"] = data["window"] = 16
    data["cache"]["layers"][2] |= {"slots": 23, "window": 16, "bytes": 1932}
    data["cache"]["bytes"] = data["memory"]["cache_bytes"] = 3 * 1932
    assert parse_manifest(data).window == 16


def test_a_golden_margin_at_the_floor_is_compared():
    data = endless()
    data["golden"]["margins"][4] = 0.125
    data["golden"]["compared"] = 5
    assert parse_manifest(data).golden.compared == 5


def test_a_static_runner_takes_no_dynamic_shape_and_no_other_method():
    data = GOOD["static-kv"]()
    data["methods"]["forward"]["inputs"][0]["dynamic"] = [1]
    with pytest.raises(ValueError, match=r"methods\.forward\.inputs\[0\]\.dynamic is not empty"):
        parse_manifest(data)
    data = GOOD["static-kv"]()
    data["methods"]["warm"] = data["methods"]["forward"]
    with pytest.raises(ValueError, match=r"methods\.warm is unknown to a static-kv runner"):
        parse_manifest(data)


def test_a_bounded_package_whose_golden_test_passes_its_end_is_refused():
    data = GOOD["bounded"]()
    data["golden"]["prompt_ids"] = [40] * 31
    with pytest.raises(ValueError, match="does not fit with the prompt into the bounded context of 32 tokens"):
        parse_manifest(data)
    data["golden"]["prompt_ids"] = [40] * 30  # the last sampled id is never written
    assert parse_manifest(data).golden.compared == 3


def test_the_recipe_record_counts_each_kind_and_names_each_exception():
    int4 = {"scheme": "int4-group", "bits": 4, "group_size": 32, "reason": None}
    int8 = {"scheme": "int8-channel", "bits": 8, "group_size": None}
    record = record_recipe(
        "8da4w-g32",
        group_size=32,
        layers={
            "embedding": int4,
            "layers.0.attention.q_proj": int4,
            "layers.1.attention.q_proj": int4,
            "layers.10.attention.q_proj": int8 | {"reason": "kept wide"},
            "layers.11.attention.q_proj": int8 | {"reason": None},
        },
    )
    assert record.layers["attention.q_proj"] == LayerKind(scheme="int4-group", bits=4, group_size=32, count=2)
    assert record.layers["embedding"].count == 1
    assert record.exceptions == {
        "layers.10.attention.q_proj": LayerException(**int8, reason="kept wide"),
        "layers.11.attention.q_proj": LayerException(**int8, reason="differs from the other layers of its kind"),
    }


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("layers.12.feed_forward.up_proj", "feed_forward.up_proj"),
        ("embedding", "embedding"),
        ("head", "head"),
        ("layers.x.y", "layers.x.y"),
    ],
)
def test_a_layer_s_kind_is_its_name_without_the_index(name, kind):
    assert layer_kind(name) == kind


def test_the_example_in_the_docs_is_a_valid_manifest():
    blocks = re.findall(r"```json\n(.*?)```", DOC.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 1
    manifest = read_manifest(blocks[0].encode())
    assert VALIDATOR.is_valid(json.loads(blocks[0]))
    assert manifest.model.preset == "nano"


def _places(value, steps=()):
    yield steps
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _places(item, (*steps, key))


_PLACES = [steps for steps in _places(endless()) if steps]
_JSON = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.lists(st.integers(0, 9), max_size=3),
    st.dictionaries(st.text(max_size=3), st.booleans(), max_size=2),
)


@settings(max_examples=300, deadline=None)
@given(steps=st.sampled_from(_PLACES), value=_JSON)
def test_any_single_replacement_is_read_or_refused_in_one_line_and_never_read_against_the_schema(steps, value):
    data = endless()
    place = data
    for step in steps[:-1]:
        place = place[step]
    place[steps[-1]] = value
    try:
        manifest = parse_manifest(data)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert VALIDATOR.is_valid(data)
        again = manifest.to_json()
        assert again == data
        assert all(math.isfinite(margin) for margin in manifest.golden.margins)
