"""Checkpoint in, quantized checkpoint out, and a quantized checkpoint as a model that runs.

Streams: one weight matrix is in memory at a time, but for methods that run text through the whole float model.
Format: docs/architecture.md.
"""

import logging
import shutil
from collections.abc import Iterator, Mapping
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
from model.checkpoint_info import CheckpointInfo
from model.files import atomic_output, check_target
from model.tensor_files import TensorReader, check_finite
from model.transformer import Transformer
from quant.calibration import Documents
from quant.integers import QuantizedTensor
from quant.layers import replace_layer
from quant.plan import Choice, check_learned_scales, choose, read_plan
from quant.ptq import Summary, from_stored, quantize_layer, stored_shapes, summarize, to_stored
from quant.recipe import NO_OVERRIDES, LayerScheme, SchemeName, find_recipe
from quant.sequential import Progress, quantize_with_text

_LEARNED = ".weight_scale"

_log = logging.getLogger("pocketlm")


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A float checkpoint and what is to become of it."""

    source: Path
    info: CheckpointInfo
    choice: Choice
    reader: TensorReader
    calibration: Documents | None

    @property
    def result(self) -> CheckpointInfo:
        """The description of the quantized checkpoint."""
        kept = self.info.learned_scales and find_recipe(self.choice.recipe).weights == "float"
        return replace(self.info, learned_scales=kept, trained_for=None, quantization=self.choice.to_info())

    @property
    def stored(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        return _stored(self.info, self.choice.layers, self.reader)

    def learned(self, layer: str) -> torch.Tensor | None:
        return self.reader.get(layer + _LEARNED) if layer + _LEARNED in self.reader.entries else None


def plan_checkpoint(
    source: Path,
    *,
    recipe: str | None = None,
    group_size: int | None = None,
    method: str | None = None,
    overrides: Mapping[str, SchemeName] = NO_OVERRIDES,
    calibration: Documents | None = None,
) -> Summary:
    """What `quantize_checkpoint` would make, from shapes alone (`--dry-run`).

    Raises:
        ValueError: as `quantize_checkpoint`, as far as shapes tell.
    """
    job = _prepare(source, recipe, group_size, method, overrides, calibration)
    return summarize(job.choice, job.info.config, job.stored)


def quantize_checkpoint(
    source: Path,
    out: Path,
    *,
    recipe: str | None = None,
    group_size: int | None = None,
    method: str | None = None,
    overrides: Mapping[str, SchemeName] = NO_OVERRIDES,
    calibration: Documents | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Rounds a float checkpoint to a recipe's grid and writes the codes and scales themselves.

    A tied table is quantized once, for both its uses. Learned scales (`<layer>.weight_scale`) are the grid where they
    exist; recipe `float` passes every tensor through and records itself.

    Args:
        recipe: a name of `RECIPES`; None means what the checkpoint was trained for, else 8da4w-g32.
        group_size: overrides the recipe's.
        method: a name of `METHODS`; None means "trained" where training has left a grid, else "rtn".
        overrides: patterns of layer names to schemes, see `quant.recipe.plan_layers`.
        calibration: for methods that need text.
        progress: receives a line for every layer.

    Raises:
        ValueError: `source` is quantized already, damaged or not finite; the recipe, group size, method or an override
            is impossible, or not what `source` was trained for; text is missing, or given to a method that takes none;
            learned scales do not fit the recipe; `out` exists and `overwrite` is False, or it is in or around `source`.
    """
    check_target(out, overwrite=overwrite, source=source)
    job = _prepare(source, recipe, group_size, method, overrides, calibration)
    files = companions(source, job.info)
    summary = summarize(job.choice, job.info.config, job.stored)
    for name, reason in summary.exceptions.items():
        _log.info("%s: %s, because %s", name, job.choice.layers[name].scheme, reason)
    with atomic_output(out, overwrite=overwrite) as partial:
        write_checkpoint(partial, job.result, _quantized_tensors(job, progress))
        for file in files:
            shutil.copyfile(file, partial / file.name)
    return summary


def quantized_layers(
    source: Path,
    *,
    recipe: str | None = None,
    group_size: int | None = None,
    method: str | None = None,
    overrides: Mapping[str, SchemeName] = NO_OVERRIDES,
    calibration: Documents | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[str, QuantizedTensor]]:
    """Name, codes and scales of each layer that `quantize_checkpoint` would write, in memory, one after another.

    `quant.layers` puts them into a float model, for as long as they are measured.

    Raises:
        ValueError: as `quantize_checkpoint`.
    """
    yield from _layers(_prepare(source, recipe, group_size, method, overrides, calibration), progress)


def load_quantized(folder: Path) -> dict[str, QuantizedTensor | torch.Tensor]:
    """All of `stream_quantized` in memory at once."""
    return dict(stream_quantized(folder))


