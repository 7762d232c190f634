"""The decoder's layers as CoreML programs compute them, around a way to attend. Every dimension is fixed.

Shapes: T tokens, C model width, H query heads, G key-value heads, M = H / G, D head width, S cache slots, V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from export.checkpoint_weights import CheckpointWeights
from export.coreml.arithmetic import RMSNorm, rms_norm, rotate
from export.coreml.row_order import row_order
from export.coreml.weights import Matrix
from export.static_layout import row_chunks
from model.config import ModelConfig
from quant.integers import QuantizedTensor

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]  # layer, q [1,G,MT,D], k and v [1,G,T,D] -> [1,G,MT,D]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What layers need of the tokens' positions."""

    cos: Tensor  # [T, 1, D/2]
    sin: Tensor
    temperature: Tensor | None  # [T, 1, 1], for layers without RoPE


class Layer(nn.Module):
    """Attention and feed-forward of one layer, over whatever attends."""

    q_proj: Matrix
    k_proj: Matrix
    v_proj: Matrix
    o_proj: Matrix
    gate_proj: Matrix
    up_proj: Matrix
    down_proj: Matrix

    def __init__(self, config: ModelConfig, layer: int, weights: "Constants") -> None:
        super().__init__()
        self.config, self.layer = config, layer
        self.use_rope = config.uses_rope(layer)
        prefix = f"layers.{layer}"
        self.attention_norm = weights.norm(f"{prefix}.attention_norm")
        self.feed_forward_norm = weights.norm(f"{prefix}.feed_forward_norm")
        for name in config.layer_matrices:
            self.add_module(name.split(".")[-1], weights.matrix(f"{prefix}.{name}"))

    def forward(self, x_TC: Tensor, rows: Rows, attend: Attend) -> Tensor:
        config, length = self.config, x_TC.shape[0]
        normed = self.attention_norm(x_TC)
        q, k, v = (proj(normed).view(length, -1, config.head_dim) for proj in (self.q_proj, self.k_proj, self.v_proj))
        if self.use_rope:
            q, k = rotate(q, rows.cos, rows.sin), rotate(k, rows.cos, rows.sin)
            if config.qk_norm:
                q, k = rms_norm(q, config.norm_eps), rms_norm(k, config.norm_eps)
        elif rows.temperature is not None:
            q = q * rows.temperature
        q = q * config.head_dim**-0.5
        groups, sharing = config.num_kv_heads, config.num_heads // config.num_kv_heads
        q = q.view(length, groups, sharing, -1).permute(1, 2, 0, 3).reshape(1, groups, sharing * length, -1)
        k, v = k.permute(1, 0, 2).unsqueeze(0), v.permute(1, 0, 2).unsqueeze(0)
        out = attend(self.layer, q, k, v).view(groups, sharing, length, -1).permute(2, 0, 1, 3).reshape(length, -1)
        x_TC = x_TC + self.o_proj(out)
        normed = self.feed_forward_norm(x_TC)
        return x_TC + self.down_proj(nn.functional.silu(self.gate_proj(normed)) * self.up_proj(normed))


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Grouped attention in 4 dimensions: scaled q [1, G, MT, D] over k and v [1, G, S, D] under mask [T, S]."""
    groups, many, slots = q.shape[1], q.shape[2], k.shape[2]
    scores = torch.matmul(q, k.transpose(-1, -2)).view(groups, -1, mask.shape[0], slots) + mask
    return torch.matmul(torch.softmax(scores, dim=-1).view(1, groups, many, slots), v)


class Tables(nn.Module):
    """The input table and the head, each in row chunks; a tied model's chunks serve both."""

    def __init__(self, config: ModelConfig, weights: "Constants") -> None:
        super().__init__()
        self.sizes = row_chunks(config.vocab_size)
        self.table = nn.ModuleList(weights.chunks("embedding", self.sizes))
        self.head = None if config.tied else nn.ModuleList(weights.chunks("head", self.sizes))

    def weights(self) -> list[Tensor]:
        return _widened(self.table)

    def look_up(self, tokens_T: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Rows [T, C] of int32 tokens [T]: each chunk gives its row or zeros, and the sum is exact."""
        if len(weights) == 1:
            return nn.functional.embedding(tokens_T, weights[0])
        total, start = None, 0
        for weight in weights:
            local = tokens_T - start
            inside = torch.clamp(local, 0, weight.shape[0] - 1)
            row = nn.functional.embedding(inside, weight) * (local == inside).to(weight.dtype).unsqueeze(-1)
            total, start = row if total is None else total + row, start + weight.shape[0]
        assert total is not None
        return total

    def logits(self, x: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
        """Logits [1, rows] of each chunk."""
        own = weights if self.head is None else _widened(self.head)
        return [nn.functional.linear(x, weight) for weight in own]


def _widened(chunks: nn.ModuleList) -> list[Tensor]:
    return [chunk.weight() for chunk in chunks if isinstance(chunk, Matrix)]


class Constants:
    """Turns a checkpoint's weights into modules of one dtype.

    Raises:
        GateError: a scale or a norm weight that float16 cannot hold.
    """

    def __init__(self, weights: CheckpointWeights, dtype: torch.dtype) -> None:
        self.source, self.config, self.dtype = weights, weights.info.config, dtype
        self.norms = dict(weights.norms())

    def norm(self, name: str) -> RMSNorm:
        return RMSNorm(self.norms[name].to(torch.float16), self.config.norm_eps, self.dtype)

    def matrix(self, name: str) -> Matrix:
        order = row_order(self.config, name)
        return Matrix(name, self._load(name), self.dtype, None if order is None else torch.tensor(order))

    def chunks(self, name: str, sizes: Sequence[int]) -> list[Matrix]:
        tensor, made, start = self._load(name), [], 0
        for size in sizes:
            made.append(Matrix(name, tensor, self.dtype, slice(start, start + size)))
            start += size
        return made

    def _load(self, name: str) -> QuantizedTensor:
        tensor = self.source.load(name)
        assert isinstance(tensor, QuantizedTensor)  # the plan has refused float layers
        return tensor


class Decoder(nn.Module):
    """Tables, layers and the last norm: what static and stateful programs share."""

    def __init__(self, constants: Constants) -> None:
        super().__init__()
        config = constants.config
        self.config = config
        self.tables = Tables(config, constants)
        self.layers = nn.ModuleList(Layer(config, i, constants) for i in range(config.num_layers))
        self.norm = constants.norm("norm")

    def run(self, tokens_T: Tensor, rows: Rows, attend: Attend, last_1T: Tensor | None) -> list[Tensor]:
        """The logits' pieces [1, rows] of the token that `last` picks; of the only one without it."""
        weights = self.tables.weights()
        x = self.tables.look_up(tokens_T, weights)
        for layer in self.layers:
            x = layer(x, rows, attend)
        if last_1T is not None:
            x = torch.matmul(last_1T, x)
        return self.tables.logits(self.norm(x), weights)
