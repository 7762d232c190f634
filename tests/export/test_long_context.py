"""The longest context, 131,072 tokens: bounded packages load and decode at its end; 200,000 tokens of endless chat."""

import itertools
import json
import time
from pathlib import Path

import pytest
import torch

from benchmarks.endless import feed, resident_bytes
from chat.window import Context
from export.package import open_package
from export.pte import read_pte
from export.runner import PteRunner
from model.config import PRESETS
from quant.checkpoint import build_model
from tests.export.windowed import float64_logits
from tests.packages import CHUNK, TINY, Made, make_package

_LONGEST = 131_072
_RELATIVE = 1e-5  # of max(1, max |logit|); docs/numerics.md
_MEMORY_BYTES = 1 << 20


@pytest.mark.parametrize("recipe", ["float", "8da4w-g32"])
def test_a_bounded_package_of_131072_tokens_decodes_at_its_end(recipe: str) -> None:
    """Its cache is written at the end only: what a query sees of the rest are zeros, which the definition knows."""
    made = make_package(TINY, recipe, max_context=_LONGEST, bounded=True)
    runner = PteRunner(made.package / "model.pte", chunk=CHUNK, context=Context(kind="bounded", tokens=_LONGEST))
    model = build_model(made.source)
    ids = torch.randint(0, TINY.vocab_size, (200,), generator=torch.Generator().manual_seed(7)).tolist()
    start = _LONGEST - len(ids)
    reached = 0
    for position, logits in feed(runner, ids, CHUNK, start=start):
        expected = float64_logits(model, ids, position - start, context=_LONGEST, start=start, blank=True)
        error = float((logits - expected).abs().max()) / max(1.0, float(expected.abs().max()))
        assert torch.isfinite(logits).all()
        if recipe == "float":
            assert error <= _RELATIVE, f"position {position}: {error:.2g}"
        reached = position
    assert reached == _LONGEST - 1
    with pytest.raises(ValueError, match="131072"):
        runner.logits([1], _LONGEST)


def test_a_bounded_package_plans_no_mask_for_its_global_layers(tiny_bounded: Made) -> None:
    made = make_package(TINY, "8da4w-g32", max_context=_LONGEST, bounded=True)
    method = read_pte(made.package / "model.pte").method()
    short = read_pte(tiny_bounded.package / "model.pte").method()
    activations = sum(method.buffer_sizes) - method.planned_mutable_bytes
    assert method.planned_mutable_bytes == json.loads((made.package / "manifest.json").read_text())["cache"]["bytes"]
    assert activations <= sum(short.buffer_sizes) - short.planned_mutable_bytes + 4096


def readable(path: Path) -> tuple[PteRunner, int]:
    with open_package(path) as package:
        context = Context(kind=package.manifest.context.kind, tokens=package.manifest.context.tokens)
        return PteRunner(path / "model.pte", chunk=package.manifest.chunk, context=context), context.tokens


@pytest.mark.slow
def test_two_hundred_thousand_tokens_attend_exactly_in_constant_memory() -> None:
    made = make_package(PRESETS["nano"], "float", max_context=512, chunk=128)
    runner, context = readable(made.package)
    vocab = PRESETS["nano"].vocab_size
    ids = torch.randint(0, vocab, (200_000,), generator=torch.Generator().manual_seed(11)).tolist()
    kept, memory, times = {}, [], [time.perf_counter()]
    for position, logits in feed(runner, ids, 128):
        if position in (127, 511, 639, 5_119, 65_535, 131_071, 199_935, 199_999):
            kept[position] = logits.clone()
        if position % 20_480 == 20_479:
            memory.append(resident_bytes())
            times.append(time.perf_counter())
    rates = [20_480 / (b - a) for a, b in itertools.pairwise(times)]
    print(f"\nresident {memory}, tokens/s {[round(rate) for rate in rates]}")
    assert max(memory[1:]) - min(memory[1:]) < _MEMORY_BYTES
    model = build_model(made.checkpoint)
    assert len(kept) == 8
    for position, logits in kept.items():
        expected = float64_logits(model, ids, position, context=context)
        error = float((logits - expected).abs().max()) / max(1.0, float(expected.abs().max()))
        print(f"position {position}: {error:.2g}")
        assert error <= _RELATIVE, f"position {position}: {error:.2g}"
