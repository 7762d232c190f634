"""The module that is exported: `forward(tokens, position)` around the one decoder, over ExecuTorch's cache operators.

Every layer attends in one of two ways, chosen at run time by `torch.cond`: while nothing has left its window, causal
attention from the first slot on, whose cost is the depth's; afterwards, attention over the whole ring under a mask.

Shapes: T new tokens, S cache slots, H query heads, G key-value heads, D head width, V vocabulary.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import executorch.kernels.quantized  # noqa: F401  registers quantized_decomposed::embedding_*
import torch
from executorch.extension.llm.custom_ops import custom_ops  # noqa: F401  registers llama::*
from torch import Tensor, nn

from chat.ring import CacheShape
from export.table import ExportTable
from model.attention import Attend
from model.cache import CacheDtype
from model.cache_shape import layer_cache
from model.transformer import Transformer
from quant.embedding import QuantizedEmbedding

_llama = torch.ops.llama
_decomposed = torch.ops.quantized_decomposed


@dataclass(frozen=True, kw_only=True)
class Step:
    """What the layers of one cache shape (slots, window, whether it wraps) share in one call."""

    indices: Tensor  # int64 [1, T]: the slot of each new token
    position: Tensor  # int64 [1]
    wrapped: Tensor | None  # bool [1]: a position has left the window; None when that cannot happen
    mask: Tensor | None  # float32 [T, S]: 0 or -inf; not read until `wrapped`


class ExportCache(nn.Module):
    """`model.cache` in ExecuTorch's operators: in-place updates, fused attention."""

    def __init__(self, shape: CacheShape, *, num_kv_heads: int, head_dim: int, dtype: CacheDtype) -> None:
        super().__init__()
        self.shape, self.dtype = shape, dtype
        self.sides = ("k", "v")
        full = (1, shape.slots, num_kv_heads, head_dim)
        for side in self.sides:
            if dtype == "float":
                self.register_buffer(f"{side}_cache", torch.zeros(full))
            else:
                self.register_buffer(f"{side}_cache", torch.zeros(full, dtype=torch.int8))
                self.register_buffer(f"{side}_scales", torch.ones((*full[:3], 1)))
                self.register_buffer(f"{side}_zeros", torch.zeros((*full[:3], 1), dtype=torch.int8))

    def attend(self, q_BTHD: Tensor, k_BTGD: Tensor, v_BTGD: Tensor, step: Step) -> Tensor:
        for side, values in zip(self.sides, (k_BTGD, v_BTGD), strict=True):
            self._write(side, values, step.indices)
        if self.dtype == "float":
            return self._choose(step, (q_BTHD,), ())
        codes, scales, zeros = _quantize(q_BTHD)
        params = (zeros, scales, *(self.get_buffer(f"{s}_{p}") for s in self.sides for p in ("zeros", "scales")))
        return self._choose(step, (codes,), params)

    def _write(self, side: str, values: Tensor, indices: Tensor) -> None:
        if self.dtype == "float":
            parts: tuple[tuple[str, Tensor], ...] = (("cache", values),)
        else:
            parts = tuple(zip(("cache", "scales", "zeros"), _quantize(values), strict=True))
        for part, new in parts:
            _llama.update_cache_with_indices(new, self.get_buffer(f"{side}_{part}"), 0, indices)

    def _choose(self, step: Step, query: tuple[Tensor], params: tuple[Tensor, ...]) -> Tensor:
        """Causal attention from slot 0, or masked attention over the ring, whichever the predicate says."""
        op = _llama.custom_sdpa if self.dtype == "float" else _llama.custom_quantized_sdpa

        def causal(q: Tensor, k: Tensor, v: Tensor, position: Tensor, *rest: Tensor) -> Tensor:
            extra = rest[len(rest) - len(params) :]
            return op(q, k, v, position[0].item(), None, 0.0, True, None, *extra)

        def ring(q: Tensor, k: Tensor, v: Tensor, position: Tensor, mask: Tensor, *extra: Tensor) -> Tensor:
            return op(q, k, v, 0, mask, 0.0, False, None, *extra)

        operands = (*query, self.get_buffer("k_cache"), self.get_buffer("v_cache"), step.position)
        if step.wrapped is None or step.mask is None:
            return causal(*operands, *params)
        return torch.cond(step.wrapped, ring, causal, (*operands, step.mask, *params))


