"""Proves that a package holds a checkpoint's own numbers: every code, every scale and every float left, bit for bit.

The program's bytes are the evidence; its manifest is only held against both. A float checkpoint is quantized again, a
layer at a time, by the function that `quantize` uses. What a package computes with these numbers is `inspect`'s part.
"""

import logging
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch

from chat.template import template_from_json
from export.certificate import Certificate, ComparedLayers, Found
from export.checkpoint_weights import (
    ROUNDED,
    CheckpointWeights,
    open_weights,
    other_shape,
    setting_differences,
)
from export.describe import checkpoint_sha256
from export.file_weights import read_weights
from export.float_constants import FloatConstant, FloatConstants, read_floats
from export.inspect import inspect_program
from export.inspect_coreml import is_coreml_only
from export.integers import compare_integers
from export.layer_weights import layer_order
from export.leftover import list_leftover
from export.manifest import Manifest
from export.manifest_parts import Tokenizer, layer_kind, record_recipe
from export.package import Package, open_package
from export.pte import Pte, read_pte
from export.strict import read
from export.verify_coreml import compare_coreml
from model.checkpoint import TEMPLATE_FILE, WEIGHTS_FILE, companions
from model.config import ModelConfig
from model.errors import GateError
from model.files import read_json, sha256_file
from model.rope import inverse_frequencies
from quant.integers import scale_shape
from quant.recipe import LayerScheme

_VERSIONS = ("pocketlm", "executorch", "torch", "torchao")
_SHOWN = 4  # problems that an error message tells; the report has them all
_FREQUENCY_ERROR = 1e-12  # relative: float64 powers differ in the last bits between processors (docs/numerics.md)

_log = logging.getLogger("pocketlm")


def verify_package(package: Path, checkpoint: Path, *, steps: int | None = None) -> Certificate:
    """The certificate that a package holds exactly a checkpoint's numbers.

    Args:
        package: the folder, or a zip.
        checkpoint: the quantized checkpoint that it was exported from, or the float one that this was made from, if
            that was trained for the recipe or rounded to nearest.
        steps: as `compare_package`.

    Raises:
        ValueError: no package, no checkpoint, a damaged program, or a model of another shape.
        GateError: a file is not as the manifest says, or anything compared is not equal; the message names the first
            layers with counts and places.
    """
    certificate = compare_package(package, checkpoint, steps=steps)
    refuse_problems(package, checkpoint, certificate)
    return certificate


def refuse_problems(package: Path, checkpoint: Path, certificate: Certificate) -> None:
    """Raises what `verify_package` raises when the comparison found a problem."""
    problems = certificate.problems
    if not problems:
        return
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    hint = ""
    if not certificate.same_source:
        hint = "; the manifest names another source than this checkpoint: take the one that the package was made of"
    elif certificate.checkpoint_kind == "float" and certificate.method == ROUNDED:
        hint = "; this float checkpoint was rounded to nearest: after another method give the quantized checkpoint"
    raise GateError(f"{package} is not what {checkpoint} holds: {'; '.join(problems[:_SHOWN])}{more}{hint}")


def compare_package(package: Path, checkpoint: Path, *, steps: int | None = None) -> Certificate:
    """The same comparison with its outcome as data: `problems` instead of a GateError for what is not equal.

    Args:
        steps: of a CoreML package: calls of its program that are executed and held against the eager model; 0: none;
            None: as many as `export.coreml_verify.call_sizes` chooses.

    Raises:
        ValueError: as `verify_package`; or steps for a program that is not executed here.
        GateError: a file of the package is missing or damaged by its own manifest.
    """
    with open_package(package) as opened:
        weights = open_weights(checkpoint, opened.manifest.recipe)
        different = other_shape(weights.info.config, opened.manifest.model.config)
        if different is not None:
            raise ValueError(f"{package} holds another model than {checkpoint}: {different}; give its own checkpoint")
        companions(checkpoint, weights.info)
        return _compare(opened, package.resolve().name, weights, steps)


