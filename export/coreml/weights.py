"""A checkpoint's integers as the constants of a CoreML program: its own codes, its scales rounded to float16.

Shapes: N rows, K columns, S scales a row.
"""

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchao.quantization.quant_primitives import dequantize_affine

from model.errors import GateError
from quant.integers import QuantizedTensor, block_size, code_range

_log = logging.getLogger("pocketlm")

SMALLEST_NORMAL = 2.0**-14  # 6.1e-5: a float16 below it has fewer than 11 bits

Load = Callable[[str], QuantizedTensor]  # name of a layer to its codes and scales


def half_scales(name: str, scales: Tensor) -> Tensor:
    """The scales as the program keeps them, float16 [N, S].

    Raises:
        GateError: one becomes 0 or infinite, so that its weights would.
    """
    half = scales.to(torch.float16)
    lost = (half == 0) | ~torch.isfinite(half)
    if bool(lost.any()):
        worst = float(scales[lost].flatten()[0])
        becomes = "0" if worst < 1 else "infinite"
        raise GateError(
            f"layer {name}: {int(lost.sum())} of {scales.numel()} scales cannot be a float16, which CoreML keeps them "
            f"in: {worst:.3g} becomes {becomes}; quantize this layer anew (another method, or train its ranges again)"
        )
    small = int((half < SMALLEST_NORMAL).sum())
    if small:
        _log.warning(
            "%s: %d of %d scales are below %.2g, where float16 has fewer digits: the weights are rounded more coarsely",
            name,
            small,
            scales.numel(),
            SMALLEST_NORMAL,
        )
    return half


class Matrix(nn.Module):
    """Some rows of a weight matrix as integers; its product lowers to one `linear` over one compressed constant.

    Args:
        dtype: float16, or float32 for the twin that measures the rounding; the scales have float16 values in both.
    """

    codes: Tensor
    scales: Tensor

    def __init__(
        self, name: str, tensor: QuantizedTensor, dtype: torch.dtype, rows: Tensor | slice | None = None
    ) -> None:
        super().__init__()
        chosen = slice(None) if rows is None else rows
        self.block = block_size(tensor.codes.shape[1], tensor.scheme)
        self.low, self.high = code_range(tensor.scheme)
        self.register_buffer("codes", tensor.codes[chosen].contiguous())
        self.register_buffer("scales", half_scales(name, tensor.scales[chosen]).to(dtype))

    def weight(self) -> Tensor:
        """The float matrix [N, K], as an expression that the compiler keeps compressed."""
        return dequantize_affine(
            self.codes, self.block, self.scales, None, torch.int8, self.low, self.high, output_dtype=self.scales.dtype
        )

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight())
