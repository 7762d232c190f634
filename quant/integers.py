"""A weight matrix as integers: codes, scales and the scheme that joins them, by torchao's own arithmetic.

Every number comes out of torchao's `choose_qparams_affine`, `quantize_affine` and `dequantize_affine`, so that codes
and scales are those of `Int8DynamicActivationIntxWeightConfig`, bit for bit. Knows no module, no file.
Legend: N rows (output channels), K columns (inputs), S scales a row (K / group, or 1).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torchao.quantization import MappingType, choose_qparams_affine, dequantize_affine, quantize_affine

from quant.recipe import LayerScheme

_BLOCK_ELEMENTS = 1 << 24  # elements that are in float32 at a time: 64 MiB a copy


@dataclass(frozen=True, kw_only=True)
class QuantizedTensor:
    """codes [N, K] int8 (-8..7 in 4 bits), scales [N, S] (bf16 by group, float32 by channel); weight = code * scale."""

    codes: torch.Tensor
    scales: torch.Tensor
    scheme: LayerScheme

    def __post_init__(self) -> None:
        if self.codes.dim() != 2 or self.codes.dtype != torch.int8:
            raise ValueError(f"codes are {self.codes.dtype} {list(self.codes.shape)}; they must be an int8 matrix")
        want = scale_shape(self.codes.shape, self.scheme)
        if tuple(self.scales.shape) != want or self.scales.dtype != scale_dtype(self.scheme):
            raise ValueError(
                f"scales are {self.scales.dtype} {list(self.scales.shape)}; codes {list(self.codes.shape)} in scheme "
                f"{self.scheme.scheme} need {scale_dtype(self.scheme)} {list(want)}"
            )


def scale_dtype(scheme: LayerScheme) -> torch.dtype:
    """XNNPACK keeps group scales as bf16 and channel scales as float32; any other choice would be rounded there."""
    return torch.bfloat16 if scheme.scheme == "int4-group" else torch.float32


def scale_shape(shape: torch.Size | tuple[int, ...], scheme: LayerScheme) -> tuple[int, int]:
    """[N, S] for a matrix [N, K]."""
    rows, columns = shape
    return rows, columns // scheme.group_size if scheme.group_size else 1


def code_range(scheme: LayerScheme) -> tuple[int, int]:
    """The smallest and the largest code, both included."""
    return -(1 << (scheme.bits - 1)), (1 << (scheme.bits - 1)) - 1


def block_size(columns: int, scheme: LayerScheme) -> tuple[int, int]:
    """torchao's word for "which elements share a scale": (1 row, so many columns)."""
    return 1, scheme.group_size or columns


def quantize_absmax(weight_NK: torch.Tensor, scheme: LayerScheme) -> QuantizedTensor:
    """Round to nearest on the grid whose scale is max|w| / 7.5 (4 bits) or max|w| / 127.5 (8 bits).

    The scale is computed in float32 and rounded to its stored type first; the codes are chosen for the rounded scale.
    torchao multiplies by the scale's reciprocal, which for a bf16 scale is bf16 too, so close to a tie the neighbour
    may win: an error is at most 0.53 steps, not 0.5. Weights of fewer bits are widened to float32 before anything
    else. A group of zeros gets the smallest normal scale and codes 0.

    Raises:
        ValueError: the weights hold NaN or infinity, are too large for float32 after rounding up, or are no matrix.
    """
    _check_matrix(weight_NK, scheme)
    low, high = code_range(scheme)
    codes = torch.empty(weight_NK.shape, dtype=torch.int8, device=weight_NK.device)
    scales = weight_NK.new_empty(scale_shape(weight_NK.shape, scheme), dtype=scale_dtype(scheme))
    for rows in row_blocks(weight_NK.shape):
        block = widen(weight_NK[rows])
        scale, _ = choose_qparams_affine(
            block,
            MappingType.SYMMETRIC,
            block_size(block.shape[1], scheme),
            target_dtype=torch.int8,
            quant_min=low,
            quant_max=high,
            zero_point_dtype=torch.int8,
            keepdim=True,
        )
        scales[rows] = scale.to(scales.dtype)
        codes[rows] = _quantize(block, scales[rows], scheme)
    return _checked(codes, scales, scheme)


