"""The recipe table and the rule that gives each layer its scheme."""

import dataclasses
import subprocess
import sys

import pytest

from quant.recipe import RECIPES, LayerScheme, check_group_size, find_recipe, plan_layers, read_overrides

SHAPES = {"embedding": (512, 64), "layers.0.attention.q_proj": (64, 64), "layers.0.feed_forward.down_proj": (64, 172)}


def test_recipes_methods_and_plans_load_without_torch() -> None:
    code = "import sys, quant.recipe, quant.plan, quant.methods; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_recipe_is_listed_under_its_own_name() -> None:
    assert {"8da4w-g32", "float"} <= set(RECIPES)
    assert all(recipe.name == name for name, recipe in RECIPES.items())


def test_an_unknown_recipe_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match="unknown recipe '8da4w'; did you mean '8da4w-g32'"):
        find_recipe("8da4w")


def test_widths_that_the_group_divides_become_int4_by_group() -> None:
    plan = plan_layers(RECIPES["8da4w-g32"], SHAPES)
    want = LayerScheme(scheme="int4-group", bits=4, group_size=32)
    assert plan["embedding"] == want
    assert plan["layers.0.attention.q_proj"] == want


def test_a_width_that_the_group_does_not_divide_becomes_int8_by_channel_and_says_why() -> None:
    layer = plan_layers(RECIPES["8da4w-g32"], SHAPES)["layers.0.feed_forward.down_proj"]
    assert (layer.scheme, layer.bits, layer.group_size) == ("int8-channel", 8, None)
    assert layer.reason == "K = 172 is not a multiple of 32"


def test_the_same_rule_holds_for_the_table() -> None:
    plan = plan_layers(RECIPES["8da4w-g32"], {"embedding": (512, 72)})
    assert plan["embedding"] == LayerScheme(scheme="int8-channel", bits=8, reason="K = 72 is not a multiple of 32")


def test_an_odd_width_cannot_be_packed_and_becomes_int8() -> None:
    recipe = dataclasses.replace(RECIPES["8da4w-g32"], weights="int4-channel", group_size=None)
    plan = plan_layers(recipe, {"head": (8, 63), "layers.0.attention.q_proj": (8, 62)})
    assert plan["head"].reason == "K = 63 is odd, and two 4-bit codes share a byte"
    assert plan["layers.0.attention.q_proj"] == LayerScheme(scheme="int4-channel", bits=4)


def test_a_group_size_overrides_the_recipe_and_changes_who_fits() -> None:
    plan = plan_layers(RECIPES["8da4w-g32"], SHAPES | {"head": (512, 96)}, group_size=64)
    assert plan["embedding"].group_size == 64
    assert plan["head"].reason == "K = 96 is not a multiple of 64"


@pytest.mark.parametrize("size", [0, -32, 1, 16, 33, 48])
def test_a_group_that_no_kernel_takes_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"impossible group size {size}: .*multiples of 32"):
        check_group_size(size)
    with pytest.raises(ValueError, match="impossible group size"):
        plan_layers(RECIPES["8da4w-g32"], SHAPES, group_size=size)


def test_a_group_that_fits_no_layer_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match=r"impossible group size 256: it divides no layer's width .*embedding: 64"):
        plan_layers(RECIPES["8da4w-g32"], SHAPES, group_size=256)


def test_the_float_recipe_leaves_everything_float_and_takes_no_group() -> None:
    assert {layer.scheme for layer in plan_layers(RECIPES["float"], SHAPES).values()} == {"float"}
    with pytest.raises(ValueError, match="recipe 'float' has no groups"):
        plan_layers(RECIPES["float"], SHAPES, group_size=32)


@pytest.mark.parametrize("layer", plan_layers(RECIPES["8da4w-g32"], SHAPES).values())
def test_a_scheme_survives_json(layer: LayerScheme) -> None:
    assert LayerScheme.from_json(layer.to_json()) == layer


@pytest.mark.parametrize("change, message", [
    ({"scheme": "int3"}, "unknown scheme 'int3'"),
    ({"bits": 8}, "int4-group has 4 bits, not 8"),
    ({"group_size": None}, "cannot have group_size None"),
    ({"group_size": 31}, "impossible group size 31"),
    ({"zero": 1}, "wrong or missing: zero"),
])  # fmt: skip
def test_a_scheme_from_json_that_does_not_hold_together_is_refused(change: dict[str, object], message: str) -> None:
    data = {"scheme": "int4-group", "bits": 4, "group_size": 32, "reason": None} | change
    with pytest.raises(ValueError, match=message):
        LayerScheme.from_json(data)


