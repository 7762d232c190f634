"""The modules before any converter: their logits are the cache-free model's, over chunks, decodes and a wrap."""

import dataclasses
from pathlib import Path

import pytest
import torch

from export.checkpoint_weights import open_weights
from export.coreml.decoder import Constants, Decoder, Rows
from export.manifest import Manifest
from export.static_runner import StatefulRunner, StaticRunner
from quant.checkpoint import quantize_checkpoint
from tests.export.coreml.eager import EagerCoreml, reference_model
from tests.export.static_standin import static_manifest, windowed_logits
from tests.packages import OTHER, TINY, make_checkpoint

CONTEXT, CHUNK = 96, 16
PROMPT, STEPS = 3 * CHUNK + 5, 60  # ids 0..112: past the window of 64 and past the context of 96
WIDE = dataclasses.replace(TINY, vocab_size=40_000, dim=32, head_dim=8, num_layers=1, global_layers=())


def some_ids(vocab_size: int) -> list[int]:
    """Ids from the whole vocabulary."""
    return torch.randint(0, vocab_size, (PROMPT + STEPS,), generator=torch.Generator().manual_seed(3)).tolist()


@pytest.fixture(scope="module", params=["tiny", "other", "wide"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4w-channel of: pairs and a tied table; halves, untied, one layer without RoPE; a table in three chunks."""
    folder = tmp_path_factory.mktemp(request.param)
    make_checkpoint({"tiny": TINY, "other": OTHER, "wide": WIDE}[request.param], folder / "c", own_norms=True)
    quantize_checkpoint(folder / "c", folder / "q", recipe="4w-channel")
    return folder / "q"


def difference(runner: StaticRunner | StatefulRunner, expected: torch.Tensor, ids: list[int]) -> float:
    """Largest error of the prompt's and each step's logits, over the logits' scale."""
    errors = [(runner.logits(ids[:PROMPT], 0) - expected[PROMPT - 1]).abs().max()]
    errors += [(runner.logits([ids[at]], at) - expected[at]).abs().max() for at in range(PROMPT, len(ids))]
    return float(torch.stack(errors).max() / expected.abs().max())


@pytest.mark.parametrize("methods", ["two", "one"])
def test_the_static_program_is_the_cache_free_model(checkpoint: Path, methods: str) -> None:
    model = reference_model(checkpoint)
    manifest = static_manifest(model.config, context=CONTEXT, chunk=CHUNK, methods=methods)  # type: ignore[arg-type]
    runner = StaticRunner(EagerCoreml(checkpoint, manifest), manifest, precision="fp32")
    ids = some_ids(model.config.vocab_size)
    assert difference(runner, windowed_logits(model, ids, context=CONTEXT), ids) < 1e-5


def test_the_stateful_program_is_the_cache_free_model_too_and_starts_over(checkpoint: Path) -> None:
    model = reference_model(checkpoint)
    manifest = stateful_manifest(static_manifest(model.config, context=128, chunk=1, bounded=True))
    runner = StatefulRunner(EagerCoreml(checkpoint, manifest), manifest)
    ids = some_ids(model.config.vocab_size)
    expected = windowed_logits(model, ids, context=128)
    assert difference(runner, expected, ids) < 2e-3  # its tables of cosines and sines are float16
    runner.reset()
    assert difference(runner, expected, ids) < 2e-3


def stateful_manifest(static: Manifest) -> Manifest:
    forward = static.methods["forward"]
    tokens = dataclasses.replace(forward.inputs[0], dtype="int64")
    position = dataclasses.replace(tokens, name="position", shape=(1,))
    logits = dataclasses.replace(forward.outputs[0], name="logits", shape=(1, static.model.config.vocab_size))
    method = dataclasses.replace(forward, inputs=(tokens, position), outputs=(logits,))
    kind = dataclasses.replace(static.runner, kind="text-llm")
    return dataclasses.replace(static, methods={"forward": method}, runner=kind, target="coreml-stateful")


def test_rows_of_a_table_in_chunks_are_found_at_every_edge(checkpoint: Path) -> None:
    decoder = Decoder(Constants(open_weights(checkpoint), torch.float32))
    sizes = decoder.tables.sizes
    edges = [0, sizes[0] - 1, *(sizes[:1] if len(sizes) > 1 else ()), sum(sizes) - 1]
    weights = decoder.tables.weights()
    found = decoder.tables.look_up(torch.tensor(edges, dtype=torch.int32), weights)
    assert torch.equal(found, torch.cat(weights)[edges])


def test_a_wrong_rotation_is_seen(checkpoint: Path) -> None:
    """The comparison above can fail: sines of the other sign are another model, unless nothing is rotated."""
    model = reference_model(checkpoint)
    manifest = static_manifest(model.config, context=CONTEXT, chunk=CHUNK)
    executor = EagerCoreml(checkpoint, manifest)
    for module in executor.modules.values():
        run = module.decoder.run
        module.decoder.run = lambda tokens, rows, *rest, run=run: run(
            tokens, Rows(cos=rows.cos, sin=rows.sin.roll(1, 0), temperature=rows.temperature), *rest
        )
        break
    runner = StaticRunner(executor, manifest, precision="fp32")
    ids = some_ids(model.config.vocab_size)
    assert difference(runner, windowed_logits(model, ids, context=CONTEXT), ids) > 1e-3
