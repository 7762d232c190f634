"""GPTQ of one matrix: against its definition, against torchao's own implementation, and in what it promises."""

import inspect

import pytest
import torch
from torch import Tensor

import quant.gptq
import quant.integers
from quant.gptq import quantize_gptq
from quant.integers import dequantize
from quant.recipe import LayerScheme
from quant.scales import absmax_scales, quantize_matrix

GROUP = LayerScheme(scheme="int4-group", bits=4, group_size=32)
CHANNEL4 = LayerScheme(scheme="int4-channel", bits=4)
CHANNEL8 = LayerScheme(scheme="int8-channel", bits=8)


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def correlated(columns: int, *, rows: int = 400, descending: bool = False) -> Tensor:
    """Inputs [rows, columns] whose columns depend on each other, with energies that differ a hundredfold."""
    mixing = random(columns, columns, seed=2) * 0.3 + torch.eye(columns)
    inputs = random(rows, columns, seed=3) @ mixing * torch.linspace(3.0, 0.3, columns)
    if descending:
        inputs = inputs[:, inputs.square().sum(0).argsort(descending=True)]
    return inputs


def moments(inputs: Tensor) -> Tensor:
    return (inputs.T @ inputs).double()


def loss(weight: Tensor, quantized: Tensor, inputs: Tensor) -> float:
    return float((inputs @ (weight - quantized).T).square().sum())


@pytest.mark.parametrize("scheme", [GROUP, CHANNEL4, CHANNEL8], ids=lambda scheme: scheme.scheme)
def test_the_layer_loses_less_than_by_any_rounding(scheme: LayerScheme) -> None:
    weight, inputs = random(24, 128), correlated(128)
    mine = loss(weight, dequantize(quantize_gptq(weight, moments(inputs), scheme)), inputs)
    for method in ("rtn", "rtn7", "hqq", "mse"):
        assert mine < 0.6 * loss(weight, dequantize(quantize_matrix(weight, scheme, method)), inputs)


def test_inputs_that_do_not_depend_on_each_other_make_it_the_search_for_least_error() -> None:
    weight = random(24, 128)
    made, want = quantize_gptq(weight, torch.eye(128).double(), GROUP), quantize_matrix(weight, GROUP, "mse")
    assert torch.equal(made.scales, want.scales)
    assert int((made.codes != want.codes).sum()) <= 2  # torchao's reciprocal, at ties


def test_each_column_is_rounded_where_the_exact_solution_of_what_is_left_wants_it() -> None:
    """Definition: with some columns rounded, the others are free and minimise the layer's loss; the next is rounded."""
    weight, inputs = random(5, 16).double(), correlated(16, descending=True).double()
    squared = inputs.T @ inputs
    squared.diagonal().add_(0.01 * squared.diagonal().mean())
    scales = weight.abs().amax(1, keepdim=True).float() / 7.5
    target, rounded = weight.clone(), torch.zeros_like(weight)
    for k in range(16):
        rounded[:, k] = (target[:, k].float() / scales[:, 0]).round().clamp(-8, 7) * scales[:, 0]
        lost = (weight - rounded)[:, : k + 1]
        rest = torch.linalg.solve(squared[k + 1 :, k + 1 :], squared[k + 1 :, : k + 1] @ lost.T).T
        target[:, k + 1 :] = weight[:, k + 1 :] + rest
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quant.gptq, "mse_scales", lambda part, scheme, importance: absmax_scales(part, scheme))
        made = quantize_gptq(weight.float(), inputs.T @ inputs, CHANNEL4)
    assert torch.equal(dequantize(made), rounded.float())


