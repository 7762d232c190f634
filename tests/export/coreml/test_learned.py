"""QAT with learned ranges reaches Core ML: the scales in the file are those that training has left, in float16."""

import numpy as np
import torch

from export.coreml.row_order import row_order
from export.mil.constants import read_constant_array
from export.mil.container import open_coreml
from export.mil.values import Constant
from model.checkpoint import open_tensors
from quant.integers import quantize_absmax
from quant.recipe import LayerScheme
from tests.packages import TINY, Made

SCHEME = LayerScheme(scheme="int4-channel", bits=4)


def stored_scales(made: Made) -> list[np.ndarray]:
    """The scales of each compressed constant of `forward`, float16 [N, 1]."""
    model = open_coreml(made.package / "model.pte").methods["forward"]
    found = []
    for operation in model.function.operations:
        if operation.kind == "constexpr_blockwise_shift_scale":
            (scale,) = operation.inputs["scale"]
            assert isinstance(scale, Constant)
            found.append(read_constant_array(scale, model.weights))
    return found


def test_the_learned_scales_are_in_the_package(tiny_ane_learned: Made) -> None:
    trained = open_tensors(tiny_ane_learned.source)
    stored = stored_scales(tiny_ane_learned)
    for name in [name.removesuffix(".weight_scale") for name in trained.names if name.endswith(".weight_scale")]:
        learned = trained.get(f"{name}.weight_scale").view(-1, 1)
        order = row_order(TINY, name)
        learned = learned if order is None else learned[order]
        expected = learned.to(torch.float16).numpy()
        assert any(np.array_equal(scales, expected) for scales in stored), name
        rounded = quantize_absmax(trained.get(f"{name}.weight").float(), SCHEME).scales
        assert not np.array_equal(expected, rounded.half().numpy()), f"{name}: training has moved nothing"
