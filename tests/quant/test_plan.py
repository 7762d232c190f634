"""What is to become of a float checkpoint: what was asked for, against what it was trained for."""

import dataclasses
from typing import Any

import pytest

from model.checkpoint import float_shapes
from model.checkpoint_info import CheckpointInfo
from model.config import ModelConfig
from quant.plan import Choice, choose, layer_shapes, read_plan
from quant.recipe import RECIPES, plan_layers

CONFIG = ModelConfig(
    vocab_size=96, dim=64, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=16, ffn_dim=108,
    global_layers=(1,), sliding_window=4, max_context=64,
)  # fmt: skip
PLAIN = CheckpointInfo(config=CONFIG, family="random", source_sha256="0" * 64)
SHAPES = layer_shapes(float_shapes(CONFIG))
OVERRIDES = {"layers.0.*": "int8-channel"}


def trained(recipe: str = "8da4w-g32", group_size: int | None = None, **changes: Any) -> CheckpointInfo:
    choice = Choice(
        recipe=recipe,
        group_size=group_size or RECIPES[recipe].group_size,
        method="rtn",
        layers=plan_layers(RECIPES[recipe], SHAPES, group_size, **changes),
    )
    return dataclasses.replace(PLAIN, trained_for=choice.to_info())


def test_without_a_word_it_is_rounded_to_the_cpu_recipe() -> None:
    choice = choose("x", PLAIN)
    assert (choice.recipe, choice.group_size, choice.method, choice.needs_text) == ("8da4w-g32", 32, "rtn", False)
    assert choice.layers == plan_layers(RECIPES["8da4w-g32"], SHAPES)
    assert choose("x", PLAIN, method="gptq").needs_text


def test_what_was_trained_decides_recipe_group_layers_and_method() -> None:
    for info in (trained("4w-channel"), trained(group_size=64), trained(overrides=OVERRIDES)):
        choice = choose("x", info)
        assert info.trained_for is not None
        assert choice.method == "trained"
        assert choice.to_info() == dataclasses.replace(info.trained_for, method="trained")


def test_asking_for_what_was_trained_is_fine() -> None:
    info = trained(group_size=64, overrides=OVERRIDES)
    given: dict[str, Any] = {"recipe": "8da4w-g32", "group_size": 64, "method": "trained", "overrides": OVERRIDES}
    assert choose("x", info, **given) == choose("x", info)


@pytest.mark.parametrize("given, message", [
    ({"recipe": "float"}, "x was trained for recipe 8da4w-g32: its recipe is 8da4w-g32, not float; leave it"),
    ({"group_size": 64}, "its group size is 32, not 64"),
    ({"method": "rtn"}, "its method is trained, not rtn"),
    ({"method": "gptq"}, "its method is trained, not gptq"),
    ({"overrides": OVERRIDES}, r"other schemes than the overrides ask for \(layers\.0\.attention\.q_proj"),
    ({"overrides": {"nothing": "float"}}, "override 'nothing' matches no layer"),
])  # fmt: skip
def test_anything_else_than_what_was_trained_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose("x", trained(), **given)


@pytest.mark.parametrize("given, message", [
    ({"recipe": "8da4w"}, "unknown recipe '8da4w'; did you mean '8da4w-g32'"),
    ({"method": "gtpq"}, "unknown method 'gtpq'; did you mean 'gptq'"),
    ({"method": "trained"}, "x was not trained for a recipe, so it has no grid of its own; leave out the method"),
    ({"recipe": "float", "method": "rtn"}, "recipe 'float' quantizes nothing; leave out the method rtn"),
])  # fmt: skip
def test_what_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose("x", PLAIN, **given)


def test_learned_scales_are_a_grid_that_no_method_replaces() -> None:
    learned = dataclasses.replace(PLAIN, learned_scales=True)
    assert choose("x", learned, recipe="4w-channel").method == "trained"
    assert choose("x", learned, recipe="float").method == "rtn"
    with pytest.raises(ValueError, match="x has learned scales, which method hqq would drop; leave out the method"):
        choose("x", learned, method="hqq")


def test_a_checkpoint_that_is_quantized_already_is_refused() -> None:
    with pytest.raises(ValueError, match=r"x is quantized already \(8da4w-g32\); .* give the float checkpoint"):
        choose("x", dataclasses.replace(PLAIN, quantization=choose("x", PLAIN).to_info()))


def test_a_plan_that_does_not_fit_the_model_is_refused() -> None:
    info = trained()
    assert info.trained_for is not None
    layers = dict(info.trained_for.layers)
    layers.pop("embedding")
    broken = dataclasses.replace(info, trained_for=dataclasses.replace(info.trained_for, layers=layers))
    with pytest.raises(ValueError, match=r"the quantized layers are not the model's \(embedding\)"):
        choose("x", broken)


def test_what_was_chosen_is_read_back(tmp_path: Any) -> None:
    choice = choose("x", PLAIN, overrides=OVERRIDES, method="mse")  # type: ignore[arg-type]
    info = dataclasses.replace(PLAIN, quantization=choice.to_info())
    assert read_plan(tmp_path, CheckpointInfo.from_json(info.to_json())) == choice.layers