@pytest.mark.parametrize("bits", [4, 8])
def test_codes_and_scales_are_those_of_torchaos_own_gptq(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchao.prototype.gptq without its demand for a GPU, with its range cut to 4 bits; rows share a scale there."""
    from torchao.prototype.gptq import api
    from torchao.quantization import Int8WeightOnlyConfig, PerRow
    from torchao.quantization.quantize_.workflows.int8 import int8_tensor

    scheme = CHANNEL4 if bits == 4 else CHANNEL8
    weight, inputs = random(24, 160), correlated(160, descending=True)
    source = inspect.getsource(api.gptq_quantize)
    for gpu in ('assert device.type == "cuda", "GPTQ only supports CUDA currently"', "torch.cuda.synchronize()"):
        assert gpu in source
        source = source.replace(gpu, "pass")
    names = dict(vars(api))
    exec(source, names)
    monkeypatch.setitem(int8_tensor._DTYPE_TO_QVALUE_BOUNDS, torch.int8, (-8, 7) if bits == 4 else (-128, 127))
    config = api.GPTQConfig(step="convert", base_config=Int8WeightOnlyConfig(granularity=PerRow()))
    theirs = names["gptq_quantize"](moments(inputs).float(), weight.clone(), config)
    monkeypatch.setattr(quant.gptq, "mse_scales", lambda part, scheme, importance: absmax_scales(part, scheme))
    ours = quantize_gptq(weight, moments(inputs), scheme)
    assert torch.allclose(ours.scales, theirs.scale, rtol=1e-6)
    assert int((ours.codes != theirs.qdata).sum()) <= 0.01 * ours.codes.numel()  # float32 against our float64 factor
    mine, its = (loss(weight, codes.float() * ours.scales, inputs) for codes in (ours.codes, theirs.qdata))
    assert mine == pytest.approx(its, rel=0.01)


def test_the_order_of_columns_is_by_energy_and_keeps_groups_together() -> None:
    energy = torch.arange(128).double()
    order = quant.gptq._order(energy, GROUP)
    assert sorted(order.tolist()) == list(range(128))
    assert order[:32].tolist() == list(range(127, 95, -1)) and order[-1] == 0
    assert quant.gptq._order(energy, CHANNEL8).tolist() == list(range(127, -1, -1))


def test_working_in_row_blocks_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, seen = random(24, 64), moments(correlated(64))
    whole = quantize_gptq(weight, seen, GROUP)
    monkeypatch.setattr(quant.integers, "_BLOCK_ELEMENTS", 8 * 64)
    blocks = quantize_gptq(weight, seen, GROUP)
    assert torch.equal(whole.codes, blocks.codes) and torch.equal(whole.scales, blocks.scales)


@pytest.mark.parametrize("scheme", [GROUP, CHANNEL4, LayerScheme(scheme="int4-group", bits=4, group_size=96)])
def test_updating_the_rest_at_once_changes_nothing_but_the_order_of_sums(
    scheme: LayerScheme, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight, seen = random(12, 288), moments(correlated(288))
    lazy = quantize_gptq(weight, seen, scheme)
    monkeypatch.setattr(quant.gptq, "_LAZY_COLUMNS", 32)
    eager = quantize_gptq(weight, seen, scheme)
    assert int((lazy.codes != eager.codes).sum()) <= 0.01 * weight.numel()


def test_inputs_that_never_move_leave_their_columns_rounded_to_nearest() -> None:
    weight, inputs = random(8, 64), correlated(64)
    inputs[:, 40:] = 0.0
    made = quantize_gptq(weight, moments(inputs), CHANNEL8)
    assert torch.equal(made.codes[:, 40:], (weight / made.scales).round().clamp(-128, 127)[:, 40:].to(torch.int8))
    nothing = quantize_gptq(weight, torch.zeros(64, 64).double(), CHANNEL8)
    assert torch.equal(nothing.codes, quantize_gptq(weight, torch.eye(64).double(), CHANNEL8).codes)


def test_zeros_and_what_is_not_finite() -> None:
    assert not quantize_gptq(torch.zeros(4, 64), moments(correlated(64)), GROUP).codes.any()
    with pytest.raises(ValueError, match="inputs of the layer are not finite on the calibration text"):
        quantize_gptq(random(4, 64), torch.full((64, 64), float("nan")).double(), GROUP)
    with pytest.raises(ValueError, match="NaN or infinity"):
        quantize_gptq(torch.full((4, 64), float("inf")), torch.eye(64).double(), GROUP)
    with pytest.raises(ValueError, match="K = 48 is not a multiple of 32"):
        quantize_gptq(random(4, 48), torch.eye(48).double(), GROUP)
