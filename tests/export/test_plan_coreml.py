"""The plan of a CoreML export: methods, chunks that fit a ring, limits of the Neural Engine, float16 caches."""

import dataclasses

import pytest

from export.manifest_rules import check_cache, check_context
from export.plan import ExportPlan, plan_export, plan_package, plan_targets
from export.target import TARGETS, find_target
from model.checkpoint_info import CheckpointInfo
from model.config import PRESETS, ModelConfig
from quant.plan import choose
from tests.packages import TINY

NANO, PRO = PRESETS["nano"], PRESETS["mobilellm-pro"]
ANE, GPU, STATEFUL = (find_target(f"coreml-{name}") for name in ("ane", "gpu", "stateful"))


def plan(config: ModelConfig, target=ANE, *, context=None, chunk=None, bounded=False, methods=None) -> ExportPlan:
    return plan_package(
        config,
        target,
        max_context=context,
        prefill_chunk=chunk,
        bounded=bounded,
        cache_dtype="int8",
        methods=methods,
    )


def quantized(recipe: str, config: ModelConfig = TINY) -> CheckpointInfo:
    info = CheckpointInfo(config=config, family="random", source_sha256="", preset=None)
    choice = choose("it", info, recipe=recipe)
    return dataclasses.replace(info, quantization=choice.to_info())


def test_the_big_model_gets_the_targets_defaults() -> None:
    made = plan(PRO)
    assert (made.context.kind, made.context.tokens, made.chunk, made.methods) == ("endless", 2048, 64, "two")
    assert [layer.slots for layer in made.cache.layers] == [2048 if PRO.is_global(i) else 512 for i in range(30)]
    assert made.cache.bytes == 1024 * (9 * 2048 + 21 * 512)  # keys and values of 4 heads of 64 in float16
    assert made.command == "export --target coreml-ane --max-context 2048 --prefill-chunk 64 --methods two"
    assert plan(PRO, methods="one").chunk == 32


@pytest.mark.parametrize("target", [ANE, GPU, STATEFUL], ids=lambda target: target.name)
@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("context", [None, 40, 96, 500])
def test_whatever_is_planned_keeps_the_manifest_s_rules(target, bounded: bool, context: int | None) -> None:
    made = plan(TINY, target, context=context, bounded=bounded)
    check_context(made.context, window=made.window, chunk=made.chunk, config=TINY)
    check_cache(
        made.cache,
        context=made.context,
        window=made.window,
        chunk=made.chunk,
        runner_kind=target.runner_kind,
        config=TINY,
    )
    assert all(layer.dtype == "float16" and layer.slots == layer.window >= made.chunk for layer in made.cache.layers)


def test_a_chunk_longer_than_the_window_is_refused_and_the_default_shrinks_to_it() -> None:
    with pytest.raises(ValueError, match=r"--prefill-chunk 65 is longer than the window of 64 tokens"):
        plan(TINY, chunk=65)
    narrow = dataclasses.replace(TINY, sliding_window=24)
    assert plan(narrow).chunk == 24


def test_the_neural_engine_s_longest_row_limits_context_and_chunk() -> None:
    assert plan(PRO, context=16_320, chunk=64).context.tokens == 16_320
    with pytest.raises(ValueError, match=r"row of 16385 scores; target coreml-ane takes 16384 .* --max-context 16320"):
        plan(PRO, context=16_321, chunk=64)
    assert plan(PRO, GPU, context=32_768).context.tokens == 32_768


def test_a_bounded_package_does_not_take_all_that_the_model_was_trained_for() -> None:
    assert plan(PRO, bounded=True).context.tokens == 2048


def test_the_stateful_target_is_bounded_and_takes_one_token() -> None:
    made = plan(PRO, STATEFUL)
    assert (made.context.kind, made.context.tokens, made.chunk, made.methods) == ("bounded", 2048, 1, None)
    assert "positions end at 2048" in " ".join(made.notes)
    with pytest.raises(ValueError, match=r"--prefill-chunk 64 does not fit target coreml-stateful"):
        plan(PRO, STATEFUL, chunk=64)
    with pytest.raises(ValueError, match=r"--methods two does not fit target coreml-stateful"):
        plan(PRO, STATEFUL, methods="two")


