"""The stateful program: `forward(tokens, position) -> logits` of one token, with the caches in Core ML's own state.

It takes what ExecuTorch's text runner gives; a prompt goes in token by token, and positions end with the table of RoPE
rows. The slot of position p is p mod S, written before attending: with one token, a ring of `window` slots hides
nothing, and a slot is unwritten exactly while its number is above the position.

Shapes: N positions, S slots, G key-value heads, D head width, V vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from chat.static_kv import MASKED
from export.coreml.decoder import Decoder, Rows, attention
from export.manifest_parts import CacheLayer
from model.transformer import Transformer


class StatefulProgram(nn.Module):
    """One method that is called with tokens int64 [1, 1] and position int64 [1] and gives logits [1, V].

    Args:
        layers: the manifest's caches.
        context: N.
        dtype: of everything but the caches; Core ML keeps state in float16, but its converter reads it as float32.
    """

    def __init__(self, decoder: Decoder, layers: Sequence[CacheLayer], context: int, dtype: torch.dtype) -> None:
        super().__init__()
        config = decoder.config
        self.decoder, self.dtype = decoder, dtype
        self.slots = [layer.slots for layer in layers]
        for layer in layers:
            for side in ("k", "v"):
                empty = torch.zeros(1, config.num_kv_heads, layer.slots, config.head_dim)
                self.register_buffer(f"{side}_cache_{layer.layer}", empty)
        with torch.device("meta"):  # for its positions alone
            positions = Transformer(config).positions
        rows = positions(torch.arange(context))
        for name, table in (("cos", rows.cos), ("sin", rows.sin), ("temperature", rows.temperature)):
            if table is not None:
                self.register_buffer(name, table.flatten(1).to(torch.float16).to(dtype))
        self.has_temperature = rows.temperature is not None
        for slots in sorted(set(self.slots)):
            self.register_buffer(f"numbers_{slots}", torch.arange(slots, dtype=torch.int32))

    def forward(self, tokens: Tensor, position: Tensor) -> Tensor:
        at = position.to(torch.int32)
        masks = {slots: self._mask(slots, at) for slots in sorted(set(self.slots))}

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            slots = self.slots[layer]
            keys, values = (self._write(f"{side}_cache_{layer}", new, at % slots) for side, new in (("k", k), ("v", v)))
            return attention(q, keys, values, masks[slots])

        temperature = self._row("temperature", at) if self.has_temperature else None
        rows = Rows(cos=self._row("cos", at), sin=self._row("sin", at), temperature=temperature)
        pieces = self.decoder.run(tokens.view(-1).to(torch.int32), rows, attend, None)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-1)

    def _mask(self, slots: int, at: Tensor) -> Tensor:
        """0 where the token sees a slot, else the finite mask: [1, S]."""
        return ((self.get_buffer(f"numbers_{slots}") > at).to(self.dtype) * MASKED).unsqueeze(0)

    def _row(self, name: str, at: Tensor) -> Tensor:
        return nn.functional.embedding(at, self.get_buffer(name)).unsqueeze(1)

    def _write(self, name: str, new: Tensor, slot: Tensor) -> Tensor:
        """The cache with the token's row in its slot."""
        cache = self.get_buffer(name)
        cache[:, :, slot] = new.to(cache.dtype)
        return cache.to(self.dtype)
