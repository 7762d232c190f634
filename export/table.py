"""The input table inside a program: the very bytes that XNNPACK holds for the output layer, gathered row by row.

Shapes: T tokens, C model width, V vocabulary, S scales a row.
"""

import logging

import torch
from torch import Tensor, nn

from quant.embedding import QuantizedEmbedding

_log = logging.getLogger("pocketlm")
_ops = torch.ops.quantized_decomposed


class ExportTable(nn.Module):
    """tokens [1, T] -> float32 rows [1, T, C], through ExecuTorch's `embedding_4bit` or `embedding_byte`.

    `embedding_4bit` takes the even column from the HIGH nibble and XNNPACK from the low one. The operator is fed
    XNNPACK's bytes, so that one copy serves both, and neighbours are swapped back after the gather.
    """

    codes: Tensor
    scales: Tensor

    def __init__(self, source: QuantizedEmbedding) -> None:
        super().__init__()
        self.bits, self.dim = source.scheme.bits, source.embedding_dim
        self.register_buffer("codes", source.codes_packed)
        scales = _scales_for_gather(source.scales)
        # In the shape that the operator takes: a reshaped constant would be a value that is computed at each call.
        self.register_buffer("scales", scales.squeeze(-1) if self.bits == 8 else scales)

    def forward(self, tokens: Tensor) -> Tensor:
        if self.bits == 8:
            return _ops.embedding_byte.dtype(self.codes, self.scales, None, -128, 127, tokens, dtype=torch.float32)
        rows = _ops.embedding_4bit.dtype(self.codes, self.scales, None, -8, 7, tokens, dtype=torch.float32)
        return rows.view(1, -1, self.dim // 2, 2).flip(-1).view(1, -1, self.dim)


def _scales_for_gather(scales: Tensor) -> Tensor:
    """float16 where that is exact (the operator misreads bf16), else float32, with a line that says so."""
    if scales.dtype == torch.float32:
        return scales
    half = scales.to(torch.float16)
    if torch.equal(half.to(torch.float32), scales.to(torch.float32)):
        return half
    count = int((half.to(torch.float32) != scales.to(torch.float32)).sum())
    _log.warning(
        "embedding: %d of %d scales are not exact in float16; the gather keeps float32 scales (2 bytes more each)",
        count,
        scales.numel(),
    )
    return scales.to(torch.float32)