def _quantize(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """codes int8 [..., D], scales float32 [..., 1], zero points int8 [..., 1]; see model/int8.py."""
    scales, zeros = _decomposed.choose_qparams_per_token_asymmetric.default(x, torch.int8)
    codes = _decomposed.quantize_per_token(x, scales, zeros, -128, 127, torch.int8)
    return codes, scales.to(torch.float32), zeros.to(torch.int8)


class Program(nn.Module):
    """forward(tokens int64 [1, T], position int64 [1]) -> logits float32 [1, V] of the last token.

    Args:
        model: float or converted to integers, in eval mode.
        context: N, the positions that global layers see.
        chunk: the largest T.
        bounded: global layers keep exactly `context` positions and end there.
        cache_dtype: what the recipe says of keys and values.
        all_positions: logits [1, T, V] of every token, for measuring (evaluation/twin.py); never shipped.
    """

    def __init__(
        self,
        model: Transformer,
        *,
        context: int,
        chunk: int,
        bounded: bool,
        cache_dtype: CacheDtype,
        all_positions: bool = False,
    ) -> None:
        super().__init__()
        config = model.config
        self.model, self.chunk, self.all_positions = model, chunk, all_positions
        self.table = ExportTable(model.embedding) if isinstance(model.embedding, QuantizedEmbedding) else None
        self.shapes: list[CacheShape] = []  # one a layer
        self.caches = nn.ModuleList()
        for layer in range(config.num_layers):
            shape = layer_cache(config, layer, context=context, chunk=chunk, bounded=bounded)
            self.shapes.append(shape)
            self.caches.append(
                ExportCache(shape, num_kv_heads=config.num_kv_heads, head_dim=config.head_dim, dtype=cache_dtype)
            )

    def forward(self, tokens: Tensor, position: Tensor) -> Tensor:
        offsets_T = torch.arange(tokens.shape[1])
        steps = self._steps(position, offsets_T)

        def attend_with(cache: nn.Module, step: Step) -> Attend:
            assert isinstance(cache, ExportCache)
            return lambda q, k, v: cache.attend(q, k, v, step)

        x = self.table(tokens) if self.table is not None else self.model.embedding(tokens)
        attends = [attend_with(cache, steps[shape]) for cache, shape in zip(self.caches, self.shapes, strict=True)]
        x = self.model.run_layers(x, self.model.positions(position + offsets_T), attends)
        return self.model.head(x if self.all_positions else x[:, -1])

    def _steps(self, position: Tensor, offsets_T: Tensor) -> dict[CacheShape, Step]:
        """Indices, predicate and mask of each cache shape, computed once a call.

        ExecuTorch plans all branches of all conds into ONE piece of memory, so what a cond returns lives only until
        the next cond runs. Each mask is therefore copied out of it (by a negation), and `guard`, which is always
        false, makes every later cond wait for the copy. `export.checks` verifies the outcome in the lowered program.
        """
        steps: dict[CacheShape, Step] = {}
        shapes = list(dict.fromkeys(self.shapes))
        guard = position < 0
        masks: dict[CacheShape, tuple[Tensor, Tensor]] = {}
        positions_T = position + offsets_T
        last = position + offsets_T.shape[0] - 1
        for shape in shapes:
            if shape.wraps:
                wrapped = torch.logical_or(last >= shape.window, guard)
                hidden = torch.cond(wrapped, _hidden_builder(shape), _nothing_hidden(shape), (position, offsets_T))
                masks[shape] = (wrapped, -hidden)
                guard = torch.logical_or(guard, masks[shape][1][0, :1] > 0)
        for shape in shapes:
            indices = (positions_T % shape.slots if shape.wraps else positions_T).unsqueeze(0)
            made = masks.get(shape)
            steps[shape] = Step(
                indices=indices,
                position=position,
                mask=None if made is None else made[1],
                wrapped=None if made is None else torch.logical_or(made[0], guard),
            )
        return steps


def _nothing_hidden(shape: CacheShape) -> Callable[[Tensor, Tensor], Tensor]:
    def build(position: Tensor, offsets_T: Tensor) -> Tensor:
        return torch.zeros(offsets_T.shape[0], shape.slots)

    return build


def _hidden_builder(shape: CacheShape) -> Callable[[Tensor, Tensor], Tensor]:
    """+inf where a query must not see a slot, 0 where it may: float32 [T, S]."""

    def build(position: Tensor, offsets_T: Tensor) -> Tensor:
        last = position + offsets_T.shape[0] - 1
        # How far each slot lies behind the last position; dividends stay non-negative, since ExecuTorch's remainder
        # truncates like C. A slot that nothing was written to since position 0 gets a distance beyond any window.
        back_S = (last % shape.slots - torch.arange(shape.slots) + shape.slots) % shape.slots
        back_S = torch.where(back_S > last, 4 * shape.slots, back_S).to(torch.float32)
        ahead_T = (offsets_T - (offsets_T.shape[0] - 1)).to(torch.float32)  # 0 for the last query, negative before
        distance_TS = ahead_T.unsqueeze(1) + back_S.unsqueeze(0)
        visible = (distance_TS >= 0) & (distance_TS < shape.window)
        return torch.where(visible, 0.0, math.inf)

    return build
