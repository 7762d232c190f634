"""What a checkpoint says that a package's file must hold: its matrices one at a time, as stored or derived again.

Codes and scales of a float checkpoint are derived by the function that `quantize` uses, on the grid that training left
or by rounding to nearest. Knows no file of a package.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from export.integers import Expected, Layer
from export.layer_weights import layer_order
from export.manifest_parts import RecipeRecord, layer_kind
from model.checkpoint import WEIGHTS_FILE, check_shapes, float_shapes, open_tensors, read_info
from model.checkpoint_info import CheckpointInfo, QuantizationInfo
from model.config import ModelConfig
from model.tensor_files import TensorReader, check_finite
from quant.integers import scale_dtype
from quant.plan import check_learned_scales, layer_shapes, read_plan
from quant.ptq import from_stored, quantize_layer, stored_shapes
from quant.recipe import LayerScheme

Kind = Literal["quantized", "trained", "float"]  # trained: float weights, trained under fake quantization

_LEARNED = ".weight_scale"
ROUNDED, TRAINED = "rtn", "trained"  # methods: to nearest on absmax grids; on the grid that training left


@dataclass(frozen=True, kw_only=True)
class CheckpointWeights:
    """An opened checkpoint; nothing but names and shapes has been read."""

    folder: Path
    info: CheckpointInfo
    kind: Kind
    quantization: QuantizationInfo  # what the file must be made by
    plan: Mapping[str, LayerScheme]
    reader: TensorReader
    learned: tuple[str, ...]  # layers whose grid is learned scales

    def layers(self) -> list[Layer]:
        """Every matrix in the order in which a program uses them, read when it is asked for.

        A tied table stands twice; it is read once and then kept.
        """
        table = functools.cache(lambda: self.load("embedding"))
        load: dict[str, Callable[[], Expected]] = {}
        for name, _ in layer_order(self.info.config):
            is_table = name == "embedding" or (name == "head" and self.info.config.tied)
            load[name] = table if is_table else functools.partial(self.load, name)
        return list(load.items())

    def load(self, name: str) -> Expected:
        """The matrix of one layer.

        Raises:
            ValueError: it is damaged, or cannot be quantized as the plan says.
        """
        scheme = self.plan[name]
        if self.kind == "quantized" and scheme.scheme != "float":
            return from_stored(name, self.reader.get(f"{name}.codes"), self.reader.get(f"{name}.scales"), scheme)
        weight = self._float(f"{name}.weight")
        if scheme.scheme == "float":
            return weight
        learned = self.reader.get(name + _LEARNED) if name in self.learned else None
        return quantize_layer(name, weight, scheme, learned, method=self.quantization.method)

    def rounded_scales(self) -> int:
        """How many learned scales are rounded on the way into the file, because their type there is narrower."""
        count = 0
        for name in self.learned:
            learned = self.reader.get(name + _LEARNED)
            if self.plan[name].scheme != "float":
                count += int((learned.to(scale_dtype(self.plan[name])).double() != learned.double()).sum())
        return count

    def norms(self) -> list[tuple[str, torch.Tensor]]:
        """The norm weights, float32 [dim] each, in the order in which a program uses them."""
        names = [name for name, shape in float_shapes(self.info.config).items() if len(shape) == 1]
        return [(name.removesuffix(".weight"), self._float(name).to(torch.float32)) for name in names]

    def _float(self, name: str) -> torch.Tensor:
        tensor = self.reader.get(name)
        check_finite(name, tensor, self.folder / WEIGHTS_FILE)
        return tensor


def open_weights(folder: Path, recipe: RecipeRecord | None = None) -> CheckpointWeights:
    """Opens a quantized checkpoint, a float one that was trained for a recipe, or a plain float one.

    Args:
        recipe: of the package's manifest: how a plain float checkpoint is to be rounded; others need none.

    Raises:
        ValueError: no checkpoint, or one that is damaged, incomplete, does not fit the recipe, or needs one.
    """
    info = read_info(folder)
    quantization = info.quantization or info.trained_for
    if quantization is None:
        if recipe is None:
            raise ValueError(f"{folder} is not quantized; run `pocketlm quantize` first")
        quantization = _asked_by(recipe, info)
    kind: Kind = "float"
    if info.quantization is not None:
        kind = "quantized"
    elif info.trained_for is not None:
        kind, quantization = "trained", replace(quantization, method=TRAINED)
    plan = read_plan(folder, replace(info, quantization=quantization, trained_for=None))
    reader = open_tensors(folder)
    weights = CheckpointWeights(
        folder=folder,
        info=info,
        kind=kind,
        quantization=quantization,
        plan=plan,
        reader=reader,
        learned=() if kind == "quantized" else tuple(name for name in plan if name + _LEARNED in reader.entries),
    )
    _check_tensors(weights)
    check_learned_scales(folder, info, weights.learned)
    return weights


def _asked_by(recipe: RecipeRecord, info: CheckpointInfo) -> QuantizationInfo:
    """What the manifest says was done to each layer of a float checkpoint."""
    layers = {}
    for name in layer_shapes(float_shapes(info.config)):
        found = recipe.exceptions.get(name) or recipe.layers.get(layer_kind(name))
        if found is not None:  # what is missing is named by `read_plan`
            reason = recipe.exceptions[name].reason if name in recipe.exceptions else None
            layers[name] = {
                "scheme": found.scheme,
                "bits": found.bits,
                "group_size": found.group_size,
                "reason": reason,
            }
    method = TRAINED if info.learned_scales else ROUNDED
    return QuantizationInfo(recipe=recipe.name, group_size=recipe.group_size, layers=layers, method=method)


def _check_tensors(weights: CheckpointWeights) -> None:
    """Every tensor that must be there is, with its shape and type."""
    where = weights.folder / WEIGHTS_FILE
    expected: dict[str, tuple[tuple[int, ...], torch.dtype | None]] = {}
    for name, shape in float_shapes(weights.info.config).items():
        layer = name.removesuffix(".weight")
        scheme = weights.plan.get(layer)
        if weights.kind == "quantized" and scheme is not None and scheme.scheme != "float":
            expected |= stored_shapes(layer, (shape[0], shape[1]), scheme)
        else:
            expected[name] = (shape, None)
    found = {name: weights.reader.shape(name) for name in weights.reader.names if not name.endswith(_LEARNED)}
    check_shapes(found, {name: shape for name, (shape, _) in expected.items()}, where)
    for name, (_, dtype) in expected.items():
        if dtype is not None and weights.reader.dtype(name) != dtype:
            raise ValueError(
                f"{where}: tensor {name!r} is {weights.reader.dtype(name)}, its scheme asks for {dtype}; quantize again"
            )


def other_shape(config: ModelConfig, said: ModelConfig) -> str | None:
    """Where two models have different weights, in words; None when every tensor has the same name and shape."""
    if float_shapes(config) == float_shapes(said):
        return None
    return "; ".join(setting_differences(config, said))


def setting_differences(config: ModelConfig, said: ModelConfig) -> list[str]:
    """`<setting>: <the checkpoint's> here, <the package's> there` for each setting that is not the same."""
    ours, theirs = config.to_json(), said.to_json()
    return [
        f"{key} is {ours.get(key)!r} in the checkpoint, {theirs.get(key)!r} in the package"
        for key in sorted({*ours, *theirs})
        if ours.get(key) != theirs.get(key)
    ]