def _compare(opened: Package, name: str, weights: CheckpointWeights, steps: int | None) -> Certificate:
    manifest, config = opened.manifest, weights.info.config
    pte = read_pte(opened.path("program"))
    _log.info("comparing every code and scale of %d matrices", len(layer_order(config)))
    norms = weights.norms()
    tokenizer, wrong_tokenizer = _compare_tokenizer(opened, weights)
    if is_coreml_only(pte):
        found = compare_coreml(pte, manifest, weights, steps)
    elif steps is not None:
        raise ValueError(f"--steps is for CoreML packages; {name} is for the target {manifest.target}: leave it out")
    else:
        found = _compare_xnnpack(pte, weights)
    report = inspect_program(pte, manifest, source=name, files=())
    problems = [*_manifest_problems(manifest, weights), *found.problems, *wrong_tokenizer, *report.problems]
    unknown = () if tokenizer is not None else ("the tokenizer: this checkpoint has none",)
    listed = next(file for file in manifest.files if file.role == "program")
    return Certificate(
        package=name,
        manifest_sha256=opened.sha256,
        program=listed.path,
        program_bytes=listed.bytes,
        program_sha256=listed.sha256,
        checkpoint=weights.folder.resolve().name,
        checkpoint_kind=weights.kind,
        weights_sha256=sha256_file(weights.folder / WEIGHTS_FILE),
        recipe=weights.quantization.recipe,
        method=weights.quantization.method,
        learned_scales=len(weights.learned),
        rounded_scales=weights.rounded_scales(),
        named_by_manifest=_is_named(manifest, weights),
        same_source=weights.info.source_sha256 == manifest.origin.source_sha256,
        layers=tuple(_count(weights)),
        is_tied=config.tied,
        norms=len(norms),
        norm_values=sum(tensor.numel() for _, tensor in norms),
        settings=found.settings,
        tokenizer_sha256=tokenizer,
        versions={name: version(name) for name in _VERSIONS},
        made_with={"pocketlm": manifest.origin.tool_version, **manifest.origin.versions},
        not_compared=(*unknown, *found.not_compared),
        problems=tuple(dict.fromkeys(problems)),
        execution=found.execution,
    )


def _compare_xnnpack(pte: Pte, weights: CheckpointWeights) -> Found:
    config = weights.info.config
    integers = compare_integers(pte, weights.layers())
    floats = read_floats(pte, dim=config.dim, head_dim=config.head_dim)
    settings, wrong_settings = _compare_settings(floats, config)
    wrong_norms = _compare_norms(floats.norms, weights.norms())
    return Found(
        problems=(*integers, *wrong_norms, *wrong_settings),
        settings=settings,
        not_compared=tuple(_not_compared(pte, floats)),
    )


def _is_named(manifest: Manifest, weights: CheckpointWeights) -> bool | None:
    if weights.kind != "quantized":
        return None
    return checkpoint_sha256(weights.folder, weights.info) == manifest.origin.checkpoint_sha256


def _manifest_problems(manifest: Manifest, weights: CheckpointWeights) -> list[str]:
    """Where the manifest says something else than the checkpoint, though every tensor has the same shape."""
    quantization = weights.quantization
    problems = [f"config: {line}" for line in setting_differences(weights.info.config, manifest.model.config)]
    made = record_recipe(quantization.recipe, group_size=quantization.group_size, layers=quantization.layers)
    said = manifest.recipe
    if (made.name, made.group_size) != (said.name, said.group_size):
        problems.append(
            f"recipe: {made.name} in groups of {made.group_size} in the checkpoint, {said.name} in groups of "
            f"{said.group_size} in the manifest"
        )
    odd = [*_unequal(made.layers, said.layers), *_unequal(made.exceptions, said.exceptions)]
    return problems + [f"{name}: the manifest's recipe for it is not the checkpoint's" for name in odd]


def _unequal(ours: Mapping[str, object], theirs: Mapping[str, object]) -> list[str]:
    return [name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)]


def _compare_norms(found: Sequence[FloatConstant], expected: Sequence[tuple[str, torch.Tensor]]) -> list[str]:
    if len(found) != len(expected):
        return [f"the program multiplies by {len(found)} vectors of norm weights, the checkpoint has {len(expected)}"]
    problems = []
    for constant, (name, tensor) in zip(found, expected, strict=True):
        ours = torch.frombuffer(bytearray(constant.content), dtype=torch.int32)
        places = (ours != tensor.contiguous().view(torch.int32)).nonzero()
        if len(places):
            problems.append(f"{name}: {len(places)} of {len(ours)} weights differ, first at [{int(places[0])}]")
    return problems