def test_groups_are_refused_on_the_neural_engine_with_the_reason_and_the_way_out() -> None:
    with pytest.raises(
        ValueError, match=r"coreml-ane cannot hold the recipe 8da4w-g32, because the Neural Engine .* 2510.*coreml-gpu"
    ):
        plan_export(quantized("8da4w-g32"), ANE, max_context=None, prefill_chunk=None, bounded=False)
    with pytest.raises(ValueError, match=r"coreml-gpu cannot hold the recipe 4w-channel"):
        plan_export(quantized("4w-channel"), GPU, max_context=None, prefill_chunk=None, bounded=False)


def test_a_layer_by_group_cannot_slip_onto_the_neural_engine_through_the_stateful_target() -> None:
    info = quantized("4w-channel")
    assert info.quantization is not None
    layers = {name: dict(layer) for name, layer in info.quantization.layers.items()}
    layers["layers.0.attention.v_proj"] |= {"scheme": "int4-group", "group_size": 32}
    mixed = dataclasses.replace(info, quantization=dataclasses.replace(info.quantization, layers=layers))
    with pytest.raises(ValueError, match=r"Neural Engine, which cannot hold int4-group layers \(layers\.0\."):
        plan_export(mixed, STATEFUL, max_context=None, prefill_chunk=None, bounded=False)


def test_the_compute_unit_follows_the_recipe() -> None:
    units = {
        (target.name, recipe): plan_export(
            quantized(recipe), target, max_context=None, prefill_chunk=None, bounded=False
        ).compute_unit
        for target in (ANE, GPU, STATEFUL)
        for recipe in target.recipes
    }
    assert units == {
        ("coreml-ane", "4w-channel"): "CPU_AND_NE",
        ("coreml-gpu", "8da4w-g32"): "CPU_AND_GPU",
        ("coreml-stateful", "8da4w-g32"): "CPU_AND_GPU",
        ("coreml-stateful", "4w-channel"): "CPU_AND_NE",
    }


def test_int8_activations_becoming_float16_is_said() -> None:
    made = plan_export(quantized("8da4w-g32"), GPU, max_context=None, prefill_chunk=None, bounded=False)
    assert any("float16 here, though the recipe was trained with INT8" in note for note in made.notes)


def test_one_call_plans_both_phones_and_gives_methods_to_the_one_that_has_them() -> None:
    plans = plan_targets(
        quantized("8da4w-g32"),
        [TARGETS["xnnpack"], GPU],
        max_context=None,
        prefill_chunk=32,
        bounded=False,
        methods="one",
    )
    assert [made.methods for made in plans] == [None, "one"]
    with pytest.raises(ValueError, match=r"--methods one does not fit target xnnpack"):
        plan_targets(
            quantized("8da4w-g32"),
            [TARGETS["xnnpack"]],
            max_context=None,
            prefill_chunk=None,
            bounded=False,
            methods="one",
        )


def test_lint_rules_are_allowed_by_their_names_only_and_only_where_there_is_a_lint() -> None:
    from export.mil.lint import RULES

    rule = next(iter(RULES))

    def ask(target, asked: str) -> list[ExportPlan]:
        return plan_targets(
            quantized(target.recipes[0]),
            [target],
            max_context=None,
            prefill_chunk=None,
            bounded=False,
            allow_lint=(asked,),
        )

    (made,) = ask(ANE, rule)
    assert made.allow_lint == (rule,) and made.command.endswith(f"--allow-lint {rule}")
    check_origin_command(made.command)
    with pytest.raises(ValueError, match=r"--allow-lint 'nonsense' is no rule.*rules: "):
        ask(ANE, "nonsense")
    with pytest.raises(ValueError, match=r"--allow-lint belongs to targets for the Neural Engine"):
        ask(GPU, rule)


def check_origin_command(command: str) -> None:
    assert not set("/\\\n") & set(command)
