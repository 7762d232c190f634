"""What an export will make and need, before any work: parameters, bytes, memory and time. Loads no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from export.estimate_coreml import coreml_export_cost, coreml_file_bytes
from export.estimate_file import FileBytes, file_bytes
from export.estimate_memory import PackageMemory, package_memory, planned_bytes
from export.estimate_subject import Subject, find_subject
from export.manifest_parts import Memory
from export.memory_coreml import coreml_memory, coreml_memory_parts
from export.plan import ExportPlan, plan_export
from export.static_layout import Methods, static_methods
from export.target import COREML, find_target
from model.config import ModelConfig
from quant.recipe import Recipe, find_recipe

_MIB = 1 << 20
_MANIFEST = (6150, 165)  # bytes of manifest.json: in all, and for each layer
_TENSOR_LINES = 182  # of the same for each tensor of a method, where a manifest lists caches as inputs


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
    phone: Memory  # the manifest's section
    phone_parts: Mapping[str, int]  # what its peak is made of
    memory: PackageMemory | None  # of hosts; None where no host runs the package itself
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
            "phone_peak_bytes": self.phone.estimated_peak_bytes,
            "host_peak_bytes": None if self.memory is None else self.memory.in_generate,
            "host_native_peak_bytes": None if self.memory is None else self.memory.in_native_child,
            "runner_peak_bytes": None if self.memory is None else self.memory.in_runner,
            "export_peak_bytes": self.export_peak_bytes,
            "export_seconds": self.export_seconds,
            "export_machine": self.export_machine,
            "files": {
                "program": asdict(self.program),
                "tokenizer": self.tokenizer_bytes,
                "licences": self.licence_bytes,
                "manifest": self.manifest_bytes,
            },
            "memory": None if self.memory is None else asdict(self.memory),
            "phone_peak": self.phone.estimate,
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
    methods: Methods | None = None,
) -> Estimate:
    """Estimates the package of a preset or a checkpoint folder.

    Args:
        source: a name of `PRESETS`, or the path of a float or quantized checkpoint. A preset wins over a folder of its
            name; write `./name` for that.
        recipe: a name of `RECIPES`; default 8da4w-g32 (or what the target holds instead), or a checkpoint's own.
        group_size: overrides the recipe's, as in `quantize`.
        target: a name of `TARGETS`.
        max_context, prefill_chunk, bounded, methods: as in `export`.

    Raises:
        ValueError: an unknown name, a damaged checkpoint, a recipe that is not the quantized checkpoint's, or options
            that do not fit the model.
    """
    chosen = find_target(target)
    subject = find_subject(source, recipe=recipe, group_size=group_size, target=chosen)
    plan = plan_export(
        subject.info,
        chosen,
        max_context=max_context,
        prefill_chunk=prefill_chunk,
        bounded=bounded,
        methods=methods,
    )
    return _of_coreml(subject, plan) if chosen.backend == COREML else _of_xnnpack(subject, plan)


def _of_coreml(subject: Subject, plan: ExportPlan) -> Estimate:
    config = subject.info.config
    program = coreml_file_bytes(config, subject.schemes, plan)
    of_file = {"program_bytes": program.total, "entries": subject.tokenizer_entries}
    phone, parts = coreml_memory(config, plan, **of_file), coreml_memory_parts(config, plan, **of_file)
    note = "Core ML runs on no host, so nothing here was ever measured on what will run it; verify executes it in numpy"
    cost = coreml_export_cost(config, plan, program)
    return _put_together(subject, plan, program, phone, parts, None, cost, (note,))


def _of_xnnpack(subject: Subject, plan: ExportPlan) -> Estimate:
    config, quantization = subject.info.config, subject.info.quantization
    assert quantization is not None  # find_subject fills it in
    rule = find_recipe(quantization.recipe)
    program = file_bytes(config, subject.schemes, rule, plan)
    memory = package_memory(
        config,
        subject.schemes,
        plan,
        mapped_bytes=program.mapped,
        planned_bytes=planned_bytes(config, plan),
        tokenizer_entries=subject.tokenizer_entries,
    )
    phone = Memory(
        cache_bytes=plan.cache.bytes,
        program_bytes=program.total,
        estimated_peak_bytes=memory.in_app,
        estimate=memory.sentence,
    )
    cost = _export_cost(config, rule, program, memory)
    return _put_together(subject, plan, program, phone, memory.parts, memory, cost)


def _put_together(
    subject: Subject,
    plan: ExportPlan,
    program: FileBytes,
    phone: Memory,
    phone_parts: Mapping[str, int],
    memory: PackageMemory | None,
    cost: tuple[int, int],
    notes: tuple[str, ...] = (),
) -> Estimate:
    info, config = subject.info, subject.info.config
    assert info.quantization is not None  # find_subject fills it in
    return Estimate(
        source=subject.name,
        preset=info.preset,
        recipe=info.quantization.recipe,
        parameters=config.num_parameters,
        exceptions={name: scheme.reason for name, scheme in subject.schemes.items() if scheme.reason},
        plan=plan,
        program=program,
        tokenizer_bytes=subject.tokenizer_bytes,
        licence_bytes=subject.licence_bytes,
        manifest_bytes=manifest_bytes(config, plan),
        phone=phone,
        phone_parts=phone_parts,
        memory=memory,
        export_peak_bytes=cost[0],
        export_seconds=cost[1],
        notes=(*subject.notes, *plan.notes, *notes),
    )


def manifest_bytes(config: ModelConfig, plan: ExportPlan) -> int:
    """Length of manifest.json; it hangs on the golden text, too."""
    listed = 0
    if plan.target.is_static and plan.methods is not None:
        methods = static_methods(config, plan.cache.layers, chunk=plan.chunk, methods=plan.methods)
        listed = sum(len(method.inputs) + len(method.outputs) for method in methods.values())
    return _MANIFEST[0] + config.num_layers * _MANIFEST[1] + listed * _TENSOR_LINES


def _export_cost(config: ModelConfig, recipe: Recipe, program: FileBytes, memory: PackageMemory) -> tuple[int, int]:
    """Peak bytes and seconds of an export."""
    cost = _LOWERING[recipe.activations]
    held = int(cost.copies * program.total)
    run = memory.packed + memory.planned  # of the golden prompt, when the copies are gone
    num_bytes = _EXPORT_BYTES + config.num_layers * cost.layer_bytes + max(held, run)
    seconds = _EXPORT_SECONDS + config.num_layers * cost.layer_seconds + program.total / _MIB * cost.mib_seconds
    return num_bytes, round(seconds)
