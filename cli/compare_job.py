"""What `compare` does: make what is wanted, score, write the report, say the verdict."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.calibration import read_calibration
from cli.report import Result
from cli.terminal import Terminal

if TYPE_CHECKING:
    from evaluation.report import Comparison

_CALIBRATION = ("calibrate", "calibrate_protocol", "calibrate_listed", "calibrate_tokens")


def compare_job(
    terminal: Terminal,
    *,
    float_: Path,
    ptq: tuple[Path, ...],
    qat: tuple[Path, ...],
    ptq_methods: Sequence[str],
    keep: Path | None,
    select_text: str | None,
    select_every: int,
    output: Path,
    overwrite: bool,
    **scoring: Any,
) -> Result:
    """Refuses what cannot be done or written before anything is made or scored."""
    from evaluation.baselines import check_methods, form_of, make_baselines
    from evaluation.compare import check_output, compare, write_report
    from evaluation.compare_choice import Choosing
    from evaluation.compare_inputs import read_inputs

    calibration = {name: scoring.pop(name) for name in _CALIBRATION}
    choosing = Choosing(text=select_text, every=select_every)
    check_output(output, (float_, *ptq, *qat), overwrite=overwrite)
    read_inputs(float_, ptq, qat)
    with _folder_for(output, keep) as folder:
        has_text = calibration["calibrate"] is not None
        check_methods(float_, ptq_methods, folder, has_text=has_text, overwrite=overwrite)
        documents = read_calibration(float_, **calibration) if ptq_methods else None
        form = form_of([*qat, *ptq])
        baselines = make_baselines(
            float_, ptq_methods, folder, form, calibration=documents, overwrite=overwrite, progress=terminal.log
        )
        everything = (*ptq, *baselines.made.values())
        found = compare(
            float_,
            ptq=everything,
            qat=qat,
            choosing=choosing,
            failed=baselines.failed,
            progress=terminal.log,
            **scoring,
        )
    found = baselines.name(found)
    write_report(found, output, overwrite=overwrite)
    return Result(data=found.to_json() | {"output": str(output)}, lines=comparison_lines(found, output))


@contextlib.contextmanager
def _folder_for(output: Path, keep: Path | None) -> Iterator[Path]:
    """Where PTQ things are made: in `keep`, or beside the output for as long as they are needed."""
    from model.files import working_folder

    if keep is not None:
        yield keep
    else:
        with working_folder(output) as folder:
            yield folder


def comparison_lines(found: "Comparison", output: Path) -> list[str]:
    """The verdicts, a line a thing, and where the page is."""
    from evaluation.report_words import percent, size, span

    lines = [verdict.sentence for verdict in found.verdicts]
    for row in found.rows:
        figures = row.figures
        near = ""
        if figures.kl_mean is not None and figures.agreement is not None:
            near = f", KL {span(figures.kl_mean)}, top-1 {percent(figures.agreement)}"
        lines.append(f"  {row.name} ({row.role}): perplexity {span(figures.perplexity, 3)}{near}, {size(row.bytes)}")
    lines += [f"  {one.name} ({one.role}) failed: {one.error}" for one in found.failed]
    return [*lines, f"{found.selection.rule} Page: {output / 'index.html'}"]
