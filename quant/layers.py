"""Layers of a model in memory, replaced by their integers and put back: the arithmetic of the converted model.

Layer names are those of a plan: `embedding`, `layers.0.attention.q_proj`, `head`. A tied model's `embedding` stands for
both uses of the table.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from torch import nn

from model.transformer import Transformer
from quant.embedding import QuantizedEmbedding
from quant.integers import QuantizedTensor
from quant.linear import build_linear

Activations = Literal["int8-dynamic", "float"]


def replace_layer(model: Transformer, name: str, tensor: QuantizedTensor, *, activations: Activations) -> None:
    """Puts a layer's codes and scales in the place of its float weights; nothing else of the model changes."""
    for place, module in layer_modules(model, name, tensor, activations=activations).items():
        model.set_submodule(place, module)


def layer_modules(
    model: Transformer, name: str, tensor: QuantizedTensor, *, activations: Activations
) -> Mapping[str, nn.Module]:
    """What stands for a quantized layer, by its place in the model: one module, or two for a tied table."""
    if name != "embedding":
        return {name: build_linear(tensor, activations=activations)}
    table: dict[str, nn.Module] = {"embedding": QuantizedEmbedding(tensor)}
    return table | ({"head": build_linear(tensor, activations=activations)} if model.config.tied else {})


@contextmanager
def replaced(model: Transformer, modules: Mapping[str, nn.Module]) -> Iterator[Transformer]:
    """Other modules in their places for as long as the context lasts; then the model has its own back."""
    before = {place: model.get_submodule(place) for place in modules}
    try:
        for place, module in modules.items():
            model.set_submodule(place, module)
        yield model
    finally:
        for place, module in before.items():
            model.set_submodule(place, module)
