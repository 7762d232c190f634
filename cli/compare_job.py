"""What `compare` does: score, write the report, say the verdict."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.report import Result
from cli.terminal import Terminal

if TYPE_CHECKING:
    from evaluation.report import Comparison


def compare_job(
    terminal: Terminal,
    *,
    float_: Path,
    ptq: tuple[Path, ...],
    qat: tuple[Path, ...],
    select_text: str | None,
    select_every: int,
    output: Path,
    overwrite: bool,
    **scoring: Any,
) -> Result:
    """Refuses what cannot be written before anything is scored."""
    from evaluation.compare import check_output, compare, write_report
    from evaluation.compare_choice import Choosing

    check_output(output, (float_, *ptq, *qat), overwrite=overwrite)
    choosing = Choosing(text=select_text, every=select_every)
    found = compare(float_, ptq=ptq, qat=qat, choosing=choosing, progress=terminal.log, **scoring)
    write_report(found, output, overwrite=overwrite)
    return Result(data=found.to_json() | {"output": str(output)}, lines=comparison_lines(found, output))


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
