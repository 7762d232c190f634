"""The decoder, exactly MobileLLM-Pro's at that preset. Two ways to run it: whole sequences, or steps over caches.

Shapes: B batch, T tokens, C model width, V vocabulary, H query heads, G key-value heads, D head width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.attention import Attend, Attention, Positions, rms_norm
from model.cache import CacheDtype, KVCache, sdpa
from model.config import ModelConfig
from model.int8 import round_trip
from model.rope import cos_sin, inverse_frequencies


class RMSNorm(nn.Module):
    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.eps) * self.weight


class FeedForward(nn.Module):
    """SwiGLU (Shazeer, arXiv 2002.05202)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.dim, config.ffn_dim, bias=False)
        self.up_proj = nn.Linear(config.dim, config.ffn_dim, bias=False)
        self.down_proj = nn.Linear(config.ffn_dim, config.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.dim, config.norm_eps)
        self.attention = Attention(config, layer)
        self.feed_forward_norm = RMSNorm(config.dim, config.norm_eps)
        self.feed_forward = FeedForward(config)

    def forward(self, x: Tensor, positions: Positions, attend: Attend) -> Tensor:
        x = x + self.attention(self.attention_norm(x), positions, attend)
        return x + self.feed_forward(self.feed_forward_norm(x))


class Transformer(nn.Module):
    """A decoder-only language model with local and global layers.

    Args:
        cache_dtype: "int8" makes the cache-free forward round keys, values and queries as an INT8 cache would.
    """

    inv_freq: Tensor

    def __init__(self, config: ModelConfig, *, cache_dtype: CacheDtype = "float") -> None:
        super().__init__()
        self.config = config
        self.cache_dtype = cache_dtype
        self.embedding = nn.Embedding(config.vocab_size, config.dim)
        self.layers = nn.ModuleList(Layer(config, i) for i in range(config.num_layers))
        self.norm = RMSNorm(config.dim, config.norm_eps)
        self.head = nn.Linear(config.dim, config.vocab_size, bias=False)
        if config.tied:
            self.head.weight = self.embedding.weight
        # Not a buffer: `.to(torch.bfloat16)` would round it, and float64 is the point.
        self.inv_freq = torch.empty(0)
        self._set_inv_freq()

    def _set_inv_freq(self) -> None:
        with torch.device("cpu"):
            self.inv_freq = inverse_frequencies(self.config)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits [B, T, V] of every position, without a cache."""
        return self.head(self.hidden(tokens_BT))

    def hidden(self, tokens_BT: Tensor) -> Tensor:
        """The normed last hidden state [B, T, C], without a cache: what `head` turns into logits."""
        positions_T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
        attends = self.attends(positions_T)
        return self.run_layers(self.embedding(tokens_BT), self.positions(positions_T), attends)

    def attends(self, positions_T: Tensor) -> list[Attend]:
        """How each layer attends over a whole sequence at once, without a cache; keys and values as one keeps them."""
        distance = positions_T.unsqueeze(1) - positions_T
        causal = distance >= 0
        local = causal & (distance < self.config.sliding_window)

        def attend_over(visible: Tensor) -> Attend:
            def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
                if self.cache_dtype == "int8":
                    q, k, v = round_trip(q), round_trip(k), round_trip(v)
                return sdpa(q, k, v, visible)

            return attend

        return [attend_over(causal if self.config.is_global(i) else local) for i in range(self.config.num_layers)]

    def step(self, tokens_BT: Tensor, position: int, caches: Sequence[KVCache]) -> Tensor:
        """Writes T tokens into the caches from `position` on and returns all their logits [1, T, V]."""
        positions_T = position + torch.arange(tokens_BT.shape[1], device=tokens_BT.device)

        def attend_with(cache: KVCache) -> Attend:
            return lambda q, k, v: cache.attend(q, k, v, positions_T)

        x = self.run_layers(self.embedding(tokens_BT), self.positions(positions_T), [attend_with(c) for c in caches])
        return self.head(x)

    def positions(self, positions_T: Tensor) -> Positions:
        """Angles, and Llama 4's temperature for layers without RoPE (arXiv 2501.19399, in transformers' form)."""
        cos, sin = cos_sin(positions_T, self.inv_freq.to(positions_T.device))
        temperature = None
        if self.config.temperature_floor and self.config.no_rope_layers:
            steps = torch.floor((positions_T.to(torch.float64) + 1.0) / self.config.temperature_floor)
            scaled = torch.log1p(steps) * self.config.temperature_scale + 1.0
            temperature = scaled.to(torch.float32).view(-1, 1, 1)
        return Positions(cos=cos.unsqueeze(1), sin=sin.unsqueeze(1), temperature=temperature)

    def run_layers(self, x_BTC: Tensor, positions: Positions, attends: Sequence[Attend]) -> Tensor:
        """The one path through the decoder that every way of running it shares."""
        for layer, attend in zip(self.layers, attends, strict=True):
            x_BTC = layer(x_BTC, positions, attend)
        return self.norm(x_BTC)
