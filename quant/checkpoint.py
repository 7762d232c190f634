"""Checkpoint in, quantized checkpoint out, and a quantized checkpoint as a model that runs.

Streams: one weight matrix is in memory at a time. Format: docs/architecture.md.
"""

import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from model.checkpoint import (
    WEIGHTS_FILE,
    check_shapes,
    companions,
    float_shapes,
    load_model,
    open_tensors,
    read_info,
    write_checkpoint,
)
from model.checkpoint_info import CheckpointInfo, QuantizationInfo
from model.files import atomic_output, check_target
from model.tensor_files import TensorReader, check_finite
from model.transformer import Transformer
from quant.embedding import QuantizedEmbedding
from quant.integers import QuantizedTensor
from quant.linear import build_linear
from quant.plan import layer_shapes, read_plan
from quant.ptq import Summary, from_stored, quantize_layer, stored_shapes, summarize, to_stored
from quant.recipe import LayerScheme, find_recipe, plan_layers

_LEARNED = ".weight_scale"

_log = logging.getLogger("pocketlm")


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A float checkpoint and what is to become of it."""

    source: Path
    info: CheckpointInfo  # of the result
    plan: dict[str, LayerScheme]
    reader: TensorReader
    summary: Summary


def plan_checkpoint(source: Path, *, recipe: str, group_size: int | None = None) -> Summary:
    """What `quantize_checkpoint` would make, from shapes alone (`--dry-run`).

    Raises:
        ValueError: as `quantize_checkpoint`, as far as shapes tell.
    """
    return _prepare(source, recipe, group_size).summary


def quantize_checkpoint(
    source: Path, out: Path, *, recipe: str, group_size: int | None = None, overwrite: bool = False
) -> Summary:
    """Rounds a float checkpoint to a recipe's grid and writes the codes and scales themselves.

    A tied table is quantized once, for both its uses. Learned scales (`<layer>.weight_scale`) are the grid where they
    exist; recipe `float` passes every tensor through and records itself.

    Args:
        recipe: a name of `RECIPES`.
        group_size: overrides the recipe's.

    Raises:
        ValueError: `source` is quantized already, damaged or not finite; the recipe or the group size is impossible;
            learned scales do not fit the recipe; `out` exists and `overwrite` is False, or it is in or around `source`.
    """
    check_target(out, overwrite=overwrite, source=source)
    job = _prepare(source, recipe, group_size)
    files = companions(source, job.info)
    for name, reason in job.summary.exceptions.items():
        _log.info("%s: %s, because %s", name, job.plan[name].scheme, reason)
    with atomic_output(out, overwrite=overwrite) as partial:
        write_checkpoint(partial, job.info, _quantized_tensors(job))
        for file in files:
            shutil.copyfile(file, partial / file.name)
    return job.summary


def load_quantized(folder: Path) -> dict[str, QuantizedTensor | torch.Tensor]:
    """A quantized checkpoint's contents, checked against its own plan.

    Returns:
        Quantized layers under their layer name (`embedding`, `layers.0.attention.q_proj`), everything that stayed
        float under its tensor name (`norm.weight`), as stored. A tied model has no `head`.

    Raises:
        ValueError: the checkpoint is not quantized, or a tensor is missing, unexpected, mis-shaped, of the wrong type
            or not finite.
    """
    info = read_info(folder)
    plan = read_plan(folder, info)
    reader = open_tensors(folder)
    where = folder / WEIGHTS_FILE
    expected = _stored(info, plan, reader)
    found = {name: reader.shape(name) for name in reader.names}
    check_shapes(found, {name: shape for name, (shape, _) in expected.items()}, where)
    result: dict[str, QuantizedTensor | torch.Tensor] = {}
    for name, (_, dtype) in expected.items():
        if reader.dtype(name) != dtype:
            raise ValueError(
                f"{where}: tensor {name!r} is {reader.dtype(name)}, its scheme asks for {dtype}; quantize again"
            )
        layer, _, part = name.rpartition(".")
        if part == "codes":
            result[layer] = from_stored(layer, reader.get(name), reader.get(f"{layer}.scales"), plan[layer])
        elif part == "weight":
            tensor = reader.get(name)
            check_finite(name, tensor, where)
            result[name] = tensor
    return result


def build_model(folder: Path) -> Transformer:
    """A checkpoint as a model in eval mode: float, or the *converted integer model* of a quantized one.

    The integer model rounds activations as the exported program does, and keys and values as its cache does.

    Raises:
        ValueError: the checkpoint is damaged; see `load_quantized` and `model.checkpoint.load_model`.
    """
    info = read_info(folder)
    if info.quantization is None:
        return load_model(folder).eval()
    recipe = find_recipe(info.quantization.recipe)
    with torch.device("meta"):  # no memory for weights that are about to be replaced
        model = Transformer(info.config, cache_dtype=recipe.cache)
    state: dict[str, torch.nn.Parameter] = {}
    for name, tensor in load_quantized(folder).items():
        if not isinstance(tensor, QuantizedTensor):
            state[name] = torch.nn.Parameter(tensor.to(torch.float32), requires_grad=False)
            continue
        if name == "embedding":
            model.set_submodule(name, QuantizedEmbedding(tensor))
        if name != "embedding" or info.config.tied:
            linear = build_linear(tensor, activations=recipe.activations)
            model.set_submodule("head" if name == "embedding" else name, linear)
    if info.config.tied and "embedding.weight" in state:
        state["head.weight"] = state["embedding.weight"]
    model.load_state_dict(state, strict=False, assign=True)
    assert not any(parameter.is_meta for parameter in model.parameters())
    return model.eval()


def _prepare(source: Path, recipe_name: str, group_size: int | None) -> _Job:
    recipe = find_recipe(recipe_name)
    info = read_info(source)
    if info.quantization is not None:
        raise ValueError(
            f"{source} is quantized already ({info.quantization.recipe}); rounding twice would lose more: give the "
            "float checkpoint that it was made from"
        )
    reader = open_tensors(source)
    shapes = float_shapes(info.config)
    found = {name: reader.shape(name) for name in reader.names}
    learned = {name: shape for name, shape in found.items() if name.removesuffix(_LEARNED) in layer_shapes(shapes)}
    check_shapes(found, shapes | learned, source / WEIGHTS_FILE)
    plan = plan_layers(recipe, layer_shapes(shapes), group_size)
    group = recipe.group_size if group_size is None else group_size
    layers = {name: scheme.to_json() for name, scheme in plan.items()}
    kept = info.learned_scales and recipe.weights == "float"
    result = replace(
        info, learned_scales=kept, quantization=QuantizationInfo(recipe=recipe.name, group_size=group, layers=layers)
    )
    summary = summarize(recipe.name, group, info.config, plan, _stored(info, plan, reader))
    return _Job(source=source, info=result, plan=plan, reader=reader, summary=summary)


def _stored(
    info: CheckpointInfo, plan: dict[str, LayerScheme], reader: TensorReader
) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Every tensor of the quantized checkpoint, in order; what stays float keeps the type that it has in the file."""
    stored: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}
    for name, shape in float_shapes(info.config).items():
        layer = name.removesuffix(".weight")
        scheme = plan.get(layer)
        if scheme is not None and scheme.scheme != "float":
            stored |= stored_shapes(layer, (shape[0], shape[1]), scheme)
            continue
        for kept in (name, layer + _LEARNED):
            if kept in reader.entries:
                stored[kept] = (reader.shape(kept), reader.dtype(kept))
            elif kept == name:
                stored[kept] = (shape, torch.float32)  # missing: the shape check names it
    return stored


def _quantized_tensors(job: _Job) -> Iterator[tuple[str, torch.Tensor]]:
    where = job.source / WEIGHTS_FILE
    names = job.reader.entries
    for name in float_shapes(job.info.config):
        tensor = job.reader.get(name)
        check_finite(name, tensor, where)
        layer = name.removesuffix(".weight")
        learned = job.reader.get(layer + _LEARNED) if layer + _LEARNED in names else None
        scheme = job.plan.get(layer)
        if scheme is not None and scheme.scheme != "float":
            yield from to_stored(layer, quantize_layer(layer, tensor, scheme, learned))
            _log.debug("%s: %s", layer, scheme.scheme)
            continue
        yield name, tensor
        if learned is not None:
            yield layer + _LEARNED, learned
