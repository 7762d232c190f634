"""What an export will make and need, before any work: parameters, bytes, memory and time. Loads no torch."""

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from export.estimate_file import FileBytes, file_bytes
from export.estimate_memory import PackageMemory, package_memory, planned_bytes
from export.plan import ExportPlan, plan_export
from export.target import find_target
from model.checkpoint import read_info
from model.checkpoint_info import CheckpointInfo, QuantizationInfo
from model.config import PRESETS, ModelConfig
from quant.plan import choose, read_plan
from quant.recipe import LayerScheme, Recipe, find_recipe

_MIB = 1 << 20
_PRESET_ENTRY = 72  # bytes an entry of the tokenizer.json that `convert --preset` writes (32,000 entries: 71.2)
_MANIFEST = (6150, 165)  # bytes of manifest.json: in all, and for each layer


@dataclass(frozen=True, kw_only=True)
class _Lowering:
    """What an export holds in memory and how long it takes: fitted to exports of 1 to 30 layers (docs/numerics.md)."""

    layer_bytes: int
    copies: float  # of the program file's bytes, at once
    layer_seconds: float
    mib_seconds: float  # for each MiB of the program: packed, checked, hashed, run


_EXPORT_BYTES = 435 * _MIB  # torch and executorch's compiler, before any layer
_EXPORT_SECONDS = 13.0  # importing them, and what every program has
_LOWERING = {  # by what the recipe says of activations
    "int8-dynamic": _Lowering(layer_bytes=10 * _MIB, copies=5.6, layer_seconds=3.4, mib_seconds=0.13),
    "float": _Lowering(layer_bytes=4 * _MIB, copies=4.6, layer_seconds=1.75, mib_seconds=0.06),
}
_EXPORT_MACHINE = "one quiet core of an AMD EPYC (Zen 4)"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is estimated: a checkpoint's description as if it were quantized already, and the files beside it."""

    name: str
    info: CheckpointInfo
    schemes: Mapping[str, LayerScheme]
    tokenizer_bytes: int
    tokenizer_entries: int
    licence_bytes: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The whole answer; sizes in bytes."""

    source: str
    preset: str | None
    recipe: str
    parameters: int
    exceptions: Mapping[str, str]  # layer name to the reason why it departs from the recipe
    plan: ExportPlan
    program: FileBytes
    tokenizer_bytes: int
    licence_bytes: int
    manifest_bytes: int
    memory: PackageMemory
    export_peak_bytes: int
    export_seconds: int
    notes: tuple[str, ...]

    @property
    def package_bytes(self) -> int:
        return self.program.total + self.tokenizer_bytes + self.licence_bytes + self.manifest_bytes

    @property
    def export_machine(self) -> str:
        """What `export_seconds` is true of; the time carries no other promise."""
        return _EXPORT_MACHINE

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "preset": self.preset,
            "recipe": self.recipe,
            "target": self.plan.target.name,
            "context": {"kind": self.plan.context.kind, "tokens": self.plan.context.tokens},
            "chunk": self.plan.chunk,
            "parameters": self.parameters,
            "exceptions": dict(self.exceptions),
            "program_bytes": self.program.total,
            "package_bytes": self.package_bytes,
            "cache_bytes": self.plan.cache.bytes,
            "phone_peak_bytes": self.memory.in_app,
            "host_peak_bytes": self.memory.in_generate,
            "host_native_peak_bytes": self.memory.in_native_child,
            "runner_peak_bytes": self.memory.in_runner,
            "export_peak_bytes": self.export_peak_bytes,
            "export_seconds": self.export_seconds,
            "export_machine": self.export_machine,
            "files": {
                "program": asdict(self.program),
                "tokenizer": self.tokenizer_bytes,
                "licences": self.licence_bytes,
                "manifest": self.manifest_bytes,
            },
            "memory": asdict(self.memory),
            "phone_peak": self.memory.sentence,
            "notes": list(self.notes),
        }


def estimate(
    source: str,
    *,
    recipe: str | None = None,
    group_size: int | None = None,
    target: str = "xnnpack",
    max_context: int | None = None,
    prefill_chunk: int | None = None,
    bounded: bool = False,
) -> Estimate:
    """Estimates the package of a preset or a checkpoint folder.

    Args:
        source: a name of `PRESETS`, or the path of a float or quantized checkpoint. A preset wins over a folder of its
            name; write `./name` for that.
        recipe: a name of `RECIPES`; default 8da4w-g32, or a quantized checkpoint's own.
        group_size: overrides the recipe's, as in `quantize`.
        target: a name of `TARGETS`.
        max_context, prefill_chunk, bounded: as in `export`.

    Raises:
        ValueError: an unknown name, a damaged checkpoint, a recipe that is not the quantized checkpoint's, or options
            that do not fit the model.
    """
    chosen = find_target(target)
    subject = find_subject(source, recipe=recipe, group_size=group_size)
    plan = plan_export(subject.info, chosen, max_context=max_context, prefill_chunk=prefill_chunk, bounded=bounded)
    return _of_plan(subject, plan)


def _of_plan(subject: Subject, plan: ExportPlan) -> Estimate:
    info, config = subject.info, subject.info.config
    assert info.quantization is not None  # find_subject fills it in
    rule = find_recipe(info.quantization.recipe)
    program = file_bytes(config, subject.schemes, rule, plan)
    memory = package_memory(
        config,
        subject.schemes,
        plan,
        mapped_bytes=program.mapped,
        planned_bytes=planned_bytes(config, plan),
        tokenizer_entries=subject.tokenizer_entries,
    )
    export_bytes, export_seconds = _export_cost(config, rule, program, memory)
    return Estimate(
        source=subject.name,
        preset=info.preset,
        recipe=rule.name,
        parameters=config.num_parameters,
        exceptions={name: scheme.reason for name, scheme in subject.schemes.items() if scheme.reason},
        plan=plan,
        program=program,
        tokenizer_bytes=subject.tokenizer_bytes,
        licence_bytes=subject.licence_bytes,
        manifest_bytes=_MANIFEST[0] + config.num_layers * _MANIFEST[1],
        memory=memory,
        export_peak_bytes=export_bytes,
        export_seconds=export_seconds,
        notes=(*subject.notes, *plan.notes),
    )


def _export_cost(config: ModelConfig, recipe: Recipe, program: FileBytes, memory: PackageMemory) -> tuple[int, int]:
    """Peak bytes and seconds of an export."""
    cost = _LOWERING[recipe.activations]
    held = int(cost.copies * program.total)
    run = memory.packed + memory.planned  # of the golden prompt, when the copies are gone
    num_bytes = _EXPORT_BYTES + config.num_layers * cost.layer_bytes + max(held, run)
    seconds = _EXPORT_SECONDS + config.num_layers * cost.layer_seconds + program.total / _MIB * cost.mib_seconds
    return num_bytes, round(seconds)


def find_subject(source: str, *, recipe: str | None, group_size: int | None) -> Subject:
    """A preset by its name, or a checkpoint by its folder; see `estimate`."""
    if recipe is not None:
        find_recipe(recipe)
    if source in PRESETS:
        return _of_preset(source, recipe, group_size)
    folder = Path(source)
    if not folder.is_dir():
        raise ValueError(_unknown(source, folder))
    info = read_info(folder)
    if info.quantization is None:
        info, schemes = _as_quantized(info, recipe, group_size)
    else:
        _check_own_recipe(folder, info.quantization, recipe, group_size)
        schemes = read_plan(folder, info)
    spec = info.tokenizer
    notes = () if spec is not None else (f"{source} has no tokenizer; `export` will ask for one",)
    return Subject(
        name=source,
        info=info,
        schemes=schemes,
        tokenizer_bytes=_size(folder / spec.file) if spec is not None else 0,
        tokenizer_entries=spec.vocab_size if spec is not None else 0,
        licence_bytes=sum(_size(folder / name) for name in info.licences),
        notes=notes,
    )


def _of_preset(name: str, recipe: str | None, group_size: int | None) -> Subject:
    config = PRESETS[name]
    float_info = CheckpointInfo(config=config, family="random", source_sha256="", preset=name)
    info, schemes = _as_quantized(float_info, recipe, group_size)
    return Subject(
        name=name,
        info=info,
        schemes=schemes,
        tokenizer_bytes=_PRESET_ENTRY * config.vocab_size,
        tokenizer_entries=config.vocab_size,
        licence_bytes=0,
        notes=(
            f"a preset has no tokenizer: one of {_PRESET_ENTRY} bytes an entry is assumed, as `convert --preset` "
            "writes it, and no licence",
        ),
    )


def _as_quantized(
    info: CheckpointInfo, recipe: str | None, group_size: int | None
) -> tuple[CheckpointInfo, dict[str, LayerScheme]]:
    """What `quantize` would make of a float checkpoint's description."""
    choice = choose(info.preset or "the checkpoint", info, recipe=recipe, group_size=group_size)
    return replace(info, trained_for=None, quantization=choice.to_info()), dict(choice.layers)


def _check_own_recipe(folder: Path, own: QuantizationInfo, recipe: str | None, group_size: int | None) -> None:
    if recipe is not None and recipe != own.recipe:
        raise ValueError(
            f"{folder} is quantized with {own.recipe} already, not {recipe}; leave out --recipe, or give the float "
            "checkpoint that it was made from"
        )
    if group_size is not None and group_size != own.group_size:
        raise ValueError(
            f"{folder} is quantized in groups of {own.group_size} already, not {group_size}; leave out --group-size, "
            "or give the float checkpoint that it was made from"
        )


def _unknown(source: str, folder: Path) -> str:
    if folder.exists():
        return f"{source} is a file; give a preset ({', '.join(PRESETS)}) or a checkpoint folder"
    near = difflib.get_close_matches(source.lower(), PRESETS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{source!r} is neither a preset nor a checkpoint folder{hint}; presets: {', '.join(PRESETS)}"


def _size(file: Path) -> int:
    if not file.is_file():
        raise ValueError(f"{file} is missing, though checkpoint.json names it; copy the checkpoint again")
    return file.stat().st_size
