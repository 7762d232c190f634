"""INT8 per (token, head), asymmetric: the arithmetic of ExecuTorch's quantized caches and queries, in plain torch.

Source of the formula: `quantized_decomposed.choose_qparams_per_token_asymmetric` (torch/ao/quantization/fx/_decomposed.py),
which the phones run as a kernel of the same name. Range [-128, 127], the interval always holds zero.
"""

import torch
from torch import Tensor

_QMIN, _QMAX = -128, 127


def quantize_per_head(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Quantizes the last dimension by itself.

    Args:
        x: float [..., D].

    Returns:
        codes int8 [..., D], scale float32 [..., 1], zero point int8 [..., 1].
    """
    x = x.to(torch.float32)
    low = x.amin(dim=-1, keepdim=True).clamp(max=0.0)
    high = x.amax(dim=-1, keepdim=True).clamp(min=0.0)
    scale = ((high - low) / (_QMAX - _QMIN)).clamp(min=torch.finfo(torch.float32).eps)
    from_low = low / scale
    from_high = high / scale
    # The end whose rounding error is smaller decides where zero lies.
    zero = torch.where(_QMIN + from_low + _QMAX + from_high > 0, _QMIN - from_low, _QMAX - from_high)
    zero = zero.clamp(_QMIN, _QMAX).round()
    codes = torch.clamp(torch.round(x * (1.0 / scale)) + zero, _QMIN, _QMAX)
    return codes.to(torch.int8), scale, zero.to(torch.int8)


def dequantize_per_head(codes: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """float32 [..., D] from what `quantize_per_head` gave."""
    return (codes.to(torch.float32) - zero.to(torch.float32)) * scale


def round_trip(x: Tensor) -> Tensor:
    """`x` as it comes back from an INT8 cache, in x's dtype."""
    return dequantize_per_head(*quantize_per_head(x)).to(x.dtype)