def stream_quantized(folder: Path) -> Iterator[tuple[str, QuantizedTensor | torch.Tensor]]:
    """A quantized checkpoint's contents, checked against its own plan; each is read when it is asked for.

    Yields:
        Quantized layers under their layer name (`embedding`, `layers.0.attention.q_proj`), everything that stayed
        float under its tensor name (`norm.weight`), as stored. A tied model has no `head`.

    Raises:
        ValueError: not quantized; or a tensor is missing, unexpected, mis-shaped, of the wrong type or not finite.
    """
    info, where = read_info(folder), folder / WEIGHTS_FILE
    plan, reader = read_plan(folder, info), open_tensors(folder)
    expected = _stored(info, plan, reader)
    found = {name: reader.shape(name) for name in reader.names}
    check_shapes(found, {name: shape for name, (shape, _) in expected.items()}, where)
    for name, (_, dtype) in expected.items():
        if reader.dtype(name) != dtype:
            raise ValueError(
                f"{where}: tensor {name!r} is {reader.dtype(name)}, its scheme asks for {dtype}; quantize again"
            )
    for name in expected:
        layer, _, part = name.rpartition(".")
        if part == "codes":
            yield layer, from_stored(layer, reader.get(name), reader.get(f"{layer}.scales"), plan[layer])
        elif part == "weight":
            tensor = reader.get(name)
            check_finite(name, tensor, where)
            yield name, tensor


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
    for name, tensor in stream_quantized(folder):
        if isinstance(tensor, QuantizedTensor):
            replace_layer(model, name, tensor, activations=recipe.activations)
        else:
            state[name] = torch.nn.Parameter(tensor.to(torch.float32), requires_grad=False)
    if info.config.tied and "embedding.weight" in state:
        state["head.weight"] = state["embedding.weight"]
    model.load_state_dict(state, strict=False, assign=True)
    assert not any(parameter.is_meta for parameter in model.parameters())
    return model.eval()


def _prepare(
    source: Path,
    recipe: str | None,
    group_size: int | None,
    method: str | None,
    overrides: Mapping[str, SchemeName],
    calibration: Documents | None,
) -> _Job:
    info = read_info(source)
    choice = choose(source, info, recipe=recipe, group_size=group_size, method=method, overrides=overrides)
    if choice.needs_text and not calibration:
        raise ValueError(
            f"method {choice.method} needs calibration text; give a text file like what the model will read"
        )
    if calibration is not None and not choice.needs_text:
        raise ValueError(f"method {choice.method} takes no calibration text; leave it out, or choose one that does")
    reader = open_tensors(source)
    shapes = float_shapes(info.config)
    found = {name: reader.shape(name) for name in reader.names}
    learned = {name: shape for name, shape in found.items() if name.removesuffix(_LEARNED) in choice.layers}
    check_shapes(found, shapes | learned, source / WEIGHTS_FILE)
    if info.trained_for is None:
        _check_learned(choice.layers, learned)
    check_learned_scales(source, info, [key.removesuffix(_LEARNED) for key in learned])
    return _Job(source=source, info=info, choice=choice, reader=reader, calibration=calibration)


def _check_learned(layers: Mapping[str, LayerScheme], learned: Mapping[str, tuple[int, ...]]) -> None:
    """Without a word on what the scales were trained for, they are taken for the recipe's own schemes only."""
    for key, shape in learned.items():
        name = key.removesuffix(_LEARNED)
        if layers[name].reason is not None:
            raise ValueError(
                f"layer {name} has learned scales {list(shape)}, but the recipe keeps it in {layers[name].scheme} "
                f"({layers[name].reason}); quantize with the recipe and group size that it was trained for"
            )


def _stored(
    info: CheckpointInfo, plan: Mapping[str, LayerScheme], reader: TensorReader
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


def _quantized_tensors(job: _Job, progress: Progress | None) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of the result, in the order of the float checkpoint, which the layers come in as well."""
    layers = _layers(job, progress)
    for name in float_shapes(job.info.config):
        layer = name.removesuffix(".weight")
        if layer in job.choice.layers and job.choice.layers[layer].scheme != "float":
            made, tensor = next(layers)
            assert made == layer
            yield from to_stored(layer, tensor)
            continue
        yield name, _read(job, name)
        learned = job.learned(layer)
        if learned is not None:
            yield layer + _LEARNED, learned


def _layers(job: _Job, progress: Progress | None) -> Iterator[tuple[str, QuantizedTensor]]:
    if job.choice.needs_text:
        assert job.calibration is not None
        recipe = find_recipe(job.choice.recipe)
        model = load_model(job.source).eval().requires_grad_(False)
        yield from quantize_with_text(model, job.choice.layers, recipe, job.calibration, progress)
        return
    for name, scheme in job.choice.layers.items():
        if scheme.scheme != "float":
            weight = _read(job, f"{name}.weight")
            yield name, quantize_layer(name, weight, scheme, method=job.choice.method, learned_scale=job.learned(name))
            _log.debug("%s: %s", name, scheme.scheme)


def _read(job: _Job, name: str) -> torch.Tensor:
    tensor = job.reader.get(name)
    check_finite(name, tensor, job.source / WEIGHTS_FILE)
    return tensor
