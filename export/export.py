"""Checkpoint to package: plan, lower, check the written file, measure its golden prompt, write the package."""

import logging
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from export.checkpoint_weights import open_weights
from export.describe import describe, template_note
from export.golden import UNMEASURED, measure_golden
from export.integers import Layer
from export.manifest import Manifest
from export.manifest_parts import Golden
from export.package import Source, write_package
from export.plan import ExportPlan, plan_targets
from export.pte import read_pte
from export.static_layout import Methods
from export.target import COREML, PACKAGE_NAMES, find_target
from model.checkpoint import companions, open_tensors, read_info
from model.checkpoint_info import CheckpointInfo
from model.errors import GateError
from model.files import atomic_output, check_target, working_folder
from model.tokenizer import TokenizerSpec, load_tokenizer
from model.tokenizer_parity import check_cpp_agreement
from quant.plan import read_plan

_log = logging.getLogger("pocketlm")


@dataclass(frozen=True, kw_only=True)
class PackageSummary:
    """One package that was written."""

    target: str
    output: str
    recipe: str
    context: int
    context_kind: str
    chunk: int
    parameters: int
    program_bytes: int
    cache_bytes: int
    delegates: int
    golden_compared: int
    golden_steps: int
    noise_floor: float
    seconds: float
    can_chat: bool  # False: the package only continues text
    notes: tuple[str, ...]  # logged before the lowering


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """What `export` made, for people and programs."""

    packages: tuple[PackageSummary, ...]

    def to_json(self) -> dict[str, Any]:
        return {"packages": [asdict(package) for package in self.packages]}

    def lines(self) -> list[str]:
        """One package in three lines."""
        return [line for package in self.packages for line in _package_lines(package)]


def _package_lines(made: PackageSummary) -> list[str]:
    return [
        f"{made.output}: {made.target}, recipe {made.recipe}, {made.parameters:,} parameters, "
        f"{made.program_bytes:,} bytes of program in {made.delegates} delegates, {made.seconds:.0f} s",
        f"  {made.context_kind} context of {made.context:,} tokens, chunk {made.chunk}, "
        f"{made.cache_bytes:,} bytes of cache",
        f"  golden prompt: {made.golden_compared} of {made.golden_steps} ids stand above the noise floor "
        f"{made.noise_floor:.4g}",
    ]


def export_package(
    checkpoint: Path,
    out: Path,
    *,
    targets: tuple[str, ...] = ("xnnpack",),
    max_context: int | None = None,
    prefill_chunk: int | None = None,
    bounded: bool = False,
    methods: Methods | None = None,
    allow_lint: tuple[str, ...] = (),
    zipped: bool = False,
    overwrite: bool = False,
) -> ExportSummary:
    """Lowers a quantized checkpoint into one package a target; several go to `out`/<target>/.

    Args:
        methods: of static-kv targets: "two", a prefill beside the decode step, or "one" for both.
        allow_lint: rules of the Neural Engine's lint whose findings do not fail the export.

    Raises:
        ValueError: the checkpoint is not quantized, has no tokenizer, or the options do not fit it.
        GateError: the lowered file fails one of its checks; the message names the cause and nothing is kept.
    """
    known = [find_target(name) for name in targets]
    info = read_info(checkpoint)
    read_plan(checkpoint, info)
    parts = PACKAGE_NAMES if len(known) > 1 else ()
    check_target(out, overwrite=overwrite, source=checkpoint, parts=parts)
    open_tensors(checkpoint)
    companions(checkpoint, info)
    plans = plan_targets(
        info,
        known,
        max_context=max_context,
        prefill_chunk=prefill_chunk,
        bounded=bounded,
        methods=methods,
        allow_lint=allow_lint,
    )
    _check_environment(plans)
    _check_tokenizer(checkpoint, info.tokenizer, info.config.vocab_size)
    if len(plans) == 1:
        return ExportSummary(packages=(_export_one(checkpoint, info, plans[0], out, out, zipped, overwrite),))
    with atomic_output(out, overwrite=overwrite, parts=parts) as partial:
        names = [plan.target.name + (".zip" if zipped else "") for plan in plans]
        made = [
            _export_one(checkpoint, info, plan, partial / name, out / name, zipped, False)
            for plan, name in zip(plans, names, strict=True)
        ]
    return ExportSummary(packages=tuple(made))


def _check_environment(plans: list[ExportPlan]) -> None:
    if any(plan.target.backend == COREML for plan in plans):
        from export.export_coreml import check_converter

        check_converter()


