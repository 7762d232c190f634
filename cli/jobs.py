"""What the commands that write something do: one call into the project, then the report for people and programs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.report import Result, scheme_lines, size, tree_bytes

if TYPE_CHECKING:
    from export.static_layout import Methods
    from quant.ptq import Summary


def convert_job(source: Path, out: Path, *, overwrite: bool, dry_run: bool) -> Result:
    """Foreign checkpoint to checkpoint."""
    if dry_run:
        from cli.plans import plan_convert

        return plan_convert(source, out, overwrite=overwrite)
    from model.convert import convert

    convert(source, out, overwrite=overwrite)
    return _checkpoint_report(out)


def random_job(preset: str, out: Path, *, seed: int, overwrite: bool, dry_run: bool) -> Result:
    """A preset's shape with seeded random weights."""
    if dry_run:
        from cli.plans import plan_random

        return plan_random(out, preset=preset, overwrite=overwrite)
    from model.checkpoint import random_checkpoint
    from model.config import find_preset

    random_checkpoint(find_preset(preset), out, seed=seed, overwrite=overwrite)
    return _checkpoint_report(out)


def quantize_job(
    source: Path,
    out: Path,
    *,
    recipe: str | None = None,
    group_size: int | None = None,
    method: str | None = None,
    overrides: Sequence[str] = (),
    overwrite: bool,
    dry_run: bool,
    progress: Callable[[str], None] | None = None,
    **calibration: Any,
) -> Result:
    """Checkpoint to quantized checkpoint; `calibration` is what `cli.calibration.read_calibration` takes."""
    from cli.calibration import read_calibration
    from model.files import check_target
    from quant.checkpoint import plan_checkpoint, quantize_checkpoint
    from quant.recipe import read_overrides

    check_target(out, overwrite=overwrite, source=source)
    departures = read_overrides(overrides)
    documents = read_calibration(source, **calibration) if calibration else None
    if dry_run:
        summary = plan_checkpoint(
            source,
            recipe=recipe,
            group_size=group_size,
            method=method,
            overrides=departures,
            calibration=documents,
        )
    else:
        summary = quantize_checkpoint(
            source,
            out,
            recipe=recipe,
            group_size=group_size,
            method=method,
            overrides=departures,
            calibration=documents,
            overwrite=overwrite,
            progress=progress,
        )
    return _quantize_report(summary, out, dry_run=dry_run)


def _quantize_report(summary: "Summary", out: Path, *, dry_run: bool) -> Result:
    verb, end = ("would write ", "nothing was written") if dry_run else ("", f"next: pocketlm export {out} package/")
    method = "" if summary.recipe == "float" else f", method {summary.method}"
    lines = [
        f"{verb}{out}: recipe {summary.recipe}{method}, {summary.parameters:,} parameters, "
        f"{size(summary.total_bytes)} of weights ({size(summary.codes_bytes)} codes, {size(summary.scales_bytes)} "
        f"scales, {size(summary.float_bytes)} float)",
        *scheme_lines(summary),
        end,
    ]
    return Result(data=summary.to_json() | {"output": str(out), "dry_run": dry_run}, lines=lines)


def export_job(
    checkpoint: Path,
    out: Path,
    *,
    targets: tuple[str, ...],
    max_context: int | None,
    prefill_chunk: int | None,
    bounded: bool,
    methods: "Methods | None" = None,
    allow_lint: tuple[str, ...] = (),
    zipped: bool,
    overwrite: bool,
    dry_run: bool,
) -> Result:
    """Quantized checkpoint to packages."""
    if dry_run:
        from cli.plans import plan_packages

        return plan_packages(
            checkpoint,
            out,
            targets=targets,
            max_context=max_context,
            prefill_chunk=prefill_chunk,
            bounded=bounded,
            methods=methods,
            allow_lint=allow_lint,
            zipped=zipped,
            overwrite=overwrite,
        )
    from export.export import export_package

    summary = export_package(
        checkpoint,
        out,
        targets=targets,
        max_context=max_context,
        prefill_chunk=prefill_chunk,
        bounded=bounded,
        methods=methods,
        allow_lint=allow_lint,
        zipped=zipped,
        overwrite=overwrite,
    )
    made = summary.packages[0]
    command = f"chat {made.output}" if made.can_chat else f'generate {made.output} "Once upon a time"'
    proof = f"proof: pocketlm verify {made.output} --against {checkpoint}"
    return Result(data=summary.to_json(), lines=[*summary.lines(), proof, f"next: pocketlm {command}"])


def check_sources(source: Path | None, preset: str | None, seed: int | None) -> None:
    """Refuses what `convert` cannot mean.

    Raises:
        click.UsageError: neither or both of SOURCE and --preset, or --seed without --preset.
    """
    if (source is None) == (preset is None):
        raise click.UsageError("give SOURCE and OUT to read a checkpoint, or --preset NAME and OUT for random weights")
    if preset is None and seed is not None:
        raise click.UsageError("--seed belongs to --preset; weights that are read have no seed")


def _checkpoint_report(out: Path) -> Result:
    """What a float checkpoint holds and what to do with it next."""
    from model.checkpoint import TEMPLATE_FILE, read_info
    from model.files import read_json

    info = read_info(out)
    config = info.config
    template = read_json(out / TEMPLATE_FILE) if (out / TEMPLATE_FILE).is_file() else None
    lines = [
        f"{out}: {info.preset or info.family}, {config.num_parameters:,} parameters, {config.num_layers} layers "
        f"({len(config.global_layers)} global), {size(tree_bytes(out))}"
    ]
    if info.tokenizer is None:
        lines.append("no tokenizer: text cannot be scored or generated")
    elif template is None or template["kind"] == "completion":
        lines.append("no chat template, so it continues text" + (f": {template['reason']}" if template else ""))
    if info.learned_scales:
        lines.append("learned scales are kept")
    data = info.to_json() | {
        "output": str(out),
        "parameters": config.num_parameters,
        "bytes": tree_bytes(out),
        "template": template,
    }
    return Result(data=data, lines=[*lines, f"next: pocketlm quantize {out} quantized/"])
