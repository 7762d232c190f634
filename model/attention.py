"""Grouped-query attention of one layer. Knows nothing of caches: it is handed the function that attends.

Shapes: B batch, T tokens, C model width, H query heads, G key-value heads, D head width.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.rope import rotate

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]  # q [B,T,H,D], k and v [B,T,G,D] -> [B,T,H,D]


@dataclass(frozen=True, kw_only=True)
class Positions:
    """What a layer needs to know of the positions of T tokens; computed once a step, shared by all layers."""

    cos: Tensor  # float32 [T, 1, D/2]
    sin: Tensor
    temperature: Tensor | None  # float32 [T, 1, 1], for layers without RoPE


class Attention(nn.Module):
    """Softmax scale is D**-0.5; no biases; QK norm has no parameters and follows RoPE (transformers, Llama 4)."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.head_dim, self.eps, self.layout = config.head_dim, config.norm_eps, config.rope_layout
        self.use_rope = config.uses_rope(layer)
        self.qk_norm = config.qk_norm and self.use_rope
        q_dim, kv_dim = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
        self.q_proj = nn.Linear(config.dim, q_dim, bias=False)
        self.k_proj = nn.Linear(config.dim, kv_dim, bias=False)
        self.v_proj = nn.Linear(config.dim, kv_dim, bias=False)
        self.o_proj = nn.Linear(q_dim, config.dim, bias=False)

    def forward(self, x_BTC: Tensor, positions: Positions, attend: Attend) -> Tensor:
        q, k, v = (proj(x_BTC).unflatten(-1, (-1, self.head_dim)) for proj in (self.q_proj, self.k_proj, self.v_proj))
        if self.use_rope:
            q = rotate(q, positions.cos, positions.sin, self.layout)
            k = rotate(k, positions.cos, positions.sin, self.layout)
        elif positions.temperature is not None:
            q = (q * positions.temperature).to(q.dtype)
        if self.qk_norm:
            q, k = rms_norm(q, self.eps), rms_norm(k, self.eps)
        return self.o_proj(attend(q, k, v).flatten(-2))


def rms_norm(x: Tensor, eps: float) -> Tensor:
    """x over its root mean square along the last dimension, float32 inside (Zhang and Sennrich, arXiv 1910.07467)."""
    wide = x.to(torch.float32)
    return (wide * torch.rsqrt((wide * wide).mean(-1, keepdim=True) + eps)).to(x.dtype)
