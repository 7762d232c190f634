"""Windowed attention by definition, in float64 and without a cache: what exported programs are held against.

T tokens, D head width. Knows models with RoPE over pairs, QK norm and a tied table, as TINY and nano are.
"""

import torch
from torch import Tensor

from model.rope import inverse_frequencies
from model.transformer import Transformer


def windows(model: Transformer, context: int) -> list[int]:
    """The positions that a query of each layer sees, its own included."""
    config = model.config
    return [context if config.is_global(i) else config.sliding_window for i in range(config.num_layers)]


def float64_logits(
    model: Transformer, ids: list[int], last: int, *, context: int, start: int = 0, blank: bool = False
) -> Tensor:
    """Logits of one token: plain float64 attention with explicit bands, from far enough back to be exact.

    A position's logits depend on nothing further back than all layers' windows together.

    Args:
        ids: tokens from position `start` on.
        last: index of the token whose logits are wanted.
        blank: the cache before `start` was never written: it holds zeros, which a query sees as keys and values.
    """
    config = model.config
    seen = windows(model, context)
    first = 0 if blank else max(0, last + 1 - sum(seen))
    positions = start + torch.arange(first, last + 1, dtype=torch.float64)
    distance = positions[:, None] - positions
    angles = positions[:, None] * inverse_frequencies(config)
    turn = torch.polar(torch.ones_like(angles), angles)[:, None]  # complex [T, 1, D/2]

    def norm(x: Tensor) -> Tensor:
        return x / (x.pow(2).mean(-1, keepdim=True) + config.norm_eps).sqrt()

    def weight(module: torch.nn.Module) -> Tensor:
        return module.weight.detach().double()  # type: ignore[union-attr, operator]

    def turned(x: Tensor) -> Tensor:
        return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * turn).flatten(-2)

    x = weight(model.embedding)[ids[first : last + 1]]
    for layer, window in zip(model.layers, seen, strict=True):
        attention, feed_forward = layer.attention, layer.feed_forward  # type: ignore[union-attr]
        h = norm(x) * weight(layer.attention_norm)  # type: ignore[arg-type]
        q, k, v = (
            (h @ weight(p).T).unflatten(-1, (-1, config.head_dim))
            for p in (attention.q_proj, attention.k_proj, attention.v_proj)
        )  # type: ignore[union-attr]
        q, k = norm(turned(q)), norm(turned(k))
        k, v = (y.repeat_interleave(config.num_heads // config.num_kv_heads, dim=1) for y in (k, v))
        scores = torch.einsum("thd,shd->hts", q, k) / config.head_dim**0.5
        scores = scores.masked_fill((distance < 0) | (distance >= window), -torch.inf)
        if blank:  # one column stands for all unwritten positions that a query sees: scores of 0, values of 0
            unwritten = (start - (positions - window + 1).clamp(min=0)).clamp(min=0)
            scores = torch.cat((scores, unwritten.log().expand(len(scores), -1).unsqueeze(-1)), dim=-1)
            v = torch.cat((v, torch.zeros_like(v[:1])))
        x = x + torch.einsum("hts,shd->thd", scores.softmax(-1), v).flatten(-2) @ weight(attention.o_proj).T  # type: ignore[union-attr]
        h = norm(x) * weight(layer.feed_forward_norm)  # type: ignore[arg-type]
        gate = torch.nn.functional.silu(h @ weight(feed_forward.gate_proj).T)  # type: ignore[union-attr]
        x = x + (gate * (h @ weight(feed_forward.up_proj).T)) @ weight(feed_forward.down_proj).T  # type: ignore[union-attr]
    return (norm(x[-1]) * weight(model.norm)) @ weight(model.head).T
