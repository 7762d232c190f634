"""The manifest of a package that is being made: what the checkpoint, the plan and the program say, put together."""

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from chat.template import template_from_json
from export.estimate_file import file_bytes
from export.estimate_memory import package_memory
from export.manifest import Manifest
from export.manifest_parts import Golden, Memory, Method, Model, Origin, Runner, TensorSpec, Tokenizer, record_recipe
from export.memory_coreml import coreml_memory
from export.plan import ExportPlan
from export.static_layout import static_methods
from export.strict import read
from export.target import COREML
from model.checkpoint import TEMPLATE_FILE, WEIGHTS_FILE
from model.checkpoint_info import CheckpointInfo
from model.files import dump_json, read_json, sha256_file
from quant.plan import read_plan
from quant.recipe import LayerScheme, find_recipe

_VERSIONS = ("executorch", "torch", "torchao")
_COREML_VERSIONS = ("coremltools", *_VERSIONS)


def describe(
    checkpoint: Path, info: CheckpointInfo, plan: ExportPlan, *, golden: Golden, program_bytes: int, planned_bytes: int
) -> Manifest:
    """Everything but the list of files, which `write_package` fills in.

    Args:
        program_bytes: size of the `.pte`.
        planned_bytes: what the program's memory plan reserves, caches included.
    """
    assert info.quantization is not None and info.tokenizer is not None  # export_package has seen to it
    config = info.config
    quantization = info.quantization
    schemes = read_plan(checkpoint, info)
    return Manifest(
        schema_version=1,
        target=plan.target.name,
        runner=Runner(kind=plan.target.runner_kind, min_runtime=plan.target.min_runtime),
        methods=_methods(info, plan),
        model=Model(preset=info.preset, family=info.family, parameters=config.num_parameters, config=config),
        cache=plan.cache,
        context=plan.context,
        window=plan.window,
        chunk=plan.chunk,
        files=(),
        tokenizer=read(Tokenizer, info.tokenizer.to_json()),
        template=template_from_json(read_json(checkpoint / TEMPLATE_FILE)),
        recipe=record_recipe(quantization.recipe, group_size=quantization.group_size, layers=quantization.layers),
        memory=_memory(info, plan, schemes, program_bytes=program_bytes, planned_bytes=planned_bytes),
        golden=golden,
        origin=Origin(
            source_sha256=info.source_sha256,
            checkpoint_sha256=checkpoint_sha256(checkpoint, info),
            tool_version=version("pocketlm"),
            versions={name: version(name) for name in (_COREML_VERSIONS if _is_coreml(plan) else _VERSIONS)},
            command=plan.command,
        ),
    )


def checkpoint_sha256(folder: Path, info: CheckpointInfo) -> str:
    """One hash of a checkpoint's description, weights, tokenizer and template; independent of where it lies."""
    digest = hashlib.sha256(dump_json(info.to_json()).encode())
    names = [WEIGHTS_FILE] + ([info.tokenizer.file, TEMPLATE_FILE] if info.tokenizer is not None else [])
    for name in names:
        digest.update(f"\n{name} {sha256_file(folder / name)}".encode())
    return digest.hexdigest()


def template_note(checkpoint: Path) -> str | None:
    """The line that tells of a completion-only package, or None."""
    found = read_json(checkpoint / TEMPLATE_FILE)
    if found.get("kind") != "completion":
        return None
    return f"completion only: {found['reason']}"


def _is_coreml(plan: ExportPlan) -> bool:
    return plan.target.backend == COREML


def _memory(
    info: CheckpointInfo,
    plan: ExportPlan,
    schemes: Mapping[str, LayerScheme],
    *,
    program_bytes: int,
    planned_bytes: int,
) -> Memory:
    assert info.quantization is not None and info.tokenizer is not None
    if _is_coreml(plan):
        return coreml_memory(info.config, plan, program_bytes=program_bytes, entries=info.tokenizer.vocab_size)
    needed = package_memory(
        info.config,
        schemes,
        plan,
        mapped_bytes=file_bytes(info.config, schemes, find_recipe(info.quantization.recipe), plan).mapped,
        planned_bytes=planned_bytes,
        tokenizer_entries=info.tokenizer.vocab_size,
    )
    return Memory(
        cache_bytes=plan.cache.bytes,
        program_bytes=program_bytes,
        estimated_peak_bytes=needed.in_app,
        estimate=needed.sentence,
    )


def _methods(info: CheckpointInfo, plan: ExportPlan) -> dict[str, Method]:
    """Each method's tensors; Core ML gives float16 logits."""
    if plan.methods is not None:
        return static_methods(info.config, plan.cache.layers, chunk=plan.chunk, methods=plan.methods)
    chunk, rows = plan.chunk, info.config.vocab_size
    forward = Method(
        inputs=(
            TensorSpec(name="tokens", dtype="int64", shape=(1, chunk), dynamic=(1,) if chunk > 1 else ()),
            TensorSpec(name="position", dtype="int64", shape=(1,), dynamic=()),
        ),
        outputs=(
            TensorSpec(name="logits", dtype="float16" if _is_coreml(plan) else "float32", shape=(1, rows), dynamic=()),
        ),
    )
    return {"forward": forward}
