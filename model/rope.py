"""Rotary positions that never run out: angles in float64, straight from the position, with no table.

At position 10,000,000 a float32 angle is off by up to 0.5 rad; a float64 one by less than 1e-8.
Formula: Su et al., arXiv 2104.09864, section 3.2.2; Llama 3.1's scaling as in `RopeScaling`.

Shapes: B batch, T tokens, H heads (query or key-value), D head width.
"""

import math

import torch
from torch import Tensor

from model.config import ModelConfig


def inverse_frequencies(config: ModelConfig) -> Tensor:
    """The D/2 angular frequencies in radians a token, float64."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim
    freqs = config.rope_theta**-exponents
    scaling = config.rope_scaling
    if scaling is None:
        return freqs
    wavelengths = 2 * math.pi / freqs
    low = scaling.original_context / scaling.low_freq_factor
    high = scaling.original_context / scaling.high_freq_factor
    smooth = (scaling.original_context / wavelengths - scaling.low_freq_factor) / (
        scaling.high_freq_factor - scaling.low_freq_factor
    )
    blended = (1 - smooth) * freqs / scaling.factor + smooth * freqs
    scaled = torch.where(wavelengths > low, freqs / scaling.factor, freqs)
    return torch.where((wavelengths <= low) & (wavelengths >= high), blended, scaled)


def cos_sin(positions_T: Tensor, inv_freq: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of each position's angles, computed in float64 and returned as float32 [T, D/2].

    Args:
        positions_T: int64 positions, of any size below 2**53.
        inv_freq: what `inverse_frequencies` gave, float64 [D/2].
    """
    angles = positions_T.to(torch.float64).unsqueeze(-1) * inv_freq
    return torch.cos(angles).to(torch.float32), torch.sin(angles).to(torch.float32)


def rotate(x_BTHD: Tensor, cos: Tensor, sin: Tensor, layout: str) -> Tensor:
    """Rotates each head's pairs by the angles of their positions.

    Args:
        cos, sin: float32 [T, 1, D/2]: `cos_sin` with a dimension for the heads.
        layout: "interleaved" pairs (2i, 2i + 1) as Llama 4 does, "halves" pairs (i, i + D/2) as Llama 2 and 3 do.
    """
    x = x_BTHD.to(torch.float32)
    if layout == "interleaved":
        pairs = x.unflatten(-1, (-1, 2))
        a, b = pairs[..., 0], pairs[..., 1]
        rotated = torch.stack((a * cos - b * sin, b * cos + a * sin), dim=-1).flatten(-2)
    else:
        half = x.shape[-1] // 2
        a, b = x[..., :half], x[..., half:]
        rotated = torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)
    return rotated.to(x_BTHD.dtype)
