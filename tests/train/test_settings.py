"""The bounds of a run's settings, and what follows from them."""

import dataclasses
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.config import PRESETS
from train.settings import (
    DataSettings,
    LoopSettings,
    ModelSettings,
    OptimizerSettings,
    RunSettings,
    TokenizerSettings,
)

LOOP = {"steps": 100, "window": 64, "batch_tokens": 256}


def run(**changed) -> RunSettings:
    parts = {
        "model": ModelSettings(preset="nano"),
        "data": DataSettings(sources=("text",)),
        "train": LoopSettings(**LOOP),
    }
    return RunSettings(name="test", **(parts | changed))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ModelSettings(), "needs exactly one of preset"),
        (lambda: ModelSettings(preset="nano", config=PRESETS["nano"]), "needs exactly one of preset"),
        (lambda: ModelSettings(preset="big"), "unknown preset 'big'"),
        (lambda: TokenizerSettings(folder="a", vocab_size=300), "leave it out beside folder"),
        (lambda: TokenizerSettings(vocab_size=257), "tokenizer.vocab_size is 257; it must be at least 258"),
        (lambda: TokenizerSettings(train_bytes=0), "tokenizer.train_bytes is 0; it must be at least 1"),
        (lambda: DataSettings(sources=()), "data.sources names no text"),
        (lambda: DataSettings(sources=("a",), held_out_every=1), "would hold out every document"),
        (lambda: DataSettings(sources=("a",), held_out_every=-1), "data.held_out_every is -1; it must be at least 0"),
        (lambda: DataSettings(sources=("a",), max_documents=0), "data.max_documents is 0"),
        (lambda: OptimizerSettings(lr=0), "optimizer.lr is 0; it must be above 0"),
        (lambda: OptimizerSettings(lr=1e-5), "optimizer.min_lr 0.0001 is above optimizer.lr 1e-05"),
        (lambda: OptimizerSettings(clip=float("inf")), "optimizer.clip is inf; it must be a finite number"),
        (lambda: OptimizerSettings(beta2=1.0), "optimizer.beta2 is 1.0; it must be at least 0 and below 1"),
        (lambda: OptimizerSettings(weight_decay=-0.1), "optimizer.weight_decay is -0.1; it must be at least 0"),
        (lambda: LoopSettings(**LOOP | {"steps": 0}), "train.steps is 0; it must be at least 1"),
        (lambda: LoopSettings(**LOOP | {"window": 60}), "train.batch_tokens 256 is not a multiple of a window of 60"),
        (
            lambda: LoopSettings(**LOOP, micro_batch_tokens=96),
            "train.micro_batch_tokens 96 is not a multiple of a window",
        ),
        (lambda: LoopSettings(**LOOP, micro_batch_tokens=192), "256 is not a multiple of train.micro_batch_tokens 192"),
        (lambda: LoopSettings(**LOOP, final_window=128), "come together"),
        (lambda: LoopSettings(**LOOP, final_steps=5), "come together"),
        (
            lambda: LoopSettings(**LOOP, final_window=128, final_steps=101),
            "final_steps 101 is more than train.steps 100",
        ),
        (lambda: LoopSettings(**LOOP, final_window=512, final_steps=1), "not a multiple of a window of 512"),
        (lambda: LoopSettings(**LOOP, keep=1), "train.keep is 1; it must be at least 2"),
        (lambda: LoopSettings(**LOOP, precision="float16"), "train.precision is 'float16'; known: float32, bfloat16"),
        (lambda: LoopSettings(**LOOP, checkpoint_dtype="int8"), "train.checkpoint_dtype is 'int8'"),
        (lambda: LoopSettings(**LOOP, device="tpu"), "train.device is 'tpu'; known: cpu, cuda, auto"),
        (lambda: LoopSettings(**LOOP, threads=-1), "train.threads is -1"),
        (
            lambda: run(train=LoopSettings(steps=200, window=4096, batch_tokens=4096)),
            "a window of 4096 tokens is longer than the model's context of 2048",
        ),
        (
            lambda: run(train=LoopSettings(**LOOP | {"steps": 99})),
            "optimizer.warmup_steps 100 is more than train.steps 99",
        ),
        (lambda: run(tokenizer=TokenizerSettings(vocab_size=5000)), "5000 is more than the model's 4096 entries"),
        (lambda: run(objective="distil"), "objective is 'distil'; known: next-token"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_given_and_what_is_allowed(make, words):
    with pytest.raises(ValueError) as caught:
        make()
    assert words in str(caught.value)


@given(st.integers(1, 30), st.integers(0, 30))
def test_the_last_steps_have_the_final_window(steps, final):
    final = min(final, steps)
    more = {"final_window": 128, "final_steps": final} if final else {}
    loop = LoopSettings(steps=steps, window=64, batch_tokens=256, **more)
    assert [loop.window_of(step) for step in range(1, steps + 1)] == [64] * (steps - final) + [128] * final
    assert max(loop.windows) == (128 if final else 64)


def test_without_a_micro_batch_the_whole_batch_is_in_memory():
    assert LoopSettings(**LOOP).micro_batch == 256
    assert LoopSettings(**LOOP, micro_batch_tokens=64).micro_batch == 64


def test_to_json_names_every_setting_once():
    settings = run()
    data = settings.to_json()
    for part in ("model", "data", "train", "tokenizer", "optimizer"):
        assert set(data[part]) == {f.name for f in dataclasses.fields(getattr(settings, part))}
    own = run(model=ModelSettings(config=PRESETS["nano"])).to_json()["model"]
    assert own["preset"] is None and own["config"] == PRESETS["nano"].to_json()


def test_the_settings_load_without_torch(root):
    code = "import sys, train.settings, train.run_file; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.stdout == "False\n", done.stderr
