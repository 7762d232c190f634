"""A linear layer over given codes and scales, in the form that torchao runs eagerly and ExecuTorch lowers.

Nothing is derived again from float weights: the codes and scales go in as they are. Eagerly this is the *converted
integer model*; exported, its quantize/dequantize pattern becomes XNNPACK's qd8-qb4w (INT4 by group) or qd8-qc8w (INT8
by channel) kernel.
"""

from typing import Literal

import torch
from torch import nn
from torchao.quantization import IntxUnpackedToInt8Tensor

from quant.integers import QuantizedTensor, block_size

# torchao keeps these enums private; it compares them with their own string values.
_ACTIVATIONS = {"int8-dynamic": "int8_asym_per_token", "float": None}
_TARGET_TYPES = {4: torch.int4, 8: torch.int8}  # type: ignore[attr-defined]  # torch.int4 has no stub


def build_linear(
    tensor: QuantizedTensor, *, activations: Literal["int8-dynamic", "float"] = "int8-dynamic"
) -> nn.Linear:
    """`nn.Linear(K, N, bias=False)` whose weight is a torchao tensor around `tensor`'s own codes and scales.

    Args:
        tensor: codes [N, K] and their scales; shared with the layer, not copied.
        activations: `int8-dynamic` rounds each input token to 8 bits (asymmetric) before the product.
    """
    rows, columns = tensor.codes.shape
    weight = IntxUnpackedToInt8Tensor(
        qdata=tensor.codes,
        scale=tensor.scales,
        zero_point=torch.zeros(tensor.scales.shape, dtype=torch.int8),
        target_dtype=_TARGET_TYPES[tensor.scheme.bits],
        block_size=block_size(columns, tensor.scheme),
        dtype=torch.float32,
        activation_quantization=_ACTIVATIONS[activations],
    )
    layer = nn.Linear(columns, rows, bias=False, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return layer.eval()
