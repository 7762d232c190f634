"""Fake quantization is the deployed arithmetic, bit for bit, with the gradients that the papers give."""

import math

import pytest
import torch
from torchao.quantization import PerGroup
from torchao.quantization.qat import IntxFakeQuantizeConfig
from torchao.quantization.qat.fake_quantizer import IntxFakeQuantizer
from torchao.quantization.quant_primitives import _fake_quantize_affine

from model.checkpoint import float_shapes, load_model, random_checkpoint, read_info
from model.config import ModelConfig
from quant.checkpoint import build_model, quantize_checkpoint
from quant.fake_quant import (
    FakeQuantEmbedding,
    FakeQuantLinear,
    fake_quantize_activations,
    is_range,
    learned_scales,
    prepare_qat,
)
from quant.integers import dequantize, quantize_absmax
from quant.plan import layer_shapes
from quant.recipe import RECIPES, LayerScheme, plan_layers

GROUP = LayerScheme(scheme="int4-group", bits=4, group_size=32)
CHANNEL = LayerScheme(scheme="int4-channel", bits=4)


def config(*, tied: bool = True, ffn_dim: int = 96) -> ModelConfig:
    return ModelConfig(
        vocab_size=300,
        dim=64,
        num_layers=3,
        num_heads=4,
        num_kv_heads=2,
        head_dim=16,
        ffn_dim=ffn_dim,
        global_layers=(0, 2),
        sliding_window=8,
        max_context=64,
        tied=tied,
    )


def plan_of(shape, recipe, overrides=None):
    return plan_layers(RECIPES[recipe], layer_shapes(float_shapes(shape)), None, overrides or {})


@pytest.fixture
def checkpoint(tmp_path):
    def make(shape=None):
        random_checkpoint(shape or config(), tmp_path / "float", seed=3)
        return tmp_path / "float"

    return make


def prepared(folder, recipe, *, overrides=None, **options):
    model = load_model(folder)
    return prepare_qat(model, plan_of(model.config, recipe, overrides), RECIPES[recipe], **options)


def linear(weight, scheme, *, rounds_inputs=False):
    plain = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    plain.weight = torch.nn.Parameter(weight.clone())
    return FakeQuantLinear(plain, scheme, rounds_inputs=rounds_inputs)


# The forward pass