def _check_tokenizer(checkpoint: Path, spec: TokenizerSpec | None, vocab_size: int) -> None:
    if spec is None:
        raise ValueError(f"{checkpoint} has no tokenizer, and a package needs one; convert from a folder that has it")
    if spec.kind == "sentencepiece" and spec.vocab_size < vocab_size:
        raise ValueError(
            f"{checkpoint}: the model's table has {vocab_size} rows, {spec.file} only {spec.vocab_size} pieces; the "
            "phones' runner crashes on an id without a piece: cut the table, or give a tokenizer.json"
        )
    load_tokenizer(checkpoint, spec)
    differing = check_cpp_agreement(checkpoint, spec)
    if differing:
        raise GateError(
            f"{checkpoint / spec.file}: the phones' C++ reader splits text differently ({'; '.join(differing[:3])}); "
            "this tokenizer cannot be shipped as it is"
        )


def _export_one(
    checkpoint: Path, info: CheckpointInfo, plan: ExportPlan, out: Path, shown: Path, zipped: bool, overwrite: bool
) -> PackageSummary:
    assert info.quantization is not None and info.tokenizer is not None
    started = time.monotonic()
    completion = template_note(checkpoint)
    notes = [*plan.notes, *([completion] if completion is not None else [])]
    for note in notes:
        _log.info("note: %s", note)
    with working_folder(out) as folder:
        program = folder / "model.pte"
        _lower_to(program, checkpoint, info, plan)
        pte = read_pte(program)
        _log.info("checking codes, scales, delegates and caches in the written file")
        check_program(program, checkpoint, plan)
        manifest = describe(
            checkpoint,
            info,
            plan,
            golden=UNMEASURED,
            program_bytes=len(pte.data),
            planned_bytes=sum(sum(pte.method(name).buffer_sizes) for name in method_names(plan)),
        )
        _log.info("running the golden prompt on the written file")
        manifest = replace(manifest, golden=_golden(program, checkpoint, info.tokenizer, plan, manifest))
        files: dict[str, Source] = {"model.pte": Source(role="program", content=program)}
        files[info.tokenizer.file] = Source(role="tokenizer", content=checkpoint / info.tokenizer.file)
        files |= {name: Source(role="licence", content=checkpoint / name) for name in info.licences}
        write_package(out, manifest=manifest, files=files, zipped=zipped, overwrite=overwrite)
        return PackageSummary(
            target=plan.target.name,
            output=str(shown),
            recipe=info.quantization.recipe,
            context=plan.context.tokens,
            context_kind=plan.context.kind,
            chunk=plan.chunk,
            parameters=info.config.num_parameters,
            program_bytes=len(pte.data),
            cache_bytes=plan.cache.bytes,
            delegates=sum(len(pte.method(name).delegates) for name in method_names(plan)),
            golden_compared=manifest.golden.compared,
            golden_steps=len(manifest.golden.ids),
            noise_floor=manifest.golden.noise_floor,
            seconds=round(time.monotonic() - started, 1),
            can_chat=completion is None,
            notes=tuple(notes),
        )


def method_names(plan: ExportPlan) -> tuple[str, ...]:
    """The methods that the plan's program has."""
    return ("forward", "prefill") if plan.methods == "two" and plan.chunk > 1 else ("forward",)


def _lower_to(program: Path, checkpoint: Path, info: CheckpointInfo, plan: ExportPlan) -> None:
    if plan.target.backend == COREML:
        from export.export_coreml import lower_to
    else:
        from export.export_xnnpack import lower_to
    lower_to(program, checkpoint, info, plan)


def check_program(program: Path, checkpoint: Path, plan: ExportPlan) -> None:
    """The export's own checks of the file that it has written.

    Raises:
        GateError: a check failed; the message names the first problem and counts the others.
    """
    if plan.target.backend == COREML:
        from export.export_coreml import problems
    else:
        from export.export_xnnpack import problems
    found = problems(program, checkpoint, plan)
    if found:
        more = f" (and {len(found) - 1} more problems)" if len(found) > 1 else ""
        raise GateError(f"the lowered program failed its check: {found[0]}{more}")


def expected_weights(checkpoint: Path) -> list[Layer]:
    """A quantized checkpoint's matrices in the order in which the program uses them, each read when it is asked for."""
    return open_weights(checkpoint).layers()


def _golden(program: Path, checkpoint: Path, spec: TokenizerSpec, plan: ExportPlan, manifest: Manifest) -> Golden:
    room = plan.context.tokens if plan.is_bounded else None
    tokenizer = load_tokenizer(checkpoint, spec)
    if plan.target.backend == COREML:
        from export.export_coreml import runner

        wider = runner(program, manifest, "fp32")
        return measure_golden(runner(program, manifest), tokenizer, spec, room=room, other=wider)
    from export.export_xnnpack import golden_runners

    stock, own = golden_runners(program, chunk=plan.chunk, context=plan.context)
    return measure_golden(stock, tokenizer, spec, room=room, other=own)
