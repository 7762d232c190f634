"""Scales by the methods that look at the weights alone: against torchao's own, and against their definitions."""

import pytest
import torch
from torchao.quantization import Int8DynamicActivationIntxWeightConfig, PerAxis, PerGroup, quantize_

from quant.integers import QuantizedTensor, dequantize, quantize_absmax
from quant.methods import METHODS, find_method
from quant.recipe import LayerScheme
from quant.scales import SCALES, mse_scales, quantize_matrix

GROUP = LayerScheme(scheme="int4-group", bits=4, group_size=32)
CHANNEL4 = LayerScheme(scheme="int4-channel", bits=4)
CHANNEL8 = LayerScheme(scheme="int8-channel", bits=8)
SCHEMES = pytest.mark.parametrize("scheme", [GROUP, CHANNEL4, CHANNEL8], ids=lambda scheme: scheme.scheme)


def random(*shape: int, seed: int = 7) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def group_errors(weight: torch.Tensor, tensor: QuantizedTensor) -> torch.Tensor:
    return (dequantize(tensor) - weight).square().unflatten(1, (tensor.scales.shape[1], -1)).sum(-1)


def test_every_method_without_text_has_a_rule_and_the_others_have_none() -> None:
    assert set(SCALES) == {name for name, method in METHODS.items() if not method.needs_text}
    assert all(method.name == name for name, method in METHODS.items())


def test_an_unknown_method_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match=r"unknown method 'gtpq'; did you mean 'gptq'\?; known: rtn, rtn7, mse, hqq"):
        find_method("gtpq")


@SCHEMES
def test_hqq_is_the_choice_of_executorchs_exporter_bit_for_bit(scheme: LayerScheme) -> None:
    weight = random(24, 128)
    theirs = torch.nn.Linear(128, 24, bias=False)
    theirs.weight = torch.nn.Parameter(weight.clone())
    by_group = scheme is GROUP
    config = Int8DynamicActivationIntxWeightConfig(
        weight_dtype=torch.int8 if scheme is CHANNEL8 else torch.int4,
        weight_granularity=PerGroup(32) if by_group else PerAxis(0),
        weight_scale_dtype=torch.bfloat16 if by_group else torch.float32,
        intx_choose_qparams_algorithm="hqq_scale_only",
    )
    quantize_(theirs, config)
    ours = quantize_matrix(weight, scheme, "hqq")
    assert torch.equal(ours.scales, theirs.weight.scale)
    assert int((ours.codes != theirs.weight.qdata).sum()) == 0


@SCHEMES
def test_rtn_is_the_spines_own_rounding(scheme: LayerScheme) -> None:
    weight = random(24, 128)
    made, want = quantize_matrix(weight, scheme, "rtn"), quantize_absmax(weight, scheme)
    assert torch.equal(made.codes, want.codes) and torch.equal(made.scales, want.scales)
    assert torch.equal(SCALES["rtn"](weight, scheme), want.scales)


@SCHEMES
def test_rtn7_clips_nothing(scheme: LayerScheme) -> None:
    weight, high = random(24, 128), 127 if scheme is CHANNEL8 else 7
    made = quantize_matrix(weight, scheme, "rtn7")
    want = weight.unflatten(1, (made.scales.shape[1], -1)).abs().amax(-1) / high
    assert torch.equal(made.scales, want.to(made.scales.dtype))
    assert int(made.codes.abs().max()) == high
    steps = (dequantize(made) - weight).unflatten(1, (made.scales.shape[1], -1)) / made.scales.float()[..., None]
    assert float(steps.abs().max()) <= 0.53  # the bound of docs/numerics.md


@SCHEMES
def test_mse_leaves_no_group_worse_than_rounding_to_the_largest_weight(scheme: LayerScheme) -> None:
    for weight in (random(24, 128), random(24, 128) ** 3, random(24, 128).abs()):
        least = group_errors(weight, quantize_matrix(weight, scheme, "mse"))
        for other in ("rtn", "rtn7"):
            errors = group_errors(weight, quantize_matrix(weight, scheme, other))
            assert bool((least <= errors * 1.02).all())  # torchao rounds by the scale's rounded reciprocal
        rounded = float(group_errors(weight, quantize_matrix(weight, scheme, "rtn")).sum())
        assert float(least.sum()) < (0.97 if scheme is CHANNEL8 else 0.95) * rounded


def test_mse_finds_the_scale_that_a_finer_search_finds() -> None:
    weight = random(6, 32)
    scale = mse_scales(weight, CHANNEL4)
    fine = weight.abs().amax(1, keepdim=True) / 7.5 * torch.linspace(0.3, 1.3, 20_001)
    codes = (weight[:, None] / fine[..., None]).round().clamp(-8, 7)
    best = (codes * fine[..., None] - weight[:, None]).square().sum(-1).amin(1)
    mine = ((weight / scale).round().clamp(-8, 7) * scale - weight).square().sum(1)
    assert bool((mine <= 1.05 * best).all())


def test_an_important_column_draws_the_scale_to_itself() -> None:
    weight = random(50, 32)
    importance = torch.ones(32)
    importance[3] = 1e6
    scale = mse_scales(weight, CHANNEL4, importance)
    error = ((weight / scale).round().clamp(-8, 7) * scale - weight).abs()
    plain = mse_scales(weight, CHANNEL4)
    plain_error = ((weight / plain).round().clamp(-8, 7) * plain - weight).abs()
    assert float(error[:, 3].mean()) < 0.1 * float(plain_error[:, 3].mean())


@pytest.mark.parametrize("method", sorted(SCALES))
@SCHEMES
def test_groups_of_zeros_stay_zero_and_finite(method: str, scheme: LayerScheme) -> None:
    tensor = quantize_matrix(torch.zeros(4, 64), scheme, method)
    assert not tensor.codes.any() and bool((tensor.scales > 0).all())
    assert torch.equal(dequantize(tensor), torch.zeros(4, 64))


@pytest.mark.parametrize("method", sorted(SCALES))
def test_half_precision_is_widened_and_nan_refused(method: str) -> None:
    weight = random(4, 64).bfloat16()
    narrow, wide = quantize_matrix(weight, GROUP, method), quantize_matrix(weight.float(), GROUP, method)
    assert torch.equal(narrow.codes, wide.codes) and torch.equal(narrow.scales, wide.scales)
    weight[1, 5] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinity"):
        quantize_matrix(weight, GROUP, method)
