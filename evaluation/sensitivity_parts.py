"""The float model with a part of it quantized: which modules stand in for which, and how such a model is run.

What the float model hands from layer to layer is kept for the document at hand, so that a part is run from the first
layer that it changes. Shapes: T tokens of one document, C model width, R rows of a block, V vocabulary.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from evaluation.scorers import block_rows
from model.attention import Attend, Positions
from model.cache import CacheDtype
from model.transformer import Transformer
from quant.fake_quant import fake_quantize_activations
from quant.integers import QuantizedTensor
from quant.layers import Activations, layer_modules, replaced
from quant.recipe import Recipe

_BEFORE_LAYERS = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """What is quantized while all else stays float."""

    name: str
    modules: Mapping[str, nn.Module] = field(default_factory=dict)  # by their places in the model
    cache: CacheDtype = "float"

    def first_layer(self, num_layers: int) -> int:
        """The first layer that reads or computes something else than in the float model; `num_layers`: none does."""
        places = [_layer_of(place, num_layers) for place in self.modules]
        return min([*places, 0 if self.cache == "int8" else num_layers])


class RoundedInputs(nn.Module):
    """A linear layer whose inputs are rounded to INT8 token by token, as the converted model does it."""

    def __init__(self, linear: nn.Module) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(fake_quantize_activations(x))


def weights_part(
    name: str, model: Transformer, tensors: Mapping[str, QuantizedTensor], *, activations: Activations = "float"
) -> Part:
    """The weights of some layers; `activations`: what becomes of the inputs of just these."""
    modules: dict[str, nn.Module] = {}
    for layer, tensor in tensors.items():
        modules |= layer_modules(model, layer, tensor, activations=activations)
    return Part(name=name, modules=modules)


def activations_part(name: str, model: Transformer, layers: Sequence[str]) -> Part:
    """The inputs of these layers in INT8, their weights untouched."""
    heads = ["head"] if model.config.tied and "embedding" in layers else []
    places = [layer for layer in layers if layer != "embedding"] + heads
    return Part(name=name, modules={place: RoundedInputs(model.get_submodule(place)) for place in places})


def whole_part(name: str, model: Transformer, tensors: Mapping[str, QuantizedTensor], recipe: Recipe) -> Part:
    """All that a recipe says: this is the converted integer model."""
    modules = weights_part(name, model, tensors, activations=recipe.activations).modules
    return Part(name=name, modules=modules, cache=recipe.cache)


@contextlib.contextmanager
def applied(model: Transformer, part: Part) -> Iterator[Transformer]:
    """The model with the part quantized for as long as the context lasts; then it is float again, the same objects."""
    before = model.cache_dtype
    try:
        with replaced(model, part.modules):
            model.cache_dtype = part.cache
            yield model
    finally:
        model.cache_dtype = before


class FloatStates:
    """What each layer of the float model read of the last document.

    Args:
        model: in eval mode.
        ran: called after each run of a `PartScorer` over it, with the number of tokens.
    """

    def __init__(self, model: Transformer, ran: Callable[[int], None]) -> None:
        self.model, self.ran = model, ran
        self._ids: tuple[int, ...] = ()
        self._inputs: list[Tensor] = []  # [1, T, C] of each layer, then what the last one gave
        self._positions: Positions | None = None
        self._attends: list[Attend] = []

    def remember(self, ids: Sequence[int]) -> None:
        """Runs the model, which must be float, on a document that is not the last one."""
        if self._ids == tuple(ids):
            return
        positions_T = torch.arange(len(ids))
        self._positions, self._attends = self.model.positions(positions_T), self.model.attends(positions_T)
        self._inputs = [self.model.embedding(torch.tensor([list(ids)]))]
        for layer, attend in zip(self.model.layers, self._attends, strict=True):
            self._inputs.append(layer(self._inputs[-1], self._positions, attend))
        self._ids = tuple(ids)

    def hidden(self, first: int) -> Tensor:
        """The normed last hidden state [1, T, C] of the last document: from layer `first` on as the model is now."""
        assert self._positions is not None
        x = self.model.embedding(torch.tensor([self._ids])) if first == _BEFORE_LAYERS else self._inputs[first]
        for i in range(max(first, 0), self.model.config.num_layers):
            x = self.model.layers[i](x, self._positions, self._attends[i])
        return self.model.norm(x)


class PartScorer:
    """The model with a part quantized, which is in its place only while it computes; see `evaluation.scorers.Scorer`.

    Args:
        states: of the float model; scorers that share them and take turns on a document run it once.
    """

    def __init__(self, states: FloatStates, part: Part) -> None:
        self._states, self._part = states, part
        self._first = part.first_layer(states.model.config.num_layers)

    @torch.inference_mode()  # as a decorator it also ends at each yield
    def rows(self, ids: Sequence[int], start: int = 0) -> Iterator[Tensor]:
        """Logits after each of `ids[start:]` as blocks [R, V]."""
        model = self._states.model
        self._states.remember(ids)
        with applied(model, self._part):
            hidden_TC = self._states.hidden(self._first)[0, start:]
        self._states.ran(len(ids))
        step = block_rows(model.config.vocab_size)
        for at in range(0, len(hidden_TC), step):
            with applied(model, self._part):
                block_RV = model.head(hidden_TC[at : at + step])
            yield block_RV


def _layer_of(place: str, num_layers: int) -> int:
    if place == "embedding":
        return _BEFORE_LAYERS
    return num_layers if place == "head" else int(place.split(".")[1])
