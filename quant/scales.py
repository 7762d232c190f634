"""The scales of one weight matrix, by the methods that look at nothing but the weights.

A method decides how wide the grid of a group is; the codes are then always round-to-nearest on that grid, once its
scale has the type that it is stored in. Legend: N rows, K columns, S scales a row, G columns that share a scale.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torchao.quantization.quant_primitives import _choose_qparams_and_quantize_scale_only_hqq

from quant.integers import (
    QuantizedTensor,
    block_size,
    code_range,
    quantize_absmax,
    quantize_with_scales,
    row_blocks,
    scale_dtype,
    widen,
)
from quant.recipe import LayerScheme

# Where the best scale lies, in units of absmax / 7.5: normal weights want 0.85 in groups of 32 and less in longer rows.
# Above 1.07 nothing is clipped, but the codes of a small group may fall better.
_FACTORS = tuple(i / 100 for i in range(40, 131))


def quantize_matrix(weight_NK: Tensor, scheme: LayerScheme, method: str) -> QuantizedTensor:
    """Codes and scales by a method of `SCALES` or "rtn".

    Raises:
        ValueError: the weights hold NaN or infinity, are too large, or are no matrix that the scheme can hold.
    """
    if method == "rtn":
        return quantize_absmax(weight_NK, scheme)
    choose = SCALES[method]
    scheme.check_width(weight_NK.shape[1])
    scales = torch.cat([choose(widen(weight_NK[rows]), scheme) for rows in row_blocks(weight_NK.shape)])
    return quantize_with_scales(weight_NK, scales, scheme)


def absmax_scales(weight_NK: Tensor, scheme: LayerScheme) -> Tensor:
    """max|w| / 7.5 in 4 bits, / 127.5 in 8: the whole grid is used, the largest weight lies half a step outside."""
    low, high = code_range(scheme)
    return _stored(_absmax(weight_NK, scheme) / ((high - low) / 2), scheme)


def full_scales(weight_NK: Tensor, scheme: LayerScheme) -> Tensor:
    """max|w| / 7 in 4 bits, / 127 in 8: nothing is clipped, and code -8 stays unused but for rounding in bf16."""
    return _stored(_absmax(weight_NK, scheme) / code_range(scheme)[1], scheme)


def hqq_scales(weight_NK: Tensor, scheme: LayerScheme) -> Tensor:
    """torchao's scale-only HQQ (0.18.0): codes and least-squares scale in turn, from max|w| / 8 on, 20 times."""
    low, high = code_range(scheme)
    block = list(block_size(weight_NK.shape[1], scheme))
    _, scales = _choose_qparams_and_quantize_scale_only_hqq(weight_NK, block, low, high)
    return _stored(scales, scheme)


def mse_scales(weight_NK: Tensor, scheme: LayerScheme, importance_K: Tensor | None = None) -> Tensor:
    """Of 91 scales from 0.40 to 1.30 times max|w| / 7.5, and max|w| / 7, the one that leaves the least squared error.

    The candidates are rounded to their stored type before they are tried; of equals the first is taken.

    Args:
        importance_K: what an error in each column costs; None means the same in all.
    """
    low, high = code_range(scheme)
    widest = _absmax(weight_NK, scheme)
    start = widest / ((high - low) / 2)
    groups_NSG = weight_NK.unflatten(-1, (start.shape[1], -1))
    importance_SG = None if importance_K is None else importance_K.unflatten(-1, (start.shape[1], -1))
    best, least = _stored(start, scheme), torch.full_like(start, torch.inf)
    for candidate in (*(start * factor for factor in _FACTORS), widest / high):
        scales = _stored(candidate, scheme)
        wide = scales.float()[..., None]
        codes = (groups_NSG / wide).round_().clamp_(low, high)
        errors = codes.mul_(wide).sub_(groups_NSG).square_()
        error = (errors if importance_SG is None else errors.mul_(importance_SG)).sum(-1)
        better = error < least
        best, least = torch.where(better, scales, best), torch.where(better, error, least)
    return best


SCALES: Mapping[str, Callable[[Tensor, LayerScheme], Tensor]] = {
    "rtn": absmax_scales,
    "rtn7": full_scales,
    "hqq": hqq_scales,
    "mse": mse_scales,
}


def _absmax(weight_NK: Tensor, scheme: LayerScheme) -> Tensor:
    return weight_NK.unflatten(-1, (-1, block_size(weight_NK.shape[1], scheme)[1])).abs().amax(-1)


def _stored(scales_NS: Tensor, scheme: LayerScheme) -> Tensor:
    """In the type that they are stored in; a group of zeros gets the smallest normal number."""
    dtype = scale_dtype(scheme)
    return scales_NS.clamp(min=torch.finfo(dtype).smallest_normal).to(dtype)
