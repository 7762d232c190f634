"""Runs that share one pass of their teacher through `distill.cache`."""

import pytest
import torch

import train.objective
from model.checkpoint import random_checkpoint
from model.config import ModelConfig
from tests.train.small_run import result, write_run_file
from train.loop import train as run_training
from train.metrics import read_metrics
from train.run_file import read_run

CONFIG = ModelConfig(
    vocab_size=300,
    dim=64,
    num_layers=2,
    num_heads=2,
    num_kv_heads=1,
    head_dim=32,
    ffn_dim=64,
    global_layers=(1,),
    sliding_window=16,
    max_context=64,
    qk_norm=True,
)
RUN = """
objective = "qat"
[model]
checkpoint = "float"
[data]
sources = ["text"]
held_out_every = 10
[train]
steps = 6
window = 32
batch_tokens = 128
micro_batch_tokens = 64
threads = 1
evaluate_every = 3
evaluate_tokens = 256
save_every = 3
[optimizer]
lr = 1e-3
warmup_steps = 2
weight_decay = 0.0
"""
CACHE = ("distill.cache=targets", "distill.top_k=40")


class Notes:
    """What a run says."""

    def __init__(self):
        self.lines = []

    def step(self, record, *, steps): ...
    def evaluated(self, record): ...
    def saved(self, step, path): ...
    def note(self, line):
        self.lines.append(line)


@pytest.fixture
def place(tmp_path):
    random_checkpoint(CONFIG, tmp_path / "float", seed=1)
    write_run_file(tmp_path, RUN).rename(tmp_path / "run.toml")
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """Positions that the teacher was asked for while a cache was filled."""
    counts = []
    fill = train.objective.TeacherCache.fill

    def counting(self, batches, teacher, **options):
        def count(tokens):
            counts.append(tokens.numel())
            return teacher(tokens)

        return fill(self, batches, count, **options)

    monkeypatch.setattr(train.objective.TeacherCache, "fill", counting)
    return counts


def run(place, out, *overrides, **options):
    notes = Notes()
    run_training(read_run(place / "run.toml", overrides), place / out, base=place, display=notes, **options)
    return [line for line in notes.lines if line.startswith("teacher targets")]


def losses(place, out):
    return [record["loss"] for record in read_metrics(place / out / "metrics.jsonl") if "loss" in record]


def test_runs_that_differ_in_all_but_text_seed_and_window_share_the_teachers_targets(place, asked):
    lines = run(place, "first", *CACHE, max_steps=4)
    assert sum(asked) == 4 * 128
    assert len(lines) == 1 and "512 of 512 positions" in lines[0] and "beyond 40 tokens at temperature 1" in lines[0]
    asked.clear()
    changes = ("qat.learn_ranges=true", "optimizer.lr=1e-2", "distill.temperature=2.0", "distill.cross_entropy=0.3")
    assert run(place, "other", *CACHE, *changes, max_steps=2) == []
    assert run(place, "batches", *CACHE, "train.batch_tokens=256", max_steps=2) == []
    assert asked == []
    run(place, "longer", *CACHE, "train.steps=8", max_steps=5)
    assert sum(asked) == 128
    asked.clear()
    run(place, "seed", *CACHE, "train.seed=1", max_steps=1)
    assert sum(asked) == 128


def test_the_loss_from_the_cache_is_never_above_the_teachers_own_and_close_to_it(place):
    run(place, "whole", max_steps=1)
    run(place, "cached", *CACHE, max_steps=1)
    whole, cached = losses(place, "whole")[0], losses(place, "cached")[0]  # before the first step both are one model
    assert 0 < cached < whole


def test_an_interrupted_run_with_a_cache_ends_with_the_same_bytes(place):
    run(place, "whole", *CACHE)
    run(place, "parts", "distill.cache=others", "distill.top_k=40", max_steps=3)
    run(place, "parts", "distill.cache=others", "distill.top_k=40", resume=True)
    whole, parts = result(place / "whole"), result(place / "parts")
    assert whole["checkpoint"]["model.safetensors"] == parts["checkpoint"]["model.safetensors"]
    assert whole["figures"] == parts["figures"]


def test_in_bfloat16_the_teacher_is_asked_as_the_run_would_ask_it(place, monkeypatch):
    """And its targets are not those of a float32 run."""
    kinds = []
    summarize = train.teacher_cache.summarize
    monkeypatch.setattr(
        train.teacher_cache,
        "summarize",
        lambda head, **o: kinds.append(torch.is_autocast_enabled("cpu")) or summarize(head, **o),
    )
    run(place, "half", *CACHE, "train.precision=bfloat16", max_steps=1)
    assert kinds and all(kinds)
    with pytest.raises(ValueError, match=r"another precision .bfloat16; this run has float32.*distill.cache"):
        run(place, "full", *CACHE)


def test_another_teacher_is_refused_before_anything_is_trained(place):
    run(place, "first", *CACHE, max_steps=1)
    random_checkpoint(CONFIG, place / "other", seed=2)
    with pytest.raises(ValueError, match="the targets of another teacher"):
        run(place, "second", *CACHE, "distill.teacher=other")
    assert not (place / "second" / "metrics.jsonl").exists()
