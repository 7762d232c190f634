"""One layer of a float model under its integers: the arithmetic, and that the float layer comes back."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from model.checkpoint import load_model
from model.transformer import Transformer
from quant.checkpoint import build_model, quantize_checkpoint, quantized_layers
from quant.embedding import QuantizedEmbedding
from quant.layers import layer_modules, replace_layer, replaced

TOKENS = torch.arange(22).view(2, 11) * 4
Q = "layers.0.attention.q_proj"

Write = Callable[..., Path]


def logits(model: Transformer) -> torch.Tensor:
    with torch.no_grad():
        return model(TOKENS)


@pytest.mark.parametrize("tied", [True, False])
def test_all_layers_replaced_are_the_converted_model(write: Write, tmp_path: Path, tied: bool) -> None:
    source = write(tied=tied)
    model = load_model(source).eval()
    model.cache_dtype = "int8"
    for name, tensor in quantized_layers(source):
        replace_layer(model, name, tensor, activations="int8-dynamic")
    quantize_checkpoint(source, tmp_path / "out")
    assert torch.equal(logits(model), logits(build_model(tmp_path / "out")))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", ["embedding", Q])
def test_a_layer_is_replaced_for_a_while_and_comes_back(write: Write, tied: bool, name: str) -> None:
    source = write(tied=tied)
    model = load_model(source).eval()
    before, modules = logits(model), dict(model.named_modules())
    made = layer_modules(model, name, dict(quantized_layers(source))[name], activations="int8-dynamic")
    with replaced(model, made) as same:
        assert same is model
        assert not torch.equal(logits(model), before)
        assert isinstance(model.embedding, QuantizedEmbedding) == (name == "embedding")
        assert (model.head is modules["head"]) == (name == Q or not tied)
    assert dict(model.named_modules()) == modules
    assert torch.equal(logits(model), before)


def test_the_layer_comes_back_after_an_error_as_well(write: Write) -> None:
    source = write()
    model = load_model(source).eval()
    made = layer_modules(model, Q, dict(quantized_layers(source))[Q], activations="float")
    modules = dict(model.named_modules())
    with pytest.raises(KeyboardInterrupt), replaced(model, made):
        raise KeyboardInterrupt
    assert dict(model.named_modules()) == modules
