"""GPTQ of a whole model, layer after layer, with the text that flows through it.

A layer is rounded when all before it are: it sees what the deployed model will give it, INT8 activations and cache
included. Knows no file and no tokenizer. Shapes: B documents, T tokens, C model width, K inputs of a layer.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.transformer import Layer, Transformer
from quant.calibration import Documents, batches
from quant.fake_quant import fake_quantize_activations
from quant.gptq import quantize_gptq
from quant.integers import QuantizedTensor
from quant.layers import replace_layer
from quant.recipe import LayerScheme, Recipe

Progress = Callable[[str], None]
# Layers that share their inputs, in the order in which inputs depend on layers.
_STAGES = (
    ("attention.q_proj", "attention.k_proj", "attention.v_proj"),
    ("attention.o_proj",),
    ("feed_forward.gate_proj", "feed_forward.up_proj"),
    ("feed_forward.down_proj",),
)


class _Reached(Exception):
    """Thrown by a hook: the rest of a forward pass would be wasted."""


@dataclass(kw_only=True)
class _Batch:
    """Some documents, padded at their ends, on their way through the model."""

    keep_BT: Tensor  # bool: no padding
    x_BTC: Tensor


@torch.no_grad()
def quantize_with_text(
    model: Transformer,
    plan: Mapping[str, LayerScheme],
    recipe: Recipe,
    documents: Documents,
    progress: Progress | None = None,
) -> Iterator[tuple[str, QuantizedTensor]]:
    """GPTQ of every layer that the plan quantizes, in the order of the model; the table first.

    A tied table is rounded once, for what the float model's last layer feeds into it as a head; everything after it
    already reads its rounded rows. An untied input table is only looked up: its columns are independent, so its scales
    are those of least squared error.

    Args:
        model: float, in eval mode; it is turned into the converted integer model, layer by layer.
        documents: token ids, the first token included.
        progress: receives a line for every layer.

    Raises:
        ValueError: no text, or a layer's weights or inputs are not finite.
    """
    walk = _Walk(model, plan, recipe, documents)
    say = progress or (lambda line: None)
    say(f"calibrating on {walk.tokens:,} tokens of {len(documents):,} documents")
    yield from walk.table()
    walk.embed()
    for i in range(model.config.num_layers):
        say(f"layer {i + 1} of {model.config.num_layers}")
        yield from walk.layer(i)
    if not model.config.tied:
        yield from walk.head()


class _Walk:
    def __init__(
        self,
        model: Transformer,
        plan: Mapping[str, LayerScheme],
        recipe: Recipe,
        documents: Documents,
    ) -> None:
        self.model, self.plan, self.recipe = model, plan, recipe
        self.batches_ids = list(batches(documents))
        self.tokens = sum(int(keep.sum()) for _, keep in self.batches_ids)
        if not self.tokens:
            raise ValueError("there is no calibration text: every document is empty")
        self.batches: list[_Batch] = []
        model.cache_dtype = recipe.cache

    def table(self) -> Iterator[tuple[str, QuantizedTensor]]:
        """The input table, and with it a tied head."""
        scheme = self.plan["embedding"]
        if scheme.scheme == "float":
            return
        config = self.model.config
        moments = torch.eye(config.dim, dtype=torch.float64)
        if config.tied:
            self.model.cache_dtype = "float"
            moments.zero_()
            for ids, keep in self.batches_ids:
                self._add(moments, self.model.hidden(ids)[keep])
            self.model.cache_dtype = self.recipe.cache
        yield self._replace("embedding", self.model.embedding, moments)

    def embed(self) -> None:
        self.batches = [_Batch(keep_BT=keep, x_BTC=self.model.embedding(ids)) for ids, keep in self.batches_ids]

    def layer(self, i: int) -> Iterator[tuple[str, QuantizedTensor]]:
        """A decoder layer's matrices, stage by stage; afterwards the batches have passed it."""
        layer = self.model.layers[i]
        assert isinstance(layer, Layer)
        for stage in _STAGES:
            names = [name for name in stage if self.plan[f"layers.{i}.{name}"].scheme != "float"]
            if not names:
                continue
            moments = self._moments(i, layer, names[0])
            for name in names:
                yield self._replace(f"layers.{i}.{name}", layer.get_submodule(name), moments)
        for batch in self.batches:
            batch.x_BTC = self._run(i, layer, batch)

    def head(self) -> Iterator[tuple[str, QuantizedTensor]]:
        if self.plan["head"].scheme != "float":
            moments = torch.zeros(self.model.config.dim, self.model.config.dim, dtype=torch.float64)
            for batch in self.batches:
                self._add(moments, self.model.norm(batch.x_BTC)[batch.keep_BT])
            yield self._replace("head", self.model.head, moments)

    def _run(self, i: int, layer: Layer, batch: _Batch) -> Tensor:
        positions_T = torch.arange(batch.x_BTC.shape[1])
        return layer(batch.x_BTC, self.model.positions(positions_T), self.model.attends(positions_T)[i])

    def _moments(self, i: int, layer: Layer, name: str) -> Tensor:
        """X^T X of what flows into one matrix, float64 [K, K]."""
        linear = layer.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        moments = torch.zeros(linear.in_features, linear.in_features, dtype=torch.float64)

        def catch(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self._add(moments, inputs[0][keep])
            raise _Reached

        hook = linear.register_forward_pre_hook(catch)
        try:
            for batch in self.batches:
                keep = batch.keep_BT
                try:
                    self._run(i, layer, batch)
                except _Reached:
                    continue
        finally:
            hook.remove()
        return moments

    def _add(self, moments: Tensor, x_MK: Tensor) -> None:
        if self.recipe.activations == "int8-dynamic":
            x_MK = fake_quantize_activations(x_MK)
        moments += (x_MK.T @ x_MK).to(torch.float64)

    def _replace(self, name: str, module: nn.Module, moments: Tensor) -> tuple[str, QuantizedTensor]:
        weight = module.weight
        assert isinstance(weight, Tensor)
        try:
            tensor = quantize_gptq(weight, moments, self.plan[name])
        except ValueError as error:
            raise ValueError(f"layer {name}: {error}") from None
        replace_layer(self.model, name, tensor, activations=self.recipe.activations)
        return name, tensor
