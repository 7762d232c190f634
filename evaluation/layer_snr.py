"""How far each layer of a quantized thing is from the float model's, in dB: of its weights, and of what it computes.

Signal to noise is 10 log10(|W|^2 / |W - W'|^2); of outputs the same with X W^T for W, where X is what the float model
hands to that layer, so that no error of an earlier layer is counted. Reads codes and scales from a quantized checkpoint
or from a package's own bytes. Shapes: N rows, K columns, M tokens.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

from evaluation.coreml_layers import read_coreml_layers
from evaluation.report import LayerNoise
from export.file_weights import FileWeight, read_weights
from export.layer_weights import layer_order
from export.package import open_package
from export.pte import read_pte
from export.static_constants import is_coreml
from model.checkpoint import INFO_FILE, float_shapes, open_tensors, read_info
from model.transformer import Transformer
from quant.integers import dequantize
from quant.plan import layer_shapes, read_plan
from quant.ptq import from_stored

TABLE, HEAD = "embedding", "head"
_BLOCK_ELEMENTS = 1 << 22  # of a matrix in float32 at a time

Rows = Callable[[slice], Tensor]  # rows of a matrix as float32


@dataclass(frozen=True, kw_only=True)
class StoredLayer:
    """One weight matrix of a thing; nothing of it is in memory until rows are asked for."""

    scheme: str
    shape: tuple[int, int]  # N, K
    open: Callable[[], Rows]


@dataclass(frozen=True, kw_only=True)
class StoredGroup:
    """Layers and as many matrices; which is whose is not said where there are several (inside one delegate)."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]  # that the configuration gives them
    layers: tuple[StoredLayer, ...]


def read_layers(path: Path, stack: contextlib.ExitStack) -> list[StoredGroup]:
    """Every matrix of a checkpoint, a quantized checkpoint or a package; a tied table once, as `embedding`.

    Raises:
        ValueError: it cannot be read, or a package's program has other matrices than its manifest's configuration.
    """
    if (path / INFO_FILE).is_file():
        return _checkpoint_layers(path)
    return _package_layers(path, stack)


def layer_noise(
    name: str, groups: Sequence[StoredGroup], reference: Sequence[StoredGroup]
) -> Iterator[tuple[LayerNoise, StoredLayer]]:
    """The noise of each layer's weights, with the layer; that of its outputs is not measured yet.

    Inside a delegate a matrix belongs to the layer that it is nearest to among those of its shape.
    """
    floats = {layer: stored for group in reference for layer, stored in _in_order(group)}
    for group in groups:
        left = list(group.layers)
        for layer in group.names:
            if layer not in floats:  # an untied head over the float model's tied table
                floats[layer] = floats[TABLE]
            wanted = floats[layer]
            candidates = [stored for stored in left if stored.shape == wanted.shape]
            if not candidates:
                raise ValueError(
                    f"{name}: {layer} is not {list(wanted.shape)} as in the float model; compare alike ones"
                )
            powers = [_powers(wanted, stored) for stored in candidates]
            best = min(range(len(candidates)), key=lambda i: powers[i][1])
            left.remove(candidates[best])
            noise = LayerNoise(
                thing=name,
                layer=layer,
                scheme=candidates[best].scheme,
                weights_db=decibels(*powers[best]),
                outputs_db=None,
            )
            yield noise, candidates[best]


@torch.inference_mode()
def output_noise(
    model: Transformer, documents: Sequence[Sequence[int]], things: Sequence[Mapping[str, StoredLayer]]
) -> list[dict[str, float]]:
    """The noise of each layer's outputs in dB, of each thing by layer; an untied input table has none.

    Args:
        model: the float model, in eval mode.
        documents: token ids; each is run by itself.
        things: layer name to its matrix.
    """
    names = {layer for thing in things for layer in thing}  # every thing has all but perhaps a head
    sums = [{layer: [0.0, 0.0] for layer in thing} for thing in things]

    def measure(layer: str, weight_NK: Tensor, inputs_MK: Tensor) -> None:
        for thing, found in zip(things, sums, strict=True):
            at = TABLE if layer == HEAD and HEAD not in thing else layer
            rows = thing[at].open()
            for part in _blocks(thing[at].shape):
                exact = inputs_MK @ weight_NK[part].T
                found[at][0] += float(exact.double().square().sum())
                found[at][1] += float((exact - inputs_MK @ rows(part).T).double().square().sum())

    with contextlib.ExitStack() as hooks:
        for layer in names - {TABLE, HEAD}:
            hooks.enter_context(_watched(model, layer, measure))
        for ids in documents:
            hidden_MC = model.hidden(torch.tensor([list(ids)]))[0]
            measure(HEAD, model.head.weight, hidden_MC)
    return [{layer: decibels(*pair) for layer, pair in found.items() if pair[0]} for found in sums]


def decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise); infinite where there is no noise."""
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


@contextlib.contextmanager
def _watched(model: Transformer, layer: str, measure: Callable[[str, Tensor, Tensor], None]) -> Iterator[None]:
    module = model.get_submodule(layer)
    assert isinstance(module, torch.nn.Linear)
    weight = module.weight
    handle = module.register_forward_pre_hook(lambda _, inputs: measure(layer, weight, inputs[0].flatten(0, -2)))
    try:
        yield
    finally:
        handle.remove()


def _in_order(group: StoredGroup) -> Iterator[tuple[str, StoredLayer]]:
    """The float model's matrices by name: as the program has them, each the next of its shape."""
    left = list(group.layers)
    for name, shape in zip(group.names, group.shapes, strict=True):
        stored = next((stored for stored in left if stored.shape == shape), left[0])
        left.remove(stored)
        yield name, stored


def _powers(wanted: StoredLayer, stored: StoredLayer) -> tuple[float, float]:
    """Sums of squares of the float weights and of the difference."""
    exact, rounded = wanted.open(), stored.open()
    signal = noise = 0.0
    for part in _blocks(wanted.shape):
        weight = exact(part)
        signal += float(weight.double().square().sum())
        noise += float((weight - rounded(part)).double().square().sum())
    return signal, noise


def _blocks(shape: tuple[int, int]) -> Iterator[slice]:
    step = max(1, _BLOCK_ELEMENTS // max(1, shape[1]))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


def _checkpoint_layers(path: Path) -> list[StoredGroup]:
    info, reader = read_info(path), open_tensors(path)
    shapes = layer_shapes(float_shapes(info.config))
    plan = read_plan(path, info) if info.quantization is not None else {}

    def opener(name: str) -> Callable[[], Rows]:
        def open_layer() -> Rows:
            if name in plan and plan[name].scheme != "float":
                codes, scales = reader.get(f"{name}.codes"), reader.get(f"{name}.scales")
                tensor = from_stored(name, codes, scales, plan[name])
                return lambda part: dequantize(tensor, part)
            weight = reader.get(f"{name}.weight")
            return lambda part: weight[part].float()

        return open_layer

    found = []
    for name, shape in shapes.items():
        scheme = plan[name].scheme if name in plan else "float"
        stored = StoredLayer(scheme=scheme, shape=shape, open=opener(name))
        found.append(StoredGroup(names=(name,), shapes=(shape,), layers=(stored,)))
    return found


def _package_layers(path: Path, stack: contextlib.ExitStack) -> list[StoredGroup]:
    package = stack.enter_context(open_package(path, verify=False))  # verified when it was scored
    config = package.manifest.model.config
    if is_coreml(package.manifest):
        shapes = dict(layer_order(config))
        return [
            StoredGroup(
                names=(name,),
                shapes=(shapes[name],),
                layers=(StoredLayer(scheme=kind, shape=shapes[name], open=opener),),
            )
            for name, kind, opener in read_coreml_layers(package.path("program"), config)
        ]
    order = layer_order(config)
    weights = list(read_weights(read_pte(package.path("program"))))
    tables = [weight for weight in weights if weight.delegate is None]
    linears = [weight for weight in weights if weight.delegate is not None]
    if (len(tables), len(linears)) != (1, len(order) - 1):
        raise ValueError(
            f"{path}: its program has {len(tables)} tables and {len(linears)} linear weights, its configuration 1 and "
            f"{len(order) - 1}; export it again"
        )
    found, start = [_group(order[:1], tables)], 1
    for _, members in groupby(linears, key=lambda weight: weight.delegate):
        part = list(members)
        found.append(_group(order[start : start + len(part)], part))
        start += len(part)
    if config.tied:
        found[-1] = _without_head(found[-1])
    return found


def _group(order: Sequence[tuple[str, tuple[int, int]]], weights: Sequence[FileWeight]) -> StoredGroup:
    names, shapes = zip(*order, strict=True)
    return StoredGroup(names=names, shapes=shapes, layers=tuple(map(_file_layer, weights)))


def _without_head(group: StoredGroup) -> StoredGroup:
    """A tied table's second use holds the same bytes as the first."""
    layers = list(group.layers)
    layers.remove(next((layer for layer in layers if layer.shape == group.shapes[-1]), layers[-1]))
    return StoredGroup(names=group.names[:-1], shapes=group.shapes[:-1], layers=tuple(layers))


def _file_layer(weight: FileWeight) -> StoredLayer:
    if weight.kind == "float":
        return StoredLayer(scheme="float", shape=weight.shape, open=lambda: lambda part: weight.floats(part).float())

    def rows(part: slice) -> Tensor:
        codes_NK, scales_NS = weight.codes(part).float(), weight.scales(part).float()
        grouped = codes_NK.view(*scales_NS.shape, -1) * scales_NS.unsqueeze(-1)
        return grouped.view_as(codes_NK)

    return StoredLayer(scheme=weight.kind, shape=weight.shape, open=lambda: rows)
