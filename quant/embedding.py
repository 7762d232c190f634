"""An input table over the same codes and scales as the output layer's, read row by row.

The whole float table never exists: a lookup widens only the rows that it reads.
Legend: V rows, D width, S scales a row.
"""

import torch
from torch import nn

from quant.integers import QuantizedTensor
from quant.packing import pack_int4, unpack_int4


class QuantizedEmbedding(nn.Module):
    """tokens [...] to float32 rows [..., D].

    Buffers:
        codes_packed: uint8 [V, D/2] (two 4-bit codes a byte, even column low) or int8 [V, D] (8 bits).
        scales: bf16 [V, D/group] by group, float32 [V, 1] by channel.
    """

    codes_packed: torch.Tensor
    scales: torch.Tensor

    def __init__(self, tensor: QuantizedTensor) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = tensor.codes.shape
        self.scheme = tensor.scheme
        self.register_buffer("codes_packed", pack_int4(tensor.codes) if tensor.scheme.bits == 4 else tensor.codes)
        self.register_buffer("scales", tensor.scales)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        stored = self.codes_packed[tokens]
        codes = unpack_int4(stored) if self.scheme.bits == 4 else stored
        scales = self.scales[tokens].float()  # [..., S]
        grouped = codes.float().unflatten(-1, (scales.shape[-1], -1))
        return (grouped * scales[..., None]).flatten(-2)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}, scheme={self.scheme.scheme}"