def quantize_with_scales(weight_NK: torch.Tensor, scales: torch.Tensor, scheme: LayerScheme) -> QuantizedTensor:
    """Round to nearest on a grid that training has learned; the scales are used as they are, rounded to their type.

    Raises:
        ValueError: the scales have another shape, or are not positive and finite; the weights as in `quantize_absmax`.
    """
    _check_matrix(weight_NK, scheme)
    want = scale_shape(weight_NK.shape, scheme)
    if scales.dim() == 1 and want[1] == 1:
        scales = scales[:, None]
    if tuple(scales.shape) != want:
        raise ValueError(f"learned scales have shape {list(scales.shape)}; scheme {scheme.scheme} needs {list(want)}")
    stored = scales.to(scale_dtype(scheme)).contiguous()
    tiny = torch.finfo(torch.float32).smallest_normal
    if not bool(torch.isfinite(stored).all()) or not bool((stored.float() >= tiny).all()):
        raise ValueError("learned scales must be positive and finite; train again or remove them")
    codes = torch.empty(weight_NK.shape, dtype=torch.int8, device=weight_NK.device)
    for rows in row_blocks(weight_NK.shape):
        codes[rows] = _quantize(widen(weight_NK[rows]), stored[rows], scheme)
    return _checked(codes, stored, scheme)


def dequantize(tensor: QuantizedTensor, rows: slice = slice(None)) -> torch.Tensor:
    """The float32 matrix that the codes stand for, or some of its rows."""
    codes, scales = tensor.codes[rows], tensor.scales[rows]
    low, high = code_range(tensor.scheme)
    block = block_size(codes.shape[1], tensor.scheme)
    return dequantize_affine(codes, block, scales, None, torch.int8, low, high, output_dtype=torch.float32)


def _quantize(block: torch.Tensor, scales: torch.Tensor, scheme: LayerScheme) -> torch.Tensor:
    low, high = code_range(scheme)
    return quantize_affine(
        block,
        block_size(block.shape[1], scheme),
        scales,
        torch.zeros(scales.shape, dtype=torch.int8, device=scales.device),
        output_dtype=torch.int8,
        quant_min=low,
        quant_max=high,
    )


def widen(block: torch.Tensor) -> torch.Tensor:
    """The weights in float32, contiguous.

    Raises:
        ValueError: they hold NaN or infinity.
    """
    block = block.to(torch.float32)
    if not bool(torch.isfinite(block).all()):
        raise ValueError("the weights hold NaN or infinity; take another checkpoint or train again with a lower rate")
    return block.contiguous()


def _checked(codes: torch.Tensor, scales: torch.Tensor, scheme: LayerScheme) -> QuantizedTensor:
    low, _ = code_range(scheme)
    if not bool(torch.isfinite(scales.float() * low).all()):
        raise ValueError("the weights are so large that their quantized form overflows float32; scale them down")
    return QuantizedTensor(codes=codes, scales=scales, scheme=scheme)


def _check_matrix(weight_NK: torch.Tensor, scheme: LayerScheme) -> None:
    if scheme.scheme == "float":
        raise ValueError("scheme 'float' has no codes; keep the tensor as it is")
    if weight_NK.dim() != 2 or not weight_NK.is_floating_point():
        raise ValueError(f"only a matrix of floats can be quantized, not {weight_NK.dtype} {list(weight_NK.shape)}")
    scheme.check_width(weight_NK.shape[1])


def row_blocks(shape: torch.Size) -> Iterator[slice]:
    """Rows of a matrix in pieces that bound how much is in float32 at a time."""
    rows, columns = shape
    step = max(1, _BLOCK_ELEMENTS // max(1, columns))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))
