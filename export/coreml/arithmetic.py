"""Norm and rotation in float16 without overflow, in operators that Core ML has.

Shapes: T tokens, C width, H heads, D head width.
"""

import torch
from torch import Tensor, nn

_LEAST_SCALE = 2.0**-5  # what a row is divided by at least: keeps eps over its square far below 65,504


def rms_norm(x: Tensor, eps: float) -> Tensor:
    """x over its root mean square along the last dimension; squares stay at most 1 because the row's maximum divides.

    x / sqrt(mean(x^2) + eps) is the same for y = x / s with eps / s^2, for any s.
    """
    scale = torch.maximum(x.abs().amax(-1, keepdim=True), torch.full((), _LEAST_SCALE, dtype=x.dtype))
    inverse = torch.rsqrt(scale)
    inverse = inverse * inverse
    y = x * inverse
    rest = inverse * eps**0.5
    return y * torch.rsqrt((y * y).mean(-1, keepdim=True) + rest * rest)


class RMSNorm(nn.Module):
    """The norm times its weight [C]."""

    weight: Tensor

    def __init__(self, weight: Tensor, eps: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", weight.to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.eps) * self.weight


def rotate(x_THD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates pairs (i, i + D/2) by the angles of cos and sin [T, 1, D/2]."""
    half = x_THD.shape[-1] // 2
    a, b = x_THD[..., :half], x_THD[..., half:]
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)
