"""The manifest of a package that is being made: what the checkpoint, the plan and the program say, put together."""

import hashlib
from importlib.metadata import version
from pathlib import Path

from chat.template import template_from_json
from export.estimate_file import file_bytes
from export.estimate_memory import package_memory
from export.manifest import Manifest
from export.manifest_parts import Golden, Memory, Method, Model, Origin, Runner, TensorSpec, Tokenizer, record_recipe
from export.plan import ExportPlan
from export.strict import read
from model.checkpoint import TEMPLATE_FILE, WEIGHTS_FILE
from model.checkpoint_info import CheckpointInfo
from model.files import dump_json, read_json, sha256_file
from quant.plan import read_plan
from quant.recipe import find_recipe

_VERSIONS = ("executorch", "torch", "torchao")


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
    needed = package_memory(
        config,
        schemes,
        plan,
        mapped_bytes=file_bytes(config, schemes, find_recipe(quantization.recipe), plan).mapped,
        planned_bytes=planned_bytes,
        tokenizer_entries=info.tokenizer.vocab_size,
    )
    return Manifest(
        schema_version=1,
        target=plan.target.name,
        runner=Runner(kind=plan.target.runner_kind, min_runtime=plan.target.min_runtime),
        methods={"forward": _forward(plan.chunk, config.vocab_size)},
        model=Model(preset=info.preset, family=info.family, parameters=config.num_parameters, config=config),
        cache=plan.cache,
        context=plan.context,
        window=plan.window,
        chunk=plan.chunk,
        files=(),
        tokenizer=read(Tokenizer, info.tokenizer.to_json()),
        template=template_from_json(read_json(checkpoint / TEMPLATE_FILE)),
        recipe=record_recipe(quantization.recipe, group_size=quantization.group_size, layers=quantization.layers),
        memory=Memory(
            cache_bytes=plan.cache.bytes,
            program_bytes=program_bytes,
            estimated_peak_bytes=needed.in_app,
            estimate=needed.sentence,
        ),
        golden=golden,
        origin=Origin(
            source_sha256=info.source_sha256,
            checkpoint_sha256=checkpoint_sha256(checkpoint, info),
            tool_version=version("pocketlm"),
            versions={name: version(name) for name in _VERSIONS},
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


def _forward(chunk: int, vocab_size: int) -> Method:
    return Method(
        inputs=(
            TensorSpec(name="tokens", dtype="int64", shape=(1, chunk), dynamic=(1,) if chunk > 1 else ()),
            TensorSpec(name="position", dtype="int64", shape=(1,), dynamic=()),
        ),
        outputs=(TensorSpec(name="logits", dtype="float32", shape=(1, vocab_size), dynamic=()),),
    )
