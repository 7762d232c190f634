"""Run files are read strictly: what is unknown, missing or of a wrong kind is refused with the key and the cure."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.config import PRESETS
from tests.train.small_run import RUN
from train.run_file import check_resumable, flat_settings, read_run

LEAST = """
objective = "next-token"
[model]
preset = "nano"
[data]
sources = ["text", "hf:x"]
[train]
steps = 1000
window = 8
batch_tokens = 16
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("run") / "least.toml"
    path.write_text(LEAST)
    return path


def test_a_run_file_needs_little_and_everything_else_has_a_default(file):
    run = read_run(file)
    assert run.name == "least" and run.model.shape == PRESETS["nano"]
    assert run.data.sources == ("text", "hf:x") and run.train.keep == 2 and run.optimizer.beta2 == 0.95
    assert run.to_json()["data"]["sources"] == ["text", "hf:x"]


def test_every_run_file_of_the_project_is_read(root):
    files = sorted((root / "train" / "runs").glob("*.toml"))
    assert files
    for path in files:
        assert read_run(path).name == path.stem


def test_a_shape_of_ones_own_is_the_models_config(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(RUN)
    shape = read_run(path).model.shape
    assert (shape.dim, shape.global_layers, shape.qk_norm) == (32, (1,), True)


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("train.steps=2000", "train.steps", 2000),
        ("train.steps = 2_000", "train.steps", 2000),
        ("optimizer.lr=1e-2", "optimizer.lr", 0.01),
        ("optimizer.clip=2", "optimizer.clip", 2.0),
        ("train.precision=bfloat16", "train.precision", "bfloat16"),
        ('train.precision="bfloat16"', "train.precision", "bfloat16"),
        ("data.sources=a.txt", "data.sources", ["a.txt"]),
        ('data.sources=["a b.txt", "c=d.txt"]', "data.sources", ["a b.txt", "c=d.txt"]),
        ("data.tokens=/a/b=c", "data.tokens", "/a/b=c"),
        ("data.tokens=a\nb = 1", "data.tokens", "a\nb = 1"),
        ("tokenizer.vocab_size=512", "tokenizer.vocab_size", 512),  # a table that the file does not have
        ("objective=next-token", "objective", "next-token"),
    ],
)
def test_set_changes_one_setting(file, override, key, value):
    before, after = (flat_settings(read_run(file, o).to_json()) for o in ((), (override,)))
    assert after[key] == value and type(after[key]) is type(value)
    assert {k: v for k, v in after.items() if k != key} == {k: v for k, v in before.items() if k != key}