def test_the_accelerator_recipe_is_int4_by_channel_under_float_activations() -> None:
    recipe = RECIPES["4w-channel"]
    assert (recipe.group_size, recipe.activations, recipe.cache) == (None, "float", "float")
    plan = plan_layers(recipe, SHAPES)
    assert set(plan.values()) == {LayerScheme(scheme="int4-channel", bits=4)}  # 172 columns need no group
    with pytest.raises(ValueError, match="recipe '4w-channel' has no groups; leave out the group size 32"):
        plan_layers(recipe, SHAPES, group_size=32)


def test_an_override_changes_the_layers_that_match_and_says_so() -> None:
    plan = plan_layers(RECIPES["8da4w-g32"], SHAPES, overrides={"layers.0.attention.*": "int8-channel"})
    assert plan["layers.0.attention.q_proj"] == LayerScheme(
        scheme="int8-channel", bits=8, reason="override layers.0.attention.*"
    )
    assert {name for name, layer in plan.items() if layer.reason == "override layers.0.attention.*"} == {
        "layers.0.attention.q_proj"
    }


def test_of_several_overrides_the_last_that_matches_counts() -> None:
    given = read_overrides(["embedding=int8-channel", "*=float", "*_proj=int4-channel", "embedding=int4-channel"])
    plan = plan_layers(RECIPES["8da4w-g32"], SHAPES, overrides=given)
    assert {layer.scheme for layer in plan.values()} == {"int4-channel"}
    assert plan["embedding"].reason == "override embedding"


def test_an_override_to_what_the_layer_is_anyway_is_no_departure() -> None:
    plain = plan_layers(RECIPES["8da4w-g32"], SHAPES)
    given = read_overrides(["embedding=int4-group", "*.down_proj=int8-channel"])
    assert plan_layers(RECIPES["8da4w-g32"], SHAPES, overrides=given) == plain


def test_groups_can_be_overridden_in_only_with_their_size() -> None:
    given = read_overrides(["embedding=int4-group"])
    plan = plan_layers(RECIPES["4w-channel"], SHAPES, group_size=32, overrides=given)
    assert plan["embedding"] == LayerScheme(scheme="int4-group", bits=4, group_size=32, reason="override embedding")
    with pytest.raises(ValueError, match="asks for int4-group, but recipe '4w-channel' has no groups; give a group"):
        plan_layers(RECIPES["4w-channel"], SHAPES, overrides=given)


@pytest.mark.parametrize("texts, message", [
    (["embeding=float"], r"override 'embeding' matches no layer; did you mean 'embedding'\?; layers are embed"),
    (["head=float"], "override 'head' matches no layer: this model's head is its table; name 'embedding' for both"),
    (["layers.7.*=float"], r"override 'layers\.7\.\*' matches no layer.*layers\.N\.attention\.q_proj"),
    (["*.down_proj=int4-group"], r"layer layers\.0\.feed_forward\.down_proj cannot be int4-group: K = 172 is not"),
    (["embedding"], r"override 'embedding' is not PATTERN=SCHEME; an example: 'layers\.0\.\*=int8-channel'"),
    (["=float"], "override '=float' is not PATTERN=SCHEME"),
    (["embedding=int8"], r"override 'embedding' asks for 'int8'; did you mean 'int8-channel'\?; known: int4-group"),
])  # fmt: skip
def test_an_override_that_cannot_be_is_refused(texts: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_layers(RECIPES["8da4w-g32"], SHAPES, overrides=read_overrides(texts))


def test_nothing_departs_from_a_recipe_that_quantizes_nothing() -> None:
    with pytest.raises(ValueError, match="recipe 'float' quantizes nothing, so no layer can depart from it"):
        plan_layers(RECIPES["float"], SHAPES, overrides={"embedding": "int8-channel"})


def test_an_override_survives_json() -> None:
    for layer in plan_layers(RECIPES["8da4w-g32"], SHAPES, overrides={"*": "float"}).values():
        assert LayerScheme.from_json(layer.to_json()) == layer
