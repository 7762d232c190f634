"""Gives the weights of a file their layers' names, and holds each against the recipe that a manifest promises.

A `.pte` has no names: the order in which the program computes and the shapes that the configuration makes decide.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from export.file_weights import FileWeight
from export.manifest_parts import RecipeRecord, layer_kind
from model.config import ModelConfig
from quant.recipe import SCHEME_BITS, find_recipe

Shape = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class LayerWeight:
    """How one weight matrix is stored, by its own bytes."""

    name: str
    scheme: str
    bits: int
    group_size: int | None
    shape: Shape  # N, K
    activations: str
    delegate: int | None  # None: the table of an embedding kernel
    codes_bytes: int
    scales_bytes: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"shape": list(self.shape)}


def layer_order(config: ModelConfig) -> list[tuple[str, Shape]]:
    """Name and (N, K) of every matrix in the order in which a program computes them; a tied table stands twice."""
    table = (config.vocab_size, config.dim)
    parts = config.layer_matrices.items()
    layers = [(f"layers.{i}.{part}", shape) for i in range(config.num_layers) for part, shape in parts]
    return [("embedding", table), *layers, ("head", table)]


def name_weights(weights: Sequence[FileWeight], config: ModelConfig | None) -> tuple[list[LayerWeight], list[str]]:
    """Names every weight, and says where the file has other matrices than the configuration.

    Args:
        config: of the manifest; without one, weights are named by their place in the file.
    """
    if config is None:
        return [_describe(_place(weight), weight) for weight in weights], []
    order = layer_order(config)
    tables = [w for w in weights if w.delegate is None]
    linears = [w for w in weights if w.delegate is not None]
    if (len(tables), len(linears)) != (1, len(order) - 1):
        problem = (
            f"the program has {len(tables)} input tables and {len(linears)} linear layers, the manifest's model "
            f"1 and {len(order) - 1}"
        )
        return [_describe(_place(weight), weight) for weight in weights], [problem]
    named, problems, start = [], [], 0
    windows = [(tables, order[:1])]
    for _, group in groupby(linears, key=lambda weight: weight.delegate):
        members = list(group)
        windows.append((members, order[1 + start : 1 + start + len(members)]))
        start += len(members)
    for members, wanted in windows:
        left = list(members)
        for name, shape in wanted:
            weight = next((w for w in left if w.shape == shape), left[0])
            left.remove(weight)
            named.append(_describe(name, weight))
            if weight.shape != shape:
                problems.append(f"{name}: the file's matrix is {list(weight.shape)}, the manifest's {list(shape)}")
    return named, problems


def _place(weight: FileWeight) -> str:
    return f"kernel {weight.node}" if weight.delegate is None else f"delegate {weight.delegate} node {weight.node}"


def _describe(name: str, weight: FileWeight) -> LayerWeight:
    bits = weight.content_dtype.itemsize * 8 if weight.kind == "float" else SCHEME_BITS[weight.kind]
    return LayerWeight(
        name=name,
        scheme=weight.kind,
        bits=bits,
        group_size=weight.group_size,
        shape=weight.shape,
        activations=weight.activations,
        delegate=weight.delegate,
        codes_bytes=weight.codes_bytes,
        scales_bytes=weight.scales_bytes,
    )


def recipe_problems(layers: Sequence[LayerWeight], recipe: RecipeRecord, *, by_activations: bool = True) -> list[str]:
    """One line for each layer whose bytes are not of the scheme that the manifest's recipe says.

    Args:
        by_activations: the activations must be the recipe's, too.
    """
    problems = []
    activations = find_recipe(recipe.name).activations
    own_head = "head" in recipe.layers or "head" in recipe.exceptions
    for layer in layers:
        stored = "embedding" if layer.name == "head" and not own_head else layer.name
        wanted = recipe.exceptions.get(stored) or recipe.layers.get(layer_kind(stored))
        if wanted is None:
            problems.append(f"{layer.name}: the manifest's recipe does not mention it")
        elif (layer.scheme, layer.group_size) != (wanted.scheme, wanted.group_size):
            problems.append(
                f"{layer.name}: the file holds {_words(layer.scheme, layer.group_size)}, the manifest says "
                f"{_words(wanted.scheme, wanted.group_size)}"
            )
        elif (
            by_activations
            and layer.delegate is not None
            and layer.scheme != "float"
            and layer.activations != activations
        ):
            problems.append(f"{layer.name}: its activations are {layer.activations}, the recipe's {activations}")
    return problems


def float_problems(layers: Sequence[LayerWeight]) -> list[str]:
    """One line for each float matrix, for a program whose recipe is unknown."""
    return [f"{layer.name}: a float matrix {list(layer.shape)}" for layer in layers if layer.scheme == "float"]


def _words(scheme: str, group: int | None) -> str:
    return f"{scheme} in groups of {group}" if group else scheme