def test_the_last_set_wins(file):
    assert read_run(file, ["train.steps=2000", "train.steps=3000"]).train.steps == 3000


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.step=5", "unknown key 'train.step'; did you mean 'train.steps'?"),
        ("steps=5", "unknown key 'steps'; did you mean 'train.steps'?"),
        ("train.lr=1", "unknown key 'train.lr'; did you mean 'optimizer.lr'?"),
        ("optimiser.lr=1", "unknown key 'optimiser'; did you mean 'optimizer'?"),
        ("train.warmup=1", "unknown key 'train.warmup'; did you mean 'optimizer.warmup_steps'?"),
        ("data.zzz=1", "unknown key 'data.zzz'; known there: sources, include,"),
        ("zzz=1", "unknown key 'zzz'; known there: model, data, train,"),
        ("name=other", "unknown key 'name'; a run is called like its file, 'least'"),
        ("train.steps=1.5", "train.steps is 1.5; it must be an integer"),
        ("train.steps=true", "train.steps is True; it must be an integer"),
        ("train.steps=", "train.steps is ''; it must be an integer"),
        ("optimizer.lr=fast", "optimizer.lr is 'fast'; it must be a number"),
        ("optimizer.lr=true", "optimizer.lr is True; it must be a number"),
        ("optimizer.lr=nan", "optimizer.lr is nan; it must be a finite number"),
        ("train.device=1", "train.device is 1; it must be a text in quotes"),
        ("data.sources=[1]", "data.sources is [1]; it must be a list of texts"),
        ("data.sources=1", "data.sources is 1; it must be a list of texts"),
        ("train=5", "train is 5; it must be a table, [train]"),
        ("train.steps.x=5", "--set 'train.steps.x=5': 'steps' is no table"),
        ("train.steps", "--set 'train.steps' is not of the form table.key=value"),
        ("=5", "is not of the form table.key=value"),
        ("train..steps=5", "is not of the form table.key=value"),
        ("model.preset=nanu", "unknown preset 'nanu'; did you mean 'nano'?"),
        ("objective=next-word", "objective is 'next-word'; known: next-token"),
    ],
)
def test_what_is_not_understood_is_refused_with_the_key_and_the_cure(file, override, words):
    with pytest.raises(ValueError) as caught:
        read_run(file, [override])
    assert words in str(caught.value)
    assert override.startswith(("train.steps.x", "train.steps", "=", "train..")) or str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LEAST.replace("steps = 1000\nwindow = 8\n", ""), "keys are missing: train.steps, train.window"),
        (LEAST.replace("[data]\n", ""), "unknown key 'model.sources'; did you mean 'data.sources'?"),
        (LEAST + "steps = 2\n", "is no valid TOML: Cannot overwrite a value"),
        (RUN.replace("ffn_dim = 64\n", ""), "[model.config] model settings are missing: ffn_dim"),
        (
            RUN.replace("ffn_dim", "ffn_dims"),
            "[model.config] unknown model setting 'ffn_dims'; did you mean 'ffn_dim'?",
        ),
        (RUN.replace("dim = 32", "dim = 32.5", 1), "[model.config] dim is 32.5; it must be an integer"),
        (RUN.replace("[data]", '[model]\npreset = "nano"\n[data]'), "[model] needs exactly one of preset"),
        (LEAST.replace('preset = "nano"', ""), "[model] needs exactly one of preset"),
    ],
)
def test_a_file_that_does_not_hold_together_is_refused(tmp_path, text, words):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        read_run(path)
    assert words in str(caught.value) and str(path) in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is missing; name a run file"):
        read_run(tmp_path / "none.toml")
    with pytest.raises(ValueError, match="is a folder; name the run file"):
        read_run(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe4"')
    with pytest.raises(ValueError, match=r"is not UTF-8 text \(byte 8\)"):
        read_run(tmp_path / "latin.toml")


# Going on with a run


def test_a_run_goes_on_with_its_own_settings_and_a_few_free_ones(file):
    before = read_run(file).to_json()
    assert check_resumable(before, before) == []
    free = ["train.save_every=7", "train.evaluate_every=3", "train.evaluate_tokens=9", "train.keep=5"]
    assert check_resumable(before, read_run(file, free).to_json()) == []
    assert check_resumable(before, before | {"name": "renamed"}) == []


def test_what_may_move_the_last_bits_is_noted(file):
    before = read_run(file).to_json()
    for override, words in (
        ("train.threads=3", "train.threads was 0 and is 3 now"),
        ("train.micro_batch_tokens=8", "train.micro_batch_tokens was None and is 8 now"),
        ("train.device=auto", "train.device was 'cpu' and is 'auto' now"),
    ):
        (note,) = check_resumable(before, read_run(file, [override]).to_json())
        assert note == f"{words}: the last bits may differ from an uninterrupted run"


_RESULT = {
    "data.sources": ["other"],
    "data.held_out_every": 7,
    "optimizer.lr": 0.5,
    "train.seed": 1,
    "train.steps": 2000,
    "train.precision": "bfloat16",
    "model.preset": "mobilellm-pro",
    "tokenizer.folder": "elsewhere",
    "objective": "other",
}


@given(st.sampled_from(sorted(_RESULT)))
def test_whatever_else_differs_is_another_run(key):
    before = {"objective": "next-token", "data": {"sources": ["text"]}, "train": {"seed": 0}}
    now = {name: dict(value) if isinstance(value, dict) else value for name, value in before.items()}
    table, _, name = key.rpartition(".")
    (now.setdefault(table, {}) if table else now)[name] = _RESULT[key]
    with pytest.raises(ValueError) as caught:
        check_resumable(before, now)
    assert f"this run began with {key} = " in str(caught.value) and f"now says {_RESULT[key]!r}" in str(caught.value)


def test_settings_survive_json(file):
    """What run.json holds is compared with `to_json` of a later process."""
    import json

    run = read_run(file)
    assert json.loads(json.dumps(run.to_json())) == run.to_json()
    custom = dataclasses.replace(run.model, preset=None, config=PRESETS["nano"])
    assert json.loads(json.dumps(dataclasses.replace(run, model=custom).to_json()))["model"]["config"]["dim"] == 256


def test_a_run_that_is_older_than_a_key_goes_on_with_its_default(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(RUN)
    now = read_run(file).to_json()
    before = now | {"optimizer": {k: v for k, v in now["optimizer"].items() if k != "table_rate"}}
    assert check_resumable(before, now) == []
    with pytest.raises(ValueError, match=r"optimizer\.table_rate = 1\.0 and the run file now says 0\.5"):
        check_resumable(before, read_run(file, ["optimizer.table_rate=0.5"]).to_json())
