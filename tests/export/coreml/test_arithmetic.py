"""The norm in float16: as the definition says over the whole range of its input, and never infinite."""

import pytest
import torch

from export.coreml.arithmetic import rms_norm

EPS = 1e-5


def definition(x: torch.Tensor) -> torch.Tensor:
    wide = x.to(torch.float64)
    return wide / torch.sqrt((wide * wide).mean(-1, keepdim=True) + EPS)


@pytest.mark.parametrize("scale", [0.0, 1e-6, 1e-3, 0.03, 1.0, 300.0, 20_000.0])
@pytest.mark.parametrize("width", [32, 64, 1280])
def test_it_is_the_definition_within_a_few_roundings_of_float16(scale: float, width: int) -> None:
    x = (scale * torch.randn(7, width, generator=torch.Generator().manual_seed(1))).clamp(-65_504, 65_504)
    half = x.to(torch.float16)
    normed = rms_norm(half, EPS).to(torch.float64)
    assert torch.allclose(normed, definition(half), rtol=6 * 2.0**-11, atol=2.0**-20)


def test_one_huge_value_among_small_ones_overflows_nothing() -> None:
    x = torch.full((1, 1280), 0.5, dtype=torch.float16)
    x[0, 7] = 65_504.0
    normed = rms_norm(x, EPS)
    assert bool(torch.isfinite(normed).all())
    assert float(normed[0, 7]) == pytest.approx(float(definition(x)[0, 7]), rel=2e-3)


def test_in_float32_it_is_as_exact_as_float32() -> None:
    x = 50 * torch.randn(5, 96, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(rms_norm(x, EPS).double(), definition(x), rtol=1e-6)