def _compare_settings(floats: FloatConstants, config: ModelConfig) -> tuple[tuple[str, ...], list[str]]:
    """What was compared with the configuration, in words, and what differs from it."""
    compared, problems = [], []
    if floats.epsilons:
        wanted = struct.pack("<f", config.norm_eps)
        wrong = [constant for constant in floats.epsilons if bytes(constant.content) != wanted]
        problems += [
            f"{c.place}: a norm adds {struct.unpack('<f', c.content)[0]!r}, the configuration says {config.norm_eps}"
            for c in wrong
        ]
        compared.append(f"{len(floats.epsilons)} norms add {config.norm_eps}")
    for constant in floats.frequencies:
        ours = torch.frombuffer(bytearray(constant.content), dtype=torch.float64)
        wanted_D = inverse_frequencies(config)
        if not torch.allclose(ours, wanted_D, rtol=_FREQUENCY_ERROR, atol=0.0):
            place = int((ours / wanted_D - 1).abs().argmax())
            problems.append(
                f"rope: frequency {place} is {float(ours[place])!r}, the configuration makes {float(wanted_D[place])!r}"
            )
        compared.append(f"{len(ours)} position frequencies, within {_FREQUENCY_ERROR:g} of the configuration's")
    return tuple(compared), problems


def _compare_tokenizer(opened: Package, weights: CheckpointWeights) -> tuple[str | None, list[str]]:
    """The tokenizer's hash, and where tokenizer and template are not the checkpoint's."""
    spec, manifest = weights.info.tokenizer, opened.manifest
    if spec is None:
        return None, []
    problems = []
    ours, theirs = sha256_file(opened.path("tokenizer")), sha256_file(weights.folder / spec.file)
    if ours != theirs:
        problems.append(f"tokenizer: {spec.file} has the sha256 {ours} in the package, {theirs} in the checkpoint")
    if read(Tokenizer, spec.to_json()) != manifest.tokenizer:
        problems.append("tokenizer: the manifest says other things of it than the checkpoint (ids of special tokens)")
    if template_from_json(read_json(weights.folder / TEMPLATE_FILE)) != manifest.template:
        problems.append("template: the manifest's chat template is not the checkpoint's")
    return ours, problems


def _count(weights: CheckpointWeights) -> Iterator[ComparedLayers]:
    """Every kind of layer in the program's order, once for each way in which it is stored."""
    kinds: dict[tuple[str, LayerScheme], list[tuple[int, int]]] = {}
    for name, shape in layer_order(weights.info.config):
        scheme = weights.plan["embedding" if name == "head" and weights.info.config.tied else name]
        kinds.setdefault((layer_kind(name), replace(scheme, reason=None)), []).append(shape)
    for (kind, scheme), shapes in kinds.items():
        is_float = scheme.scheme == "float"
        elements = sum(rows * columns for rows, columns in shapes)
        yield ComparedLayers(
            kind=kind,
            scheme=scheme.scheme,
            group_size=scheme.group_size,
            layers=len(shapes),
            codes=0 if is_float else elements,
            scales=0 if is_float else sum(math.prod(scale_shape(shape, scheme)) for shape in shapes),
            floats=elements if is_float else 0,
        )


def _not_compared(pte: Pte, floats: FloatConstants) -> Iterator[str]:
    """What no checkpoint says, or what was not looked at."""
    if not floats.epsilons or not floats.frequencies:
        yield "the norms' epsilon or the position frequencies: the program has none that can be told apart"
    constants = (*floats.norms, *floats.epsilons, *floats.frequencies)
    weights = [view for weight in read_weights(pte) for view in (weight.content, weight.scale_content)]
    yield from list_leftover(pte, [*weights, *(constant.content for constant in constants)])
    yield "the instructions and the delegates' graphs: the manifest's golden prompt runs them"
    yield "which of two matrices of one shape inside one delegate is which"
