"""The host loop over an eager stand-in gives the logits of the cache-free model, at every position."""

import dataclasses
import functools

import numpy as np
import pytest
import torch

import export.static_runner as static_runner
from chat.sampling import SeededSampler
from chat.window import context_end_sentence
from export.static_runner import StatefulRunner, StaticRunner
from model.checkpoint import load_model
from model.config import ModelConfig
from model.transformer import Transformer
from tests.export.static_standin import EagerProgram, static_manifest, windowed_logits
from tests.packages import OTHER, TINY, make_checkpoint

WINDOW, CONTEXT = 8, 20
IDS = torch.randint(0, 320, (70,), generator=torch.Generator().manual_seed(5)).tolist()
SMALL = {
    "tiny": dataclasses.replace(TINY, sliding_window=WINDOW),
    "other": dataclasses.replace(OTHER, sliding_window=WINDOW),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Transformer]:
    folder = tmp_path_factory.mktemp("models")
    for name, config in SMALL.items():
        make_checkpoint(config, folder / name, own_norms=True)
    return {name: load_model(folder / name).eval() for name in SMALL}


def runner_of(
    model: Transformer, *, chunk: int, precision: static_runner.Precision = "fp32", **options
) -> StaticRunner:
    manifest = static_manifest(model.config, context=CONTEXT, chunk=chunk, **options)
    return StaticRunner(EagerProgram(model, manifest), manifest, precision=precision)


def worst(model: Transformer, runner: StaticRunner, steps: list[int]) -> float:
    """The largest error relative to the largest logit, over calls of so many ids each."""
    reference = windowed_logits(model, IDS, context=CONTEXT)
    at, errors = 0, []
    for count in steps:
        found = runner.logits(IDS[at : at + count], at)
        at += count
        errors.append(float((found - reference[at - 1]).abs().max() / reference[at - 1].abs().max().clamp(min=1)))
    return max(errors)


def steps_of(*counts: int) -> list[int]:
    """These, then one by one up to the end."""
    return [*counts, *[1] * (len(IDS) - sum(counts))]


@pytest.mark.parametrize("methods", ["two", "one"])
@pytest.mark.parametrize("chunk", [1, 2, 3, 7, WINDOW])
@pytest.mark.parametrize("name", SMALL)
def test_every_position_is_that_of_the_cache_free_model(models, name, chunk, methods):
    # Past the window (8) and the context (20), with prompts that end before, at and after a chunk's edge.
    runner = runner_of(models[name], chunk=chunk, methods=methods)
    steps = steps_of(chunk + 1, 1, 1, 2 * chunk, 3, 2, 13, 1, 21)
    assert worst(models[name], runner, steps) < 1e-5
