"""Which scheme every weight matrix of a checkpoint has, or would get. Loads no torch."""

from collections.abc import Mapping
from pathlib import Path

from model.checkpoint import float_shapes, list_names
from model.checkpoint_info import CheckpointInfo
from quant.recipe import LayerScheme, find_recipe


def layer_shapes(float_shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, int]]:
    """Layer name to (N, K) of every weight matrix among a float checkpoint's tensors, in their order."""
    return {
        name.removesuffix(".weight"): (shape[0], shape[1]) for name, shape in float_shapes.items() if len(shape) == 2
    }


def read_plan(folder: Path, info: CheckpointInfo) -> dict[str, LayerScheme]:
    """The scheme of every weight matrix of a quantized checkpoint, in the checkpoint's order.

    Raises:
        ValueError: it is not quantized, or the layers that it lists are not the model's.
    """
    if info.quantization is None:
        raise ValueError(f"{folder} is not quantized; run `pocketlm quantize` on it first")
    find_recipe(info.quantization.recipe)
    names = layer_shapes(float_shapes(info.config))
    listed = info.quantization.layers
    odd = sorted(set(names) ^ set(listed))
    if odd:
        raise ValueError(f"{folder}: the quantized layers are not the model's ({list_names(odd)}); quantize again")
    plan: dict[str, LayerScheme] = {}
    for name, (_, columns) in names.items():
        try:
            plan[name] = LayerScheme.from_json(listed[name])
            plan[name].check_width(columns)
        except ValueError as error:
            raise ValueError(f"{folder}: layer {name}: {error}; quantize again") from None
    return plan
