"""GPTQ of one weight matrix: columns are rounded one after another, and those to come make good what was lost.

Frantar et al., arXiv 2210.17323, algorithm 1, with two choices of our own. The scale of a group is found when its first
column comes: the one that makes the weighted errors of the weights, as they then are, least. Columns are taken in the
order of their inputs' energy, by groups and inside each, so that a group stays one stretch of columns. Knows one matrix
and the second moments of its inputs. Legend: N rows, K columns, S scales a row, G columns that share a scale.
"""

import torch
from torch import Tensor

from quant.integers import QuantizedTensor, code_range, row_blocks, scale_dtype, scale_shape, widen
from quant.recipe import LayerScheme
from quant.scales import mse_scales

_DAMPING = 0.01  # of the mean diagonal, added to it: the paper's, section 3.3
_LAZY_COLUMNS = 128  # after so many columns the rest of the matrix is updated at once: the paper's


def quantize_gptq(weight_NK: Tensor, moments_KK: Tensor, scheme: LayerScheme) -> QuantizedTensor:
    """Codes and scales that make |X w - X w'|^2 small for inputs X with X^T X proportional to `moments_KK`.

    Args:
        moments_KK: float64, symmetric; its scale does not matter.

    Raises:
        ValueError: weights or moments are not finite, or the scheme cannot hold the width.
    """
    scheme.check_width(weight_NK.shape[1])
    order = _order(moments_KK.diagonal(), scheme)
    factor_KK = _factor(moments_KK[order][:, order]).to(torch.float32)
    codes = torch.empty(weight_NK.shape, dtype=torch.int8)
    stored = torch.empty(scale_shape(weight_NK.shape, scheme), dtype=scale_dtype(scheme))
    groups = order[:: scheme.group_size or len(order)] // (scheme.group_size or len(order))
    for rows in row_blocks(weight_NK.shape):
        made, found = _round_columns(widen(weight_NK[rows])[:, order], factor_KK, scheme)
        codes[rows, order], stored[rows, groups] = made, found
    return QuantizedTensor(codes=codes, scales=stored, scheme=scheme)


def _order(energy_K: Tensor, scheme: LayerScheme) -> Tensor:
    """int64 [K]: the columns as they are taken."""
    groups = energy_K.view(-1, scheme.group_size or len(energy_K))
    inside = groups.argsort(dim=1, descending=True, stable=True)
    columns = inside + torch.arange(len(groups))[:, None] * groups.shape[1]
    return columns[groups.sum(1).argsort(descending=True, stable=True)].flatten()


def _factor(moments_KK: Tensor) -> Tensor:
    """The upper Cholesky factor U of the damped inverse: inverse = U^T U."""
    if not bool(torch.isfinite(moments_KK).all()):
        raise ValueError(
            "the inputs of the layer are not finite on the calibration text; check the checkpoint's weights"
        )
    damped = moments_KK.clone()
    mean = float(damped.diagonal().mean())
    damped.diagonal().add_(_DAMPING * mean if mean > 0 else 1.0)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    return torch.linalg.cholesky(inverse, upper=True)


def _round_columns(weight_NK: Tensor, factor_KK: Tensor, scheme: LayerScheme) -> tuple[Tensor, Tensor]:
    """Codes int8 [N, K] and scales [N, S] of a matrix whose columns stand in the order in which they are taken."""
    rows, columns = weight_NK.shape
    group = scheme.group_size or columns
    low, high = code_range(scheme)
    weight = weight_NK.clone()
    importance_K = factor_KK.diagonal() ** -2  # of an error that the columns to come have made good as far as they can
    codes = torch.empty(rows, columns, dtype=torch.int8)
    stored = []
    step = group * max(1, _LAZY_COLUMNS // group) if group < columns else _LAZY_COLUMNS
    for start in range(0, columns, step):
        stop = min(start + step, columns)
        block, upper = weight[:, start:stop], factor_KK[start:stop, start:stop]
        errors = torch.empty_like(block)
        for at in range(stop - start):
            if (start + at) % group == 0:
                own = slice(start + at, start + at + group)
                stored.append(mse_scales(weight[:, own], scheme, importance_K[own]))
                scale = stored[-1].float()[:, 0]
            column = block[:, at]
            rounded = (column / scale).round_().clamp_(low, high)
            codes[:, start + at] = rounded.to(torch.int8)
            errors[:, at] = (column - rounded * scale) / upper[at, at]
            block[:, at + 1 :].addr_(errors[:, at], upper[at, at + 1 :], alpha=-1)
        weight[:, stop:].addmm_(errors, factor_KK[start:stop, stop:], alpha=-1)
    return codes, torch.cat(stored, dim=1)
