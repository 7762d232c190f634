"""Integers on their way into the program: codes unchanged, scales in float16 or refused with the layer's name."""

import logging

import pytest
import torch

from export.checkpoint_weights import open_weights
from export.coreml.weights import Matrix, half_scales
from model.errors import GateError
from tests.packages import Made

SLICE = slice(10, 30)


def test_codes_are_the_checkpoint_s_and_scales_their_float16(tiny_gpu: Made) -> None:
    weights = open_weights(tiny_gpu.checkpoint)
    tensor = weights.load("layers.0.attention.v_proj")
    matrix = Matrix("v_proj", tensor, torch.float16, SLICE)
    assert torch.equal(matrix.codes, tensor.codes[SLICE])
    assert torch.equal(matrix.scales, tensor.scales[SLICE].to(torch.float16))
    groups = tensor.scales.shape[1]
    expected = tensor.codes.view(len(tensor.codes), groups, -1) * tensor.scales.to(torch.float16).double().unsqueeze(-1)
    wide = Matrix("v_proj", tensor, torch.float32, None)
    assert torch.equal(wide.weight().double(), expected.flatten(1))


@pytest.mark.parametrize(("scale", "becomes"), [(2e-8, "0"), (7e4, "infinite")])
def test_a_scale_that_float16_loses_is_refused_with_its_layer(scale: float, becomes: str) -> None:
    scales = torch.full((4, 2), 0.01)
    scales[2, 1] = scale
    with pytest.raises(GateError, match=rf"layer layers\.3\.v_proj: 1 of 8 scales .* becomes {becomes}"):
        half_scales("layers.3.v_proj", scales)


def test_a_scale_below_the_normal_range_is_kept_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    scales = torch.tensor([[0.01], [5e-5]])
    with caplog.at_level(logging.WARNING, logger="pocketlm"):
        assert half_scales("layers.3.v_proj", scales).dtype == torch.float16
    assert "layers.3.v_proj: 1 of 2 scales are below 6.1e-05" in caplog.text
    caplog.clear()
    half_scales("layers.3.v_proj", torch.tensor([[6.2e-5]]))
    assert not caplog.records
