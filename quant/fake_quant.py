"""Fake quantization for training: the deployed arithmetic in float32, with gradients.

The forward pass is `quant.integers` itself (weights) and torchao's per-token INT8 (activations), so that what a loss
sees is what `quantize` and `export` keep. The backward pass passes straight through the rounding (Bengio et al., arXiv
1308.3432); learned ranges get the gradient of LSQ (Esser et al., arXiv 1902.08153, equations 3 and 5).

Shapes: B batch, T tokens, N rows (output channels), K columns (inputs), S scales a row, G columns that share a scale.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchao.quantization import MappingType, choose_qparams_affine, dequantize_affine, quantize_affine

from model.transformer import Transformer
from quant.integers import (
    code_range,
    dequantize,
    quantize_absmax,
    quantize_with_scales,
    scale_dtype,
)
from quant.recipe import LayerScheme, Recipe

LEARNED = "log_scale"  # the parameter's name within its layer


def prepare_qat(
    model: Transformer,
    plan: Mapping[str, LayerScheme],
    recipe: Recipe,
    *,
    learn_ranges: bool = False,
    start_scales: Mapping[str, Tensor] | None = None,
) -> Transformer:
    """Puts a float model under a recipe's fake quantization, in place; its parameters stay the same objects.

    Args:
        model: as `model.checkpoint.load_model` gives it.
        plan: the scheme of every weight matrix, as `quant.recipe.plan_layers` gives it.
        recipe: says what becomes of activations and of keys and values.
        learn_ranges: every scale becomes a parameter (its logarithm), which starts at the weights' absmax; otherwise
            it follows the weights, as it always does in layers that depart from the recipe.
        start_scales: by layer name, where a learned scale [N, S] begins in place of the absmax.

    Returns:
        The model.
    """
    rounds = recipe.activations == "int8-dynamic"
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear):
            scheme = plan["embedding" if name == "head" and model.config.tied else name]
            if scheme.scheme != "float":
                model.set_submodule(name, FakeQuantLinear(module, scheme, rounds_inputs=rounds))
        elif isinstance(module, nn.Embedding) and plan[name].scheme != "float":
            model.set_submodule(name, FakeQuantEmbedding(module, plan[name]))
    model.cache_dtype = recipe.cache
    if learn_ranges:
        for name, module in model.named_modules():
            if isinstance(module, FakeQuantLinear | FakeQuantEmbedding) and module.scheme.reason is None:
                module.learn_ranges((start_scales or {}).get(name))
        table, head = model.embedding, model.head
        if model.config.tied and isinstance(table, FakeQuantEmbedding) and isinstance(head, FakeQuantLinear):
            head.log_scale = table.log_scale
    return model


def is_range(parameter: str) -> bool:
    """Whether a parameter of that name is a learned scale's logarithm."""
    return parameter.rpartition(".")[2] == LEARNED


def learned_scales(model: Transformer) -> dict[str, Tensor]:
    """The learned scales [N, S] under their names in a checkpoint, `<layer>.weight_scale`; a tied table's once.

    They are float32 and already rounded to the type that a quantized checkpoint keeps.
    """
    return {
        f"{name}.weight_scale": module.scales()
        for name, module in model.named_modules()
        if isinstance(module, FakeQuantLinear | FakeQuantEmbedding)
        and module.log_scale is not None
        and not (name == "head" and model.config.tied)
    }


def fake_quantize_activations(x: Tensor) -> Tensor:
    """Each token's last dimension through asymmetric INT8 and back, as the converted integer model does it."""
    return _Activations.apply(x)


