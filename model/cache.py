"""Key-value caches: full or ring, float or INT8 per (token, head). The eager reference of what phones run.

A cache writes new keys and values first and attends afterwards, so one chunk of T tokens needs
`window + T - 1` slots: the ring of a local layer holds window + chunk - 1 of them.

Shapes: B batch (always 1), T new tokens, S cache slots, H query heads, G key-value heads, D head width.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from model.cache_shape import layer_cache
from model.config import ModelConfig
from model.int8 import dequantize_per_head, quantize_per_head, round_trip

CacheDtype = Literal["float", "int8"]


class KVCache(nn.Module):
    """One slot per position, 0 to slots - 1; a write past the end is an error.

    Args:
        slots: S.
        window: how many positions a query sees, its own included.
        dtype: "float" keeps float32; "int8" keeps codes, fp32 scales and int8 zero points per (token, head), and
            quantizes queries the same way, as `llama::custom_quantized_sdpa` does.
    """

    def __init__(self, *, slots: int, window: int, num_kv_heads: int, head_dim: int, dtype: CacheDtype) -> None:
        super().__init__()
        self.slots, self.window, self.dtype = slots, window, dtype
        shape = (1, slots, num_kv_heads, head_dim)
        for side in ("k", "v"):
            if dtype == "float":
                self.register_buffer(f"{side}_cache", torch.zeros(shape), persistent=False)
            else:
                scale_shape = (*shape[:3], 1)
                self.register_buffer(f"{side}_cache", torch.zeros(shape, dtype=torch.int8), persistent=False)
                self.register_buffer(f"{side}_scales", torch.ones(scale_shape), persistent=False)
                self.register_buffer(f"{side}_zeros", torch.zeros(scale_shape, dtype=torch.int8), persistent=False)

    @property
    def num_bytes(self) -> int:
        return sum(b.numel() * b.element_size() for b in self.buffers())

    def slots_of(self, positions_T: Tensor) -> Tensor:
        """The slot of each position, int64 [T].

        Raises:
            ValueError: a position lies past the last slot; export with a larger --max-context, or without --bounded.
        """
        if int(positions_T[-1]) >= self.slots:
            raise ValueError(f"position {int(positions_T[-1])} is past the end of a cache of {self.slots} slots")
        return positions_T

    def positions_held(self, last: int) -> Tensor:
        """The position that each slot holds once `last` is written, int64 [S]; negative where nothing was written."""
        positions = torch.arange(self.slots)
        return torch.where(positions <= last, positions, -1)

    def attend(self, q_BTHD: Tensor, k_BTGD: Tensor, v_BTGD: Tensor, positions_T: Tensor) -> Tensor:
        """Writes T keys and values, then attends from each query to the positions that its window holds.

        Returns:
            [B, T, H, D] in q's dtype.
        """
        slots = self.slots_of(positions_T)
        self._write("k", slots, k_BTGD)
        self._write("v", slots, v_BTGD)
        held_S = self.positions_held(int(positions_T[-1]))
        distance_TS = positions_T.unsqueeze(1) - held_S
        visible = (held_S >= 0) & (distance_TS >= 0) & (distance_TS < self.window)
        q = q_BTHD if self.dtype == "float" else round_trip(q_BTHD)
        return sdpa(q, self._read("k").to(q.dtype), self._read("v").to(q.dtype), visible)

    def _write(self, side: str, slots: Tensor, values: Tensor) -> None:
        cache = self.get_buffer(f"{side}_cache")
        if self.dtype == "float":
            cache[:, slots] = values.to(cache.dtype)
            return
        codes, scales, zeros = quantize_per_head(values)
        cache[:, slots] = codes
        self.get_buffer(f"{side}_scales")[:, slots] = scales
        self.get_buffer(f"{side}_zeros")[:, slots] = zeros

    def _read(self, side: str) -> Tensor:
        cache = self.get_buffer(f"{side}_cache")
        if self.dtype == "float":
            return cache
        return dequantize_per_head(cache, self.get_buffer(f"{side}_scales"), self.get_buffer(f"{side}_zeros"))


class RingKVCache(KVCache):
    """A ring: position p lives in slot p mod S, for ever. Exact as long as S >= window + T - 1."""

    def slots_of(self, positions_T: Tensor) -> Tensor:
        if self.window + len(positions_T) - 1 > self.slots:
            raise ValueError(
                f"a chunk of {len(positions_T)} tokens needs {self.window + len(positions_T) - 1} slots for a window "
                f"of {self.window}; this ring has {self.slots}: prefill in smaller chunks"
            )
        return positions_T % self.slots

    def positions_held(self, last: int) -> Tensor:
        return last - (last % self.slots - torch.arange(self.slots) + self.slots) % self.slots


def sdpa(q_BTHD: Tensor, k_BSGD: Tensor, v_BSGD: Tensor, visible_TS: Tensor) -> Tensor:
    """Grouped-query softmax attention, scale D**-0.5; `visible_TS` is boolean. Returns [B, T, H, D]."""
    q, k, v = (x.transpose(1, 2) for x in (q_BTHD, k_BSGD, v_BSGD))
    out = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=visible_TS, enable_gqa=True)
    return out.transpose(1, 2)


def make_caches(
    config: ModelConfig, *, context: int, chunk: int, bounded: bool = False, dtype: CacheDtype = "float"
) -> list[KVCache]:
    """One cache a layer, for chunks of up to `chunk` tokens and `context` positions in the global layers."""
    caches = []
    for layer in range(config.num_layers):
        shape = layer_cache(config, layer, context=context, chunk=chunk, bounded=bounded)
        kind = RingKVCache if shape.wraps else KVCache
        caches.append(
            kind(
                slots=shape.slots,
                window=shape.window,
                num_kv_heads=config.num_kv_heads,
                head_dim=config.head_dim,
                dtype=dtype,
            )
        )
    return caches
