"""Dry runs of convert and export: what would be written, from headers and shapes alone. Writes nothing."""

from math import prod
from pathlib import Path
from typing import Any

from cli.report import Result, size
from export.plan import ExportPlan, plan_targets
from export.static_layout import Methods
from export.target import PACKAGE_NAMES, find_target
from model.checkpoint import WEIGHTS_FILE, companions, open_tensors, read_info
from model.checkpoint_info import CheckpointInfo
from model.config import ModelConfig, find_preset
from model.files import check_target
from model.hf import open_foreign
from quant.plan import read_plan

_NOTHING = "nothing was written"


def plan_random(out: Path, *, preset: str, overwrite: bool) -> Result:
    """The checkpoint of random weights that `convert --preset` would write."""
    check_target(out, overwrite=overwrite)
    config = find_preset(preset)
    return _checkpoint(out, config, family="random", preset=preset, num_bytes=4 * config.num_parameters)


def plan_convert(source: Path, out: Path, *, overwrite: bool) -> Result:
    """The checkpoint that `convert` would write; every tensor is accounted for, none is read."""
    check_target(out, overwrite=overwrite, source=source)
    foreign = open_foreign(source)
    reader = foreign.reader
    num_bytes = sum(prod(reader.shape(name)) * reader.dtype(name).itemsize for name in foreign.names.values())
    return _checkpoint(out, foreign.config, family=foreign.family, preset=None, num_bytes=num_bytes)


def _checkpoint(out: Path, config: ModelConfig, *, family: str, preset: str | None, num_bytes: int) -> Result:
    data = {
        "dry_run": True,
        "output": str(out),
        "family": family,
        "preset": preset,
        "config": config.to_json(),
        "parameters": config.num_parameters,
        "bytes": num_bytes,
    }
    lines = [
        f"would write {out}: {preset or family}, {config.num_parameters:,} parameters, {size(num_bytes)} of weights",
        f"  {config.num_layers} layers ({len(config.global_layers)} global), width {config.dim}, {config.num_heads} "
        f"heads of {config.head_dim} over {config.num_kv_heads} key-value heads, feed-forward {config.ffn_dim}, "
        f"vocabulary {config.vocab_size:,}",
        _NOTHING,
    ]
    return Result(data=data, lines=lines)


def plan_packages(
    checkpoint: Path,
    out: Path,
    *,
    targets: tuple[str, ...],
    max_context: int | None,
    prefill_chunk: int | None,
    bounded: bool,
    methods: Methods | None = None,
    allow_lint: tuple[str, ...] = (),
    zipped: bool,
    overwrite: bool,
) -> Result:
    """The packages that `export` would write: their files, weights and caches."""
    known = [find_target(name) for name in targets]
    info = read_info(checkpoint)
    read_plan(checkpoint, info)
    check_target(out, overwrite=overwrite, source=checkpoint, parts=PACKAGE_NAMES if len(known) > 1 else ())
    open_tensors(checkpoint)
    companions(checkpoint, info)
    data: dict[str, Any] = {"dry_run": True, "packages": []}
    lines = []
    plans = plan_targets(
        info,
        known,
        max_context=max_context,
        prefill_chunk=prefill_chunk,
        bounded=bounded,
        methods=methods,
        allow_lint=allow_lint,
    )
    for plan in plans:
        target = plan.target
        where = out if len(known) == 1 else out / f"{target.name}{'.zip' if zipped else ''}"
        package = _package(checkpoint, info, plan)
        data["packages"].append(package | {"output": str(where), "zip": zipped})
        lines += [
            f"would write {where}{' (one zip)' if zipped else ''}: target {target.name}, {plan.context.kind} "
            f"context of {plan.context.tokens:,} tokens, chunk {plan.chunk}",
            f"  files: {', '.join(package['files'])}; weights {size(package['weight_bytes'])}, cache "
            f"{size(plan.cache.bytes)}",
            *(f"  note: {note}" for note in plan.notes),
        ]
    return Result(data=data, lines=[*lines, _NOTHING])


def _package(checkpoint: Path, info: CheckpointInfo, plan: ExportPlan) -> dict[str, Any]:
    assert info.quantization is not None  # read_plan has seen to it
    tokenizer = [info.tokenizer.file] if info.tokenizer is not None else []
    return {
        "target": plan.target.name,
        "recipe": info.quantization.recipe,
        "chunk": plan.chunk,
        "methods": plan.methods,
        "compute_unit": plan.compute_unit,
        "context": {"kind": plan.context.kind, "tokens": plan.context.tokens},
        "files": ["manifest.json", "model.pte", *tokenizer, *info.licences],
        "weight_bytes": (checkpoint / WEIGHTS_FILE).stat().st_size,
        "cache_bytes": plan.cache.bytes,
        "notes": list(plan.notes),
    }
