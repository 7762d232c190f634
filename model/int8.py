"""INT8 per (token, head), asymmetric: the arithmetic of ExecuTorch's quantized caches and queries, in plain torch.

Source of the formula: the kernel that phones run (executorch, kernels/quantized/cpu/op_choose_qparams.cpp and
op_quantize.cpp). `quantized_decomposed.choose_qparams_per_token_asymmetric` in torch has the same name and differs in
small ranges: the kernel's scale is never below 6.1e-5 (and 0.1 where all is zero), torch's never below 1.2e-7.
Range [-128, 127], the interval always holds zero.
"""

from typing import Any

import torch
from torch import Tensor

_QMIN, _QMAX = -128, 127
_SMALLEST_SCALE = float(torch.tensor(6.1e-5))  # float32, as the kernel has it
_ZERO_SCALE = 0.1  # where the scale's reciprocal would be infinite


def quantize_per_head(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Quantizes the last dimension by itself.

    Args:
        x: float [..., D].

    Returns:
        codes int8 [..., D], scale float32 [..., 1], zero point int8 [..., 1].
    """
    x = x.to(torch.float32)
    low = x.amin(dim=-1, keepdim=True).clamp(max=0.0).to(torch.float64)
    high = x.amax(dim=-1, keepdim=True).clamp(min=0.0).to(torch.float64)
    own = (high - low) / (_QMAX - _QMIN)  # float64: the difference of two float32 may overflow
    own = torch.where(own.to(torch.float32).reciprocal().isinf(), _ZERO_SCALE, own)
    scale = own.clamp(min=_SMALLEST_SCALE).to(torch.float32)
    # Zero lies where the range's own scale puts it, also when the smallest scale stretches that range.
    from_low, from_high = low / own, high / own
    # The end whose rounding error is smaller decides.
    zero = torch.where(-from_low > from_high + 1, _QMIN - from_low, _QMAX - from_high)
    zero = zero.clamp(_QMIN, _QMAX).to(torch.float32).round()
    codes = torch.clamp(torch.round(x * (1.0 / scale)) + zero, _QMIN, _QMAX)
    return codes.to(torch.int8), scale, zero.to(torch.int8)


def dequantize_per_head(codes: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """float32 [..., D] from what `quantize_per_head` gave."""
    return (codes.to(torch.float32) - zero.to(torch.float32)) * scale


def round_trip(x: Tensor) -> Tensor:
    """`x` as it comes back from an INT8 cache, in x's dtype; the gradient passes straight through the rounding."""
    return _RoundTrip.apply(x)


class _RoundTrip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return dequantize_per_head(*quantize_per_head(x)).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]
