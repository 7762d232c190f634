"""INT8 per head: the kernel's formula worked by hand, torch's operator of the same name, and the edges."""

import pytest
import torch
from torch import Tensor

from model.int8 import dequantize_per_head, quantize_per_head, round_trip

_SMALLEST_SCALE = 6.1e-5  # of the phones' kernel; tests/export/test_operators_parity.py runs that kernel


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def torchs_own(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    import torch.ao.quantization.fx._decomposed

    ops = torch.ops.quantized_decomposed
    scales, zeros = ops.choose_qparams_per_token_asymmetric.default(x, torch.int8)
    return ops.quantize_per_token(x, scales, zeros, -128, 127, torch.int8), scales, zeros


@pytest.mark.parametrize(
    "name, x, most_flips",
    [
        ("normal", random(1, 2048, 3, 64), 8),
        ("positive", random(1, 512, 3, 64, seed=1).abs() + 1, 8),
        ("negative", -random(1, 512, 3, 64, seed=2).abs() - 1, 8),
        ("one outlier", torch.cat([random(1, 512, 3, 63, seed=3), 1000 * torch.ones(1, 512, 3, 1)], dim=-1), 8),
        ("huge", 1e36 * random(1, 512, 3, 64, seed=4), 8),
        # torch's operator adds the zero point before it rounds, so of exact halves about every second goes elsewhere
        (
            "exact halves",
            torch.randint(-510, 511, (1, 512, 3, 64), generator=torch.Generator().manual_seed(5)) * 0.25,
            400,
        ),
    ],
)
def test_codes_scales_and_zero_points_equal_torchs_operator(name: str, x: Tensor, most_flips: int) -> None:
    codes, scales, zeros = quantize_per_head(x)
    their_codes, their_scales, their_zeros = torchs_own(x)
    steps = (codes.int() - their_codes.int()).abs()
    flips = int((steps > 0).sum())
    print(f"\n{name}: {flips} of {codes.numel()} codes flip")
    assert torch.equal(zeros.long(), their_zeros)
    assert (scales / their_scales - 1).abs().max() <= 2e-7  # one unit in float32's last place
    assert steps.max() <= 1 and flips <= most_flips


def test_every_value_comes_back_within_half_a_step_and_zero_comes_back_exactly() -> None:
    x = random(1, 512, 3, 64, seed=6)
    x[..., 5] = 0
    codes, scales, _ = quantize_per_head(x)
    back = round_trip(x)
    steps = (back - x).abs() / scales
    assert steps[(codes > -128) & (codes < 127)].max() <= 0.5001
    assert steps.max() <= 1.0001  # the ends also take the rounding of the zero point
    assert (back[..., 5] == 0).all()


def test_a_row_of_zeros_comes_back_as_zeros() -> None:
    codes, scales, zeros = quantize_per_head(torch.zeros(1, 2, 3, 8))
    assert torch.equal(codes, zeros.expand_as(codes))
    assert torch.equal(scales, torch.full_like(scales, 0.1))  # the kernel's choice; any would do
    assert torch.equal(dequantize_per_head(codes, scales, zeros), torch.zeros(1, 2, 3, 8))


@pytest.mark.parametrize("size", [1e-45, 1e-40, 1e-30, 1e-10, 1e-5, 1e-3])
def test_small_rows_keep_the_kernels_smallest_scale_and_are_never_blown_up(size: float) -> None:
    x = random(64, 16, seed=7) * size
    codes, scales, zeros = quantize_per_head(x)
    back = dequantize_per_head(codes, scales, zeros)
    assert (scales >= _SMALLEST_SCALE * 0.9999).all()
    assert torch.isfinite(back).all() and (back - x).abs().max() <= 1.01 * _SMALLEST_SCALE


def test_the_largest_floats_keep_their_sign_and_size() -> None:
    top = torch.finfo(torch.float32).max
    x = torch.tensor([[top, -top, 0.0, top / 2], [top, 0.0, 0.0, 1.0], [-top, -1.0, 0.0, 0.0]])
    codes, scales, zeros = quantize_per_head(x)
    assert torch.isfinite(scales).all() and (scales > 0).all()
    wide = (codes.double() - zeros.double()) * scales.double()  # in float32 the end itself may round to infinity
    assert ((wide - x.double()).abs() <= scales.double()).all()


def test_one_sided_rows_keep_zero_at_the_end_of_the_range() -> None:
    up = quantize_per_head(torch.tensor([[1.0, 3.0, 2.55]]))
    down = quantize_per_head(torch.tensor([[-1.0, -3.0, -2.0]]))
    assert int(up[2]) == -128 and int(up[0].max()) == 127
    assert int(down[2]) == 127 and int(down[0].min()) == -128


def test_a_hand_worked_row_has_the_codes_of_the_formula() -> None:
    codes, scales, zeros = quantize_per_head(torch.tensor([[-1.0, 0.0, 0.5, 1.55]]))
    # scale (1.55 + 1) / 255 = 0.01; zero point -128 + 1 / 0.01 = -28
    assert float(scales) == pytest.approx(0.01, rel=1e-6) and int(zeros) == -28
    assert codes.tolist() == [[-128, -28, 22, 127]]


def test_each_head_of_each_token_has_a_scale_of_its_own() -> None:
    x = random(1, 4, 2, 8, seed=8) * torch.tensor([1.0, 100.0]).view(1, 1, 2, 1)
    codes, scales, zeros = quantize_per_head(x)
    assert scales.shape == zeros.shape == (1, 4, 2, 1)
    assert (codes.dtype, scales.dtype, zeros.dtype) == (torch.int8, torch.float32, torch.int8)
    for t in range(4):
        for head in range(2):
            alone = quantize_per_head(x[:, t : t + 1, head : head + 1])
            assert torch.equal(alone[0], codes[:, t : t + 1, head : head + 1])
            assert torch.equal(alone[1], scales[:, t : t + 1, head : head + 1])


def test_the_round_trip_keeps_the_inputs_type() -> None:
    x = random(1, 4, 2, 32, seed=9)
    assert round_trip(x.to(torch.bfloat16)).dtype == torch.bfloat16
    assert torch.equal(round_trip(x.to(torch.bfloat16)), round_trip(x.to(torch.bfloat16).float()).to(torch.bfloat16))