class FakeQuantLinear(nn.Linear):
    """`nn.Linear` without bias whose weight, and whose inputs if the recipe says so, are fake-quantized."""

    log_scale: nn.Parameter | None

    def __init__(self, linear: nn.Linear, scheme: LayerScheme, *, rounds_inputs: bool) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        self.weight = linear.weight
        self.scheme, self.rounds_inputs = scheme, rounds_inputs
        self.register_parameter(LEARNED, None)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(*self.operands(x))

    def operands(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and weight of the product, both fake-quantized."""
        return fake_quantize_activations(x) if self.rounds_inputs else x, _fake(
            self.weight, self.log_scale, self.scheme
        )

    def learn_ranges(self, start_NS: Tensor | None = None) -> None:
        self.log_scale = _start_scale(self.weight, self.scheme, start_NS)

    def scales(self) -> Tensor:
        assert self.log_scale is not None
        return _stored_scale(self.log_scale, self.scheme)


class FakeQuantEmbedding(nn.Embedding):
    """`nn.Embedding` that fake-quantizes the rows that it reads."""

    log_scale: nn.Parameter | None

    def __init__(self, embedding: nn.Embedding, scheme: LayerScheme) -> None:
        super().__init__(embedding.num_embeddings, embedding.embedding_dim, device="meta")
        self.weight = embedding.weight
        self.scheme = scheme
        self.register_parameter(LEARNED, None)

    def forward(self, tokens: Tensor) -> Tensor:
        unique, places = torch.unique(tokens, return_inverse=True)
        log_scale = None if self.log_scale is None else nn.functional.embedding(unique, self.log_scale)
        rows = _fake(nn.functional.embedding(unique, self.weight), log_scale, self.scheme)
        return nn.functional.embedding(places, rows)

    def learn_ranges(self, start_NS: Tensor | None = None) -> None:
        self.log_scale = _start_scale(self.weight, self.scheme, start_NS)

    def scales(self) -> Tensor:
        assert self.log_scale is not None
        return _stored_scale(self.log_scale, self.scheme)


def _fake(weight_NK: Tensor, log_scale_NS: Tensor | None, scheme: LayerScheme) -> Tensor:
    if log_scale_NS is None:
        return _Weight.apply(weight_NK, scheme)
    return _LearnedWeight.apply(weight_NK, log_scale_NS, scheme)


def _start_scale(weight_NK: Tensor, scheme: LayerScheme, start_NS: Tensor | None) -> nn.Parameter:
    if start_NS is None:
        made = quantize_absmax(weight_NK.detach(), scheme)
    else:
        made = quantize_with_scales(weight_NK.detach(), start_NS, scheme)
    return nn.Parameter(made.scales.to(torch.float32).log())


def _stored_scale(log_scale_NS: Tensor, scheme: LayerScheme) -> Tensor:
    """float32 [N, S], rounded to the type that will be kept; never below what that type divides by."""
    tiny = 2 * torch.finfo(torch.float32).smallest_normal
    return log_scale_NS.detach().exp().clamp(min=tiny).to(scale_dtype(scheme)).to(torch.float32)


class _Weight(torch.autograd.Function):
    """Round to nearest on the grid that the weights themselves span."""

    @staticmethod
    def forward(ctx: Any, weight_NK: Tensor, scheme: LayerScheme) -> Tensor:
        return dequantize(quantize_absmax(weight_NK, scheme))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


class _LearnedWeight(torch.autograd.Function):
    """Round to nearest on a learned grid; with v = w / s, the gradient of s is round(v) - v inside, the end outside.

    "Inside" is what needs no clipping once it is rounded, as torchao's autograd has it (LSQ: before it is rounded).
    """

    @staticmethod
    def forward(ctx: Any, weight_NK: Tensor, log_scale_NS: Tensor, scheme: LayerScheme) -> Tensor:
        scales_NS = _stored_scale(log_scale_NS, scheme)
        made = quantize_with_scales(weight_NK, scales_NS, scheme)
        ctx.save_for_backward(weight_NK, scales_NS, made.codes)
        ctx.scheme = scheme
        return dequantize(made)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        weight_NK, scales_NS, codes_NK = ctx.saved_tensors
        low, high = code_range(ctx.scheme)
        grad_NSG = grads[0].unflatten(-1, (scales_NS.shape[1], -1))
        ratio_NSG = weight_NK.unflatten(-1, (scales_NS.shape[1], -1)) / scales_NS[..., None]
        rounded_NSG = ratio_NSG.round()
        inside = (rounded_NSG >= low) & (rounded_NSG <= high)
        codes_NSG = codes_NK.unflatten(-1, (scales_NS.shape[1], -1)).to(ratio_NSG.dtype)
        error_NSG = codes_NSG - torch.where(inside, ratio_NSG, 0.0)
        size = 1.0 / math.sqrt(grad_NSG.shape[-1] * high)  # LSQ's balance of ranges and weights
        grad_NS = (grad_NSG * error_NSG).sum(-1) * scales_NS * size  # d/d log s = s * d/ds
        return torch.where(inside, grad_NSG, 0.0).flatten(-2), grad_NS, None


class _Activations(torch.autograd.Function):
    """torchao's `int8_asym_per_token`, whose range always holds every value: nothing is clipped but by rounding."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        wide = x.to(torch.float32)
        block = (1,) * (x.dim() - 1) + (x.shape[-1],)
        scale, zero = choose_qparams_affine(
            wide, MappingType.ASYMMETRIC, block, target_dtype=torch.int8, zero_point_dtype=torch.int8
        )
        codes = quantize_affine(wide, block, scale, zero, output_dtype=torch.int8)
        return dequantize_affine(codes, block, scale, zero, torch.int8, output_dtype=torch.float32).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]
