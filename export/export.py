"""Checkpoint to package: plan, lower, check the written file, measure its golden prompt, write the package."""

import gc
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from export import checks
from export.checkpoint_weights import open_weights
from export.describe import describe, template_note
from export.golden import measure_golden
from export.integers import Layer, compare_integers
from export.manifest_parts import Golden
from export.package import Source, write_package
from export.plan import ExportPlan, plan_export
from export.program import Program
from export.pte import read_pte
from export.runner import PteRunner
from export.target import PACKAGE_NAMES, find_target
from export.xnnpack import lower, write_pte
from model.checkpoint import companions, open_tensors, read_info
from model.checkpoint_info import CheckpointInfo
from model.errors import GateError
from model.files import atomic_output, check_target, working_folder
from model.tokenizer import TokenizerSpec, load_tokenizer
from model.tokenizer_parity import check_cpp_agreement
from quant.checkpoint import build_model
from quant.plan import read_plan
from quant.recipe import find_recipe

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
    zipped: bool = False,
    overwrite: bool = False,
) -> ExportSummary:
    """Lowers a quantized checkpoint into one package a target; several go to `out`/<target>/.

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
    plans = [
        plan_export(info, target, max_context=max_context, prefill_chunk=prefill_chunk, bounded=bounded)
        for target in known
    ]
    _check_tokenizer(checkpoint, info.tokenizer, info.config.vocab_size)
    if len(plans) == 1:
        return ExportSummary(packages=(_export_one(checkpoint, info, plans[0], out, out, zipped, overwrite),))
    with atomic_output(out, overwrite=overwrite, parts=parts) as partial:
        suffix = ".zip" if zipped else ""
        return ExportSummary(
            packages=tuple(
                _export_one(
                    checkpoint,
                    info,
                    plan,
                    partial / (plan.target.name + suffix),
                    out / (plan.target.name + suffix),
                    zipped,
                    False,
                )
                for plan in plans
            )
        )


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
        _log.info("running the golden prompt on the written file")
        golden = _golden(program, checkpoint, info.tokenizer, plan)
        manifest = describe(
            checkpoint,
            info,
            plan,
            golden=golden,
            program_bytes=len(pte.data),
            planned_bytes=sum(pte.method().buffer_sizes),
        )
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
            delegates=len(pte.method().delegates),
            golden_compared=golden.compared,
            golden_steps=len(golden.ids),
            noise_floor=golden.noise_floor,
            seconds=round(time.monotonic() - started, 1),
            can_chat=completion is None,
            notes=tuple(notes),
        )


def _lower_to(program: Path, checkpoint: Path, info: CheckpointInfo, plan: ExportPlan) -> None:
    assert info.tokenizer is not None
    saved = write_pte(lower(_program(checkpoint, info, plan), _constant_methods(info, info.tokenizer, plan)), program)
    gc.collect()  # the compiler's graphs are circles that hold weights; the golden prompt needs the room
    _log.info("%s: %d bytes, %d saved by storing each table once", program.name, program.stat().st_size, saved)


def _program(checkpoint: Path, info: CheckpointInfo, plan: ExportPlan) -> Program:
    """The module to lower; whoever is given it holds the only reference to a model of a byte a weight."""
    assert info.quantization is not None
    _log.info("building the integer model")
    return Program(
        build_model(checkpoint).requires_grad_(False),
        context=plan.context.tokens,
        chunk=plan.chunk,
        bounded=plan.is_bounded,
        cache_dtype=find_recipe(info.quantization.recipe).cache,
    )


def _constant_methods(
    info: CheckpointInfo, tokenizer: TokenizerSpec, plan: ExportPlan
) -> Mapping[str, int | bool | list[int]]:
    """What the phones' runner asks a program for (executorch/extension/llm/runner/llm_runner_helper.cpp, 1.5.1)."""
    methods: dict[str, int | bool | list[int]] = {
        "get_max_seq_len": plan.chunk,
        "get_max_context_len": plan.context.tokens,
        "get_vocab_size": info.config.vocab_size,
        "use_kv_cache": True,
        "use_sdpa_with_kv_cache": True,
        "enable_dynamic_shape": plan.chunk > 1,
    }
    if tokenizer.bos_id is not None:
        methods["get_bos_id"] = tokenizer.bos_id
    if tokenizer.stop_ids:
        methods["get_eos_ids"] = list(tokenizer.stop_ids)
    return methods


def check_program(program: Path, checkpoint: Path, plan: ExportPlan) -> None:
    """The export's own checks of the file that it has written.

    Raises:
        GateError: a check failed; the message names the first problem and counts the others.
    """
    pte = read_pte(program)
    method = pte.method()
    problems = [
        *checks.undelegated_products(method),
        *checks.cache_copies(method),
        *checks.stale_branch_results(method),
        *checks.cache_bytes_differ(method, plan.cache.bytes),
        *compare_integers(pte, expected_weights(checkpoint)),
    ]
    if problems:
        more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
        raise GateError(f"the lowered program failed its check: {problems[0]}{more}")


def expected_weights(checkpoint: Path) -> list[Layer]:
    """A quantized checkpoint's matrices in the order in which the program uses them, each read when it is asked for."""
    return open_weights(checkpoint).layers()


def _golden(program: Path, checkpoint: Path, spec: TokenizerSpec, plan: ExportPlan) -> Golden:
    runner = PteRunner(program, chunk=plan.chunk, context=plan.context, kernels="stock")  # as phones have them
    room = plan.context.tokens if plan.is_bounded else None
    return measure_golden(runner, load_tokenizer(checkpoint, spec), spec, room=room)
