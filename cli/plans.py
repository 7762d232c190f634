"""Dry runs of convert and export: what would be written, from headers and shapes alone. Writes nothing."""

from math import prod
from pathlib import Path
from typing import Any

from cli.report import Result, size
from export.target import Target, find_target
from model.cache import cache_slots
from model.checkpoint import WEIGHTS_FILE, read_info
from model.checkpoint_info import CheckpointInfo
from model.config import ModelConfig, find_preset
from model.files import check_target
from model.hf import open_foreign
from quant.checkpoint import read_plan
from quant.recipe import find_recipe

_NOTHING = "nothing was written"


def plan_random(out: Path, *, preset: str, overwrite: bool) -> Result:
    """The checkpoint of random weights that `convert --preset` would write."""
    check_target(out, overwrite=overwrite)
    config = find_preset(preset)
    return _checkpoint(out, config, family="random", preset=preset, num_bytes=4 * config.num_parameters)


def plan_convert(source: Path, out: Path, *, overwrite: bool) -> Result:
    """The checkpoint that `convert` would write; every tensor is accounted for, none is read."""
    foreign = open_foreign(source)
    check_target(out, overwrite=overwrite)
    reader = foreign.reader
    num_bytes = sum(prod(reader.shape(name)) * reader.dtype(name).itemsize for name in foreign.names.values())
    return _checkpoint(out, foreign.config, family=foreign.family, preset=None, num_bytes=num_bytes)


def _checkpoint(out: Path, config: ModelConfig, *, family: str, preset: str | None, num_bytes: int) -> Result:
    data = {"dry_run": True, "output": str(out), "family": family, "preset": preset, "config": config.to_json(),
            "parameters": config.num_parameters, "bytes": num_bytes}
    lines = [f"would write {out}: {preset or family}, {config.num_parameters:,} parameters, {size(num_bytes)} of weights",
             f"  {config.num_layers} layers ({len(config.global_layers)} global), width {config.dim}, {config.num_heads} "
             f"heads of {config.head_dim} over {config.num_kv_heads} key-value heads, feed-forward {config.ffn_dim}, "
             f"vocabulary {config.vocab_size:,}", _NOTHING]
    return Result(data=data, lines=lines)


def plan_export(checkpoint: Path, out: Path, *, targets: tuple[str, ...], max_context: int | None,
                prefill_chunk: int | None, bounded: bool, zipped: bool, overwrite: bool) -> Result:
    """The packages that `export` would write: their files, weights and caches."""
    known = [find_target(name) for name in targets]
    info = read_info(checkpoint)
    read_plan(checkpoint, info)
    check_target(out, overwrite=overwrite)
    data: dict[str, Any] = {"dry_run": True, "packages": []}
    lines = []
    for target in known:
        where = out / target.name if len(known) > 1 else out
        context = target.default_context if max_context is None else max_context
        chunk = target.default_chunk if prefill_chunk is None else prefill_chunk
        plan = _package(checkpoint, info, target, context=context, chunk=chunk, bounded=bounded)
        data["packages"].append(plan | {"output": str(where), "zip": zipped})
        lines += [f"would write {where}{' (one zip)' if zipped else ''}: target {target.name}, {plan['context']['kind']} "
                  f"context of {context:,} tokens, chunk {chunk}",
                  f"  files: {', '.join(plan['files'])}; weights {size(plan['weight_bytes'])}, cache "
                  f"{size(plan['cache_bytes'])}"]
    return Result(data=data, lines=[*lines, _NOTHING])


def _package(checkpoint: Path, info: CheckpointInfo, target: Target, *, context: int, chunk: int,
             bounded: bool) -> dict[str, Any]:
    assert info.quantization is not None  # read_plan has seen to it
    recipe = find_recipe(info.quantization.recipe)
    if recipe.name not in target.recipes:
        raise ValueError(f"target {target.name} cannot hold the recipe {recipe.name}; it holds "
                         f"{', '.join(target.recipes)}: quantize again with one of them")
    tokenizer = [info.tokenizer.file] if info.tokenizer is not None else []
    return {
        "target": target.name, "recipe": recipe.name, "chunk": chunk,
        "context": {"kind": "bounded" if bounded else "endless", "tokens": context},
        "files": ["manifest.json", "model.pte", *tokenizer, *info.licences],
        "weight_bytes": (checkpoint / WEIGHTS_FILE).stat().st_size,
        "cache_bytes": cache_bytes(info.config, recipe.cache, context=context, chunk=chunk, bounded=bounded),
    }


def cache_bytes(config: ModelConfig, cache: str, *, context: int, chunk: int, bounded: bool) -> int:
    """Bytes of all caches; an INT8 head has a float32 scale and an int8 zero point beside its codes."""
    head_bytes = config.head_dim + 5 if cache == "int8" else 4 * config.head_dim
    slots = sum(cache_slots(config, layer, context=context, chunk=chunk, bounded=bounded)
                for layer in range(config.num_layers))
    return 2 * slots * config.num_kv_heads * head_bytes
