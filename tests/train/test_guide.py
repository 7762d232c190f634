"""The training guide: every key of a run file stands in it with its default, and its run files are accepted."""

import dataclasses
import re
import tomllib
import types
import typing

import pytest

from cli.training import train
from model.config import ModelConfig
from train.run_file import read_run
from train.settings import RunSettings

NO_DEFAULT = object()


@pytest.fixture(scope="module")
def guide(root):
    return (root / "docs" / "guide-train.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def keys(root):
    return (root / "docs" / "run-file.md").read_text(encoding="utf-8")


def leaves(kind, prefix=""):
    """Each key that a run file may have, with its default."""
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if isinstance(hint, types.UnionType):
            (hint,) = (option for option in typing.get_args(hint) if option is not types.NoneType)
        if dataclasses.is_dataclass(hint):
            yield from leaves(hint, f"{prefix}{field.name}.")
        elif (kind, field.name) != (RunSettings, "name"):  # the file's own name
            yield prefix + field.name, NO_DEFAULT if field.default is dataclasses.MISSING else field.default


KEYS = dict(leaves(RunSettings))


def rows(keys):
    return re.findall(r"^\| `([a-z0-9_.]+)` \| (.+?) \| (.+) \|$", keys, re.MULTILINE)


def test_every_key_has_exactly_one_row_and_every_row_is_a_key(keys):
    assert len(KEYS) > 50
    assert sorted(key for key, _, _ in rows(keys)) == sorted(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_the_default_in_the_guide_is_the_settings_own(keys, key):
    ((_, said, meaning),) = [row for row in rows(keys) if row[0] == key]
    default = KEYS[key]
    assert len(meaning) > 5
    if default is NO_DEFAULT or default is None:
        assert said == ("required" if default is NO_DEFAULT else "none")
    else:
        value = tomllib.loads(f"value = {said.strip('`')}")["value"]
        assert value == (list(default) if isinstance(default, tuple) else default)
        assert type(value) is type(list(default) if isinstance(default, tuple) else default)


def blocks(guide):
    return re.findall(r"^```toml\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)


def test_the_guides_run_file_is_accepted_and_fits_int4(guide, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(blocks(guide)[0], encoding="utf-8")
    settings = read_run(path)
    assert settings.name == "mine"
    config = settings.model.shape
    assert isinstance(config, ModelConfig)
    assert all(columns % 32 == 0 for _, columns in config.layer_matrices.values())


@pytest.mark.parametrize("number", range(1, 6))
def test_each_other_table_of_the_guide_is_accepted_in_that_run_file(guide, tmp_path, number):
    found = blocks(guide)
    assert len(found) == 6
    first, other = tomllib.loads(found[0]), tomllib.loads(found[number])
    path = tmp_path / "mine.toml"
    path.write_text(found[0], encoding="utf-8")
    overrides = [
        f"{table}.{key}={value!r}".replace("True", "true")
        for table, values in other.items()
        for key, value in values.items()
    ]
    before, after = read_run(path).to_json(), read_run(path, overrides).to_json()
    assert first and before != after


def test_every_option_of_the_command_is_in_the_guide(guide):
    options = [name for parameter in train.params for name in parameter.opts if name.startswith("--")]
    assert "--resume" in options
    assert [name for name in options if name not in guide and name not in ("--help", "--verbose")] == []


def test_the_options_that_the_guide_types_exist(guide):
    known = {name for parameter in train.params for name in parameter.opts}
    commands = re.findall(r"^pocketlm train (.*)$", guide, re.MULTILINE)
    assert len(commands) >= 3
    for command in commands:
        assert {word for word in command.split() if word.startswith("--")} <= known
