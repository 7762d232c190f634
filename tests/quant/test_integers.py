"""Codes and scales against torchao's own quantizer, bit for bit."""

import pytest
import torch
from torchao.quantization import Int8DynamicActivationIntxWeightConfig, PerAxis, PerGroup, quantize_

import quant.integers
from quant.integers import QuantizedTensor, dequantize, quantize_absmax, quantize_with_scales
from quant.recipe import LayerScheme

GROUP = LayerScheme(scheme="int4-group", bits=4, group_size=32)
CHANNEL = LayerScheme(scheme="int8-channel", bits=8)


def weights(kind: str) -> torch.Tensor:
    random = torch.randn(24, 128, generator=torch.Generator().manual_seed(7))
    match kind:
        case "normal":
            return random
        case "zero groups":
            random[:, 32:64] = 0.0
            random[3] = 0.0
            return random
        case "tiny":
            return random * 1e-36
        case "denormal":
            return random * 1e-41
        case "huge":
            return random * 1e37
        case "one sided":
            return random.abs()
        case "outliers":
            random[:, ::32] *= 1000.0
            return random
        case "ties":  # multiples of half a step under an absmax of 7.5: every second one lies between two codes
            ties = torch.arange(-15, 17).float() / 2
            ties[-1] = 7.5
            return ties.repeat(24, 4)
        case "bf16":
            return random.bfloat16()
        case _:
            return random.half()


KINDS = ["normal", "zero groups", "tiny", "denormal", "huge", "one sided", "outliers", "ties", "bf16", "fp16"]


def by_torchao(weight: torch.Tensor, scheme: LayerScheme) -> torch.Tensor:
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight = torch.nn.Parameter(weight.float())
    if scheme is GROUP:
        config = Int8DynamicActivationIntxWeightConfig(
            weight_dtype=torch.int4, weight_granularity=PerGroup(32), weight_scale_dtype=torch.bfloat16
        )
    else:
        config = Int8DynamicActivationIntxWeightConfig(weight_dtype=torch.int8, weight_granularity=PerAxis(0))
    quantize_(linear, config)
    return linear.weight


@pytest.mark.parametrize("scheme", [GROUP, CHANNEL], ids=lambda scheme: scheme.scheme)
@pytest.mark.parametrize("kind", KINDS)
def test_codes_and_scales_are_torchaos_bit_for_bit(kind: str, scheme: LayerScheme) -> None:
    ours, theirs = quantize_absmax(weights(kind), scheme), by_torchao(weights(kind), scheme)
    assert ours.scales.dtype == theirs.scale.dtype
    assert torch.equal(ours.codes, theirs.qdata)
    assert torch.equal(ours.scales, theirs.scale)
    assert torch.equal(dequantize(ours), theirs.dequantize())


def test_the_scale_is_absmax_over_seven_and_a_half_rounded_to_bf16() -> None:
    weight = weights("normal")
    want = (weight.unflatten(1, (4, 32)).abs().amax(-1) / 7.5).bfloat16()
    tensor = quantize_absmax(weight, GROUP)
    assert torch.equal(tensor.scales, want)
    assert int(tensor.codes.min()) == -8 and int(tensor.codes.max()) == 7


def test_no_weight_is_off_by_more_than_its_grid_allows() -> None:
    weight = weights("normal")
    for scheme, limit in ((GROUP, 0.53), (CHANNEL, 0.501)):
        tensor = quantize_absmax(weight, scheme)
        step = tensor.scales.float().repeat_interleave(128 // tensor.scales.shape[1], dim=1)
        assert float(((dequantize(tensor) - weight).abs() / step).max()) <= limit


@pytest.mark.parametrize("scheme", [GROUP, CHANNEL], ids=lambda scheme: scheme.scheme)
def test_groups_of_zeros_stay_zero_and_finite(scheme: LayerScheme) -> None:
    tensor = quantize_absmax(torch.zeros(4, 64), scheme)
    assert not tensor.codes.any()
    assert bool((tensor.scales > 0).all())
    assert torch.equal(dequantize(tensor), torch.zeros(4, 64))


def test_working_in_row_blocks_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = quantize_absmax(weights("normal"), GROUP)
    monkeypatch.setattr(quant.integers, "_BLOCK_ELEMENTS", 5 * 128)  # 24 rows in blocks of 5
    blocks = quantize_absmax(weights("normal"), GROUP)
    assert torch.equal(whole.codes, blocks.codes) and torch.equal(whole.scales, blocks.scales)


def test_a_view_that_is_not_contiguous_is_quantized_as_its_copy() -> None:
    view = weights("normal").T.contiguous().T
    assert torch.equal(quantize_absmax(view, GROUP).codes, quantize_absmax(weights("normal"), GROUP).codes)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused(bad: float) -> None:
    weight = torch.ones(2, 64)
    weight[1, 5] = bad
    with pytest.raises(ValueError, match="NaN or infinity"):
        quantize_absmax(weight, GROUP)


def test_weights_whose_integers_would_overflow_are_refused() -> None:
    with pytest.raises(ValueError, match="overflows float32"):
        quantize_absmax(torch.full((2, 64), -3.4e38), GROUP)


def test_a_width_that_the_group_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="K = 48 is not a multiple of 32"):
        quantize_absmax(torch.ones(2, 48), GROUP)


def test_a_float_scheme_has_no_codes() -> None:
    with pytest.raises(ValueError, match="'float' has no codes"):
        quantize_absmax(torch.ones(2, 64), LayerScheme(scheme="float", bits=32))


def test_learned_scales_are_used_as_they_are() -> None:
    weight = weights("normal")
    scales = torch.rand(24, 4, generator=torch.Generator().manual_seed(1)) * 0.2 + 0.1
    tensor = quantize_with_scales(weight, scales, GROUP)
    assert torch.equal(tensor.scales, scales.bfloat16())
    step = scales.bfloat16().float().repeat_interleave(32, dim=1)
    inside = (weight / step).abs() < 7
    assert float(((dequantize(tensor) - weight) / step)[inside].abs().max()) < 0.55


def test_learned_scales_equal_to_absmax_ones_give_the_same_codes() -> None:
    absmax = quantize_absmax(weights("normal"), GROUP)
    assert torch.equal(quantize_with_scales(weights("normal"), absmax.scales, GROUP).codes, absmax.codes)


@pytest.mark.parametrize("scales, message", [
    (torch.ones(24, 1), r"learned scales have shape \[24, 1\]; scheme int4-group needs \[24, 4\]"),
    (torch.ones(24), r"shape \[24\]"),
    (torch.zeros(24, 4), "positive and finite"),
    (-torch.ones(24, 4), "positive and finite"),
    (torch.full((24, 4), float("nan")), "positive and finite"),
])  # fmt: skip
def test_learned_scales_that_do_not_fit_are_refused(scales: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quantize_with_scales(weights("normal"), scales, GROUP)


def test_a_quantized_tensor_refuses_parts_that_do_not_belong_together() -> None:
    codes = torch.zeros(4, 64, dtype=torch.int8)
    with pytest.raises(ValueError, match=r"need torch.bfloat16 \[4, 2\]"):
        QuantizedTensor(codes=codes, scales=torch.ones(4, 2), scheme=GROUP)
    with pytest.raises(ValueError, match="must be an int8 matrix"):
        QuantizedTensor(codes=codes.float(), scales=torch.ones(4, 2).bfloat16(), scheme=GROUP)
