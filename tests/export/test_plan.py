"""The plan of an export: defaults, notes, refusals, and caches that the manifest's rules and the model agree with."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from export.manifest_rules import check_cache, check_context, check_origin
from export.plan import ExportPlan, mask_bytes, plan_export, plan_package
from export.target import find_target
from model.cache import make_caches
from model.checkpoint import read_info
from model.config import PRESETS, ModelConfig
from tests.packages import OTHER, TINY, Made

XNNPACK = find_target("xnnpack")
NANO, PRO = PRESETS["nano"], PRESETS["mobilellm-pro"]
ALL_GLOBAL = dataclasses.replace(NANO, global_layers=tuple(range(NANO.num_layers)))


def plan(
    config: ModelConfig,
    *,
    context: int | None = None,
    chunk: int | None = None,
    bounded: bool = False,
    dtype: str = "int8",
) -> ExportPlan:
    return plan_package(config, XNNPACK, max_context=context, prefill_chunk=chunk, bounded=bounded, cache_dtype=dtype)


def test_the_big_model_gets_the_targets_defaults() -> None:
    made = plan(PRO)
    assert (made.context.kind, made.context.tokens, made.chunk, made.window) == ("endless", 8192, 128, 512)
    assert not made.notes and not made.is_bounded
    assert [layer.slots for layer in made.cache.layers] == [8319 if PRO.is_global(i) else 639 for i in range(30)]
    assert made.cache.bytes == 552 * (9 * 8319 + 21 * 639)
    assert made.command == "export --target xnnpack --max-context 8192 --prefill-chunk 128"


def test_a_model_trained_for_less_keeps_that_much_and_says_so() -> None:
    made = plan(NANO)
    assert made.context.tokens == NANO.max_context
    assert made.notes == ("context is 2048 tokens, all that the model was trained for (--max-context changes it)",)


def test_a_context_beyond_the_training_is_allowed_with_a_note() -> None:
    made = plan(NANO, context=4096)
    assert made.context.tokens == 4096
    assert "4096 is longer than the 2048 tokens" in made.notes[0] and "untested" in made.notes[0]
    assert not plan(NANO, context=2048).notes


def test_a_bounded_package_keeps_all_that_the_model_was_trained_for() -> None:
    made = plan(PRO, bounded=True)
    assert (made.context.kind, made.context.tokens) == ("bounded", 131_072) and not made.notes
    assert made.command.endswith(" --bounded")
    rings = [layer.ring for layer in made.cache.layers]
    assert rings == [not PRO.is_global(i) for i in range(30)]
    assert {layer.slots for layer in made.cache.layers if not layer.ring} == {131_072}


@pytest.mark.parametrize("context, chunk", [(2, 1), (3, 1), (64, 32), (255, 127), (256, 128), (1000, 128)])
def test_the_default_chunk_is_at_most_half_the_context(context: int, chunk: int) -> None:
    assert plan(NANO, context=context).chunk == chunk
    assert plan(NANO, context=context, bounded=True).chunk == chunk


def test_the_largest_chunk_is_below_an_endless_context_and_up_to_a_bounded_one() -> None:
    assert plan(NANO, context=64, chunk=63).chunk == 63
    assert plan(NANO, context=64, chunk=64, bounded=True).chunk == 64
    with pytest.raises(ValueError, match=r"--prefill-chunk 64 does not fit a context of 64.*give at most 63"):
        plan(NANO, context=64, chunk=64)
    with pytest.raises(ValueError, match="--prefill-chunk 65 is longer than the context of 64 tokens"):
        plan(NANO, context=64, chunk=65, bounded=True)


@pytest.mark.parametrize("options, message", [
    ({"context": 0}, "--max-context is 0; it must be at least 1 token"),
    ({"context": -5, "bounded": True}, "--max-context is -5"),
    ({"chunk": 0}, "--prefill-chunk is 0; it must be at least 1 token"),
    ({"context": 1}, "a context of 1 token is too short for an endless package; give at least 2"),
])  # fmt: skip
def test_impossible_numbers_are_refused_by_the_options_name(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(NANO, **options)


@pytest.mark.parametrize("config", [NANO, PRO, TINY, OTHER, ALL_GLOBAL], ids=["nano", "pro", "tiny", "other", "global"])
@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("context, chunk", [(None, None), (2, 1), (63, 62), (64, 16), (65, 1), (512, 511), (700, 128)])
@pytest.mark.parametrize("dtype", ["int8", "float"])
def test_the_manifests_rules_accept_every_plan(
    config: ModelConfig, bounded: bool, context: int | None, chunk: int | None, dtype: str
) -> None:
    made = plan(config, context=context, chunk=chunk, bounded=bounded, dtype=dtype)
    check_context(made.context, window=made.window, chunk=made.chunk, config=config)
    check_cache(
        made.cache, context=made.context, window=made.window, chunk=made.chunk, runner_kind="text-llm", config=config
    )


@pytest.mark.parametrize("config", [NANO, TINY, ALL_GLOBAL], ids=["nano", "tiny", "global"])
@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("dtype", ["int8", "float"])
def test_the_plans_caches_are_the_models(config: ModelConfig, bounded: bool, dtype: str) -> None:
    for context, chunk in ((30, 7), (100, 16), (300, 128)):
        made = plan(config, context=context, chunk=chunk, bounded=bounded, dtype=dtype)
        caches = make_caches(config, context=context, chunk=chunk, bounded=bounded, dtype=dtype)  # type: ignore[arg-type]
        assert [(c.slots, c.window, c.num_bytes) for c in caches] == [
            (layer.slots, layer.window, layer.bytes) for layer in made.cache.layers
        ]


def test_a_plan_without_local_layers_has_no_window() -> None:
    assert plan(ALL_GLOBAL).window is None


def test_a_recipe_that_the_target_cannot_hold_is_refused(tiny_int4: Made) -> None:
    info = read_info(tiny_int4.checkpoint)
    narrow = dataclasses.replace(XNNPACK, name="other", recipes=("float",))
    with pytest.raises(ValueError, match="target other cannot hold the recipe 8da4w-g32; it holds float"):
        plan_export(info, narrow, max_context=None, prefill_chunk=None, bounded=False)


def test_the_recipe_decides_the_caches_type(tiny_int4: Made, tiny_float: Made) -> None:
    for made, dtype in ((tiny_int4, "int8"), (tiny_float, "float32")):
        planned = plan_export(read_info(made.checkpoint), XNNPACK, max_context=None, prefill_chunk=None, bounded=False)
        assert {layer.dtype for layer in planned.cache.layers} == {dtype}
        check_origin(_origin_with(planned.command, made))


def _origin_with(command: str, made: Made):
    from export.package import open_package

    with open_package(made.package) as package:
        return dataclasses.replace(package.manifest.origin, command=command)


def test_planning_loads_no_torch() -> None:
    code = "import sys, export.plan; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("tokens", [2000, 4000, 8000, 131_072])
def test_cache_bytes_are_near_those_that_the_paper_counts(tokens: int, bounded: bool) -> None:
    """512 bytes a token and layer: a byte for each number. A scale and a zero point a head and side make it 552."""
    made = plan(PRO, context=tokens, bounded=bounded)
    counted = (9 * tokens + 21 * 512) * 512
    slack = 30 * (made.chunk - 1) * 552  # what a chunk writes before it attends
    assert counted < made.cache.bytes <= 1.12 * counted + slack
    assert made.cache.bytes == 552 * sum(layer.slots for layer in made.cache.layers)
    assert (made.cache.bytes - 552 * sum(made.chunk - 1 for layer in made.cache.layers if layer.ring)) / counted > 1.07


def test_a_long_ring_asks_for_a_smaller_chunk() -> None:
    (note,) = plan(PRO, context=131_072).notes
    assert "240 MiB at a chunk of 128" in note and "--prefill-chunk 16 makes that 30 MiB" in note
    assert not plan(PRO, context=131_072, chunk=16).notes
    assert not plan(PRO, context=131_072, bounded=True).notes
    assert not plan(PRO, context=8192).notes
    assert mask_bytes(plan(PRO, context=131_072, bounded=True).cache.layers, 128) == 15 * 128 * 639