@pytest.mark.parametrize("recipe", ["8da4w-g32", "4w-channel"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("ffn_dim", [96, 80])  # 80 is no multiple of 32: such layers have 8 bits by channel
def test_a_model_under_fake_quantization_is_the_converted_integer_model_bit_for_bit(
    checkpoint, tmp_path, recipe, tied, ffn_dim
):
    source = checkpoint(config(tied=tied, ffn_dim=ffn_dim))
    quantize_checkpoint(source, tmp_path / "integers", recipe=recipe)
    tokens = torch.randint(0, 300, (2, 24), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        trained = prepared(source, recipe).eval()(tokens)
        converted = build_model(tmp_path / "integers")(tokens)
    assert torch.equal(trained, converted)


def test_layers_that_depart_from_the_recipe_are_trained_as_they_will_be_stored(checkpoint, tmp_path):
    source, overrides = checkpoint(), {"layers.0.*": "int8-channel", "layers.1.attention.o_proj": "float"}
    quantize_checkpoint(source, tmp_path / "integers", recipe="8da4w-g32", overrides=overrides)
    model = prepared(source, "8da4w-g32", overrides=overrides)
    assert type(model.layers[1].attention.o_proj) is torch.nn.Linear
    tokens = torch.arange(20).view(2, 10)
    with torch.no_grad():
        assert torch.equal(model.eval()(tokens), build_model(tmp_path / "integers")(tokens))


@pytest.mark.parametrize("scheme", [GROUP, CHANNEL], ids=["group", "channel"])
def test_the_weights_of_a_layer_are_those_that_its_codes_stand_for(scheme):
    weight = torch.randn(10, 64)
    x, fake = linear(weight, scheme).operands(torch.eye(64))
    assert torch.equal(x, torch.eye(64))
    assert torch.equal(fake, dequantize(quantize_absmax(weight, scheme)))


def test_weights_agree_with_torchaos_own_fake_quantizer():
    weight = torch.randn(40, 128)
    theirs = IntxFakeQuantizer(
        IntxFakeQuantizeConfig(torch.int4, PerGroup(32), is_symmetric=True, scale_precision=torch.bfloat16)
    )(weight)
    _, ours = linear(weight, GROUP).operands(weight)
    step = quantize_absmax(weight, GROUP).scales.float().repeat_interleave(32, 1)
    differs = (ours - theirs).abs() > 1e-6
    assert float(differs.float().mean()) < 0.01  # ties that bf16's reciprocal moves (quant/integers.py)
    assert bool(((ours - theirs).abs() <= 1.01 * step).all())


def test_activations_agree_with_torchaos_own_fake_quantizer():
    x = torch.randn(3, 5, 64) * 3
    theirs = IntxFakeQuantizer(
        IntxFakeQuantizeConfig(torch.int8, "per_token", is_symmetric=False, scale_precision=torch.float32)
    )(x)
    torch.testing.assert_close(fake_quantize_activations(x), theirs, atol=1e-5, rtol=0)


def test_an_embedding_gives_the_rows_that_its_table_has_as_a_layer():
    table = torch.nn.Embedding(50, 64)
    fake = FakeQuantEmbedding(table, GROUP)
    tokens = torch.tensor([[3, 3, 49], [0, 7, 3]])
    whole = dequantize(quantize_absmax(table.weight.detach(), GROUP))
    assert torch.equal(fake(tokens), whole[tokens])


# The gradient


def test_the_gradient_passes_straight_through_the_rounding_of_weights_activations_and_cache(checkpoint):
    weight, x = torch.randn(6, 32), torch.randn(4, 32, requires_grad=True)
    layer = linear(weight, GROUP, rounds_inputs=True)
    out = layer(x)
    upstream = torch.randn_like(out)
    out.backward(upstream)
    inputs, fake = layer.operands(x.detach())
    torch.testing.assert_close(layer.weight.grad, upstream.T @ inputs)
    torch.testing.assert_close(x.grad, upstream @ fake)
    model = prepared(checkpoint(), "8da4w-g32")
    model(torch.arange(12).view(1, 12)).square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.parameters())


@pytest.mark.parametrize("scheme", [GROUP, CHANNEL], ids=["group", "channel"])
def test_the_gradient_of_a_learned_range_is_that_of_torchaos_fake_quantization(scheme):
    """torchao's formula: autograd through clamp and a straight-through round, with the scale as a tensor."""
    torch.manual_seed(0)
    weight, upstream = torch.randn(6, 64), torch.randn(6, 64)
    layer = linear(weight, scheme)
    with torch.no_grad():
        layer.learn_ranges()
        layer.log_scale.sub_(0.5)  # so that ends are clipped
        layer.log_scale.copy_(layer.log_scale.exp().log2().round().mul(math.log(2)))  # so that no reciprocal is rounded
    scale = layer.scales().clone().requires_grad_()
    block = (1, scheme.group_size or 64)
    theirs_weight = weight.clone().requires_grad_()
    theirs = _fake_quantize_affine(
        theirs_weight, block, scale, torch.zeros_like(scale), torch.int32, quant_min=-8, quant_max=7
    )
    _, ours = layer.operands(weight)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)
    theirs.backward(upstream)
    ours.backward(upstream)
    size = 1 / math.sqrt(block[1] * 7)
    torch.testing.assert_close(layer.log_scale.grad, scale.grad * scale.detach() * size, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(layer.weight.grad, theirs_weight.grad)
    clipped = (weight / scale.detach().repeat_interleave(block[1], 1)).abs() > 8.5
    assert bool(clipped.any()) and bool((layer.weight.grad[clipped] == 0).all())


# Learned ranges


@pytest.mark.parametrize("recipe", ["8da4w-g32", "4w-channel"])
@pytest.mark.parametrize("tied", [True, False])
def test_ranges_begin_at_the_weights_own(checkpoint, recipe, tied):
    source = checkpoint(config(tied=tied))
    learned = prepared(source, recipe, learn_ranges=True)
    for name, scale in learned_scales(learned).items():
        own = quantize_absmax(
            learned.get_parameter(name.replace("_scale", "")).detach(),
            plan_of(learned.config, recipe)[name.removesuffix(".weight_scale")],
        ).scales
        # A float32 scale moves by the rounding of its logarithm; a bf16 one comes back as it was.
        torch.testing.assert_close(scale, own.float(), atol=0, rtol=0 if own.dtype == torch.bfloat16 else 1e-6)
    names = [name for name, _ in learned.named_parameters() if is_range(name)]
    assert len(names) == 1 + 3 * 7 + (0 if tied else 1)
    assert set(learned_scales(learned)) == {name.replace("log_scale", "weight_scale") for name in names}
    if tied:
        assert learned.head.log_scale is learned.embedding.log_scale


@pytest.mark.parametrize("recipe", ["8da4w-g32", "4w-channel"])
def test_learned_scales_are_what_the_type_that_keeps_them_can_hold(checkpoint, recipe):
    model = prepared(checkpoint(), recipe, learn_ranges=True)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if is_range(name):
                p.add_(torch.randn_like(p) * 0.1)
    kept = torch.bfloat16 if recipe == "8da4w-g32" else torch.float32
    for name, scale in learned_scales(model).items():
        assert scale.dtype == torch.float32 and torch.equal(scale, scale.to(kept).float()), name


def test_a_layer_that_departs_from_the_recipe_learns_no_range(checkpoint):
    source = checkpoint(config(ffn_dim=80))
    model = prepared(source, "8da4w-g32", learn_ranges=True)
    assert model.layers[0].feed_forward.down_proj.log_scale is None
    assert model.layers[0].feed_forward.up_proj.log_scale is not None


def test_ranges_may_begin_where_an_earlier_run_ended(checkpoint):
    source = checkpoint()
    start = {"layers.0.attention.q_proj": torch.full((64, 2), 0.25)}
    model = prepared(source, "8da4w-g32", learn_ranges=True, start_scales=start)
    assert torch.equal(model.layers[0].attention.q_proj.scales(), start["layers.0.attention.q_proj"])
    assert not torch.equal(model.layers[0].attention.o_proj.scales(), torch.full((64, 2), 0.25))


def test_the_parameters_stay_the_same_objects(checkpoint):
    source = checkpoint()
    model = load_model(source)
    before = dict(model.named_parameters())
    prepare_qat(model, plan_of(read_info(source).config, "8da4w-g32"), RECIPES["8da4w-g32"])
    assert {name: id(p) for name, p in model.named_parameters()} == {name: id(p) for name, p in before.items()}
    assert model.cache_dtype == "int8" and model.head.weight is model.embedding.weight
