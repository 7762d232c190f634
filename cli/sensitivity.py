"""The command `sensitivity`: what quantizing each layer alone costs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.calibration import calibration_options, read_calibration
from cli.command import PocketCommand
from cli.options import PATH, json_option
from cli.terminal import Terminal

if TYPE_CHECKING:
    from evaluation.sensitivity_result import Sensitivity


@click.command(
    cls=PocketCommand,
    short_help="What quantizing each layer alone costs.",
    example="pocketlm sensitivity checkpoint/ --text valid.txt --protocol stories --limit-documents 50 -o costs/",
)
@click.argument("checkpoint", type=PATH)
@click.option("--text", metavar="FILE", required=True, help="What to score, as in evaluate.")
@click.option("--protocol", help="As in evaluate: lines, stories, whole or files.")
@click.option(
    "--max-tokens", type=click.IntRange(min=2), default=512, show_default=True, help="Where each document is cut."
)
@click.option("--held-out", "documents", type=PATH, help="Only what this documents.jsonl (or run) holds out.")
@click.option("--limit-documents", type=click.IntRange(min=1), help="Only so many documents.")
@click.option("--recipe", help="As in quantize: 8da4w-g32 (the default) or 4w-channel.")
@click.option("--group-size", type=int, help="As in quantize.")
@click.option("--method", help="As in quantize: rtn (the default), rtn7, mse, hqq, or gptq, which needs --calibrate.")
@calibration_options
@click.option(
    "--by",
    type=click.Choice(["layer", "kind", "block"]),
    default="layer",
    show_default=True,
    help="A row for each weight matrix, for each kind of matrix over all layers, or for all matrices of a layer.",
)
@click.option("-o", "--output", type=PATH, help="A folder for sensitivity.json and sensitivity.svg.")
@click.option("--overwrite", is_flag=True, help="Replace an older one.")
@json_option
@click.pass_obj
def sensitivity(terminal: Terminal, as_json: bool, output: Path | None, overwrite: bool, **options: Any) -> None:
    """Quantize one layer of the float CHECKPOINT at a time, and measure what that costs in KL to the float model.

    The answer is a ranked table with 95 % intervals, what activations and cache cost alone and everything together, and
    overrides for 'quantize' that keep the most costly layers in 8 bits, with what everything costs then.
    """
    found = _measure(terminal, output=output, overwrite=overwrite, **options)
    lines = found.lines() + ([] if output is None else ["", f"written: {output}"])
    terminal.result(found.to_json(), lines, as_json=as_json)


def _measure(
    terminal: Terminal,
    *,
    checkpoint: Path,
    output: Path | None,
    overwrite: bool,
    **options: Any,
) -> "Sensitivity":
    """Refuses an output that cannot be written before anything is measured."""
    from evaluation.sensitivity import measure_sensitivity, write_sensitivity
    from model.files import check_target

    if output is not None:
        check_target(output, overwrite=overwrite, source=checkpoint)
    given = {name: options.pop(name) for name in list(options) if name.startswith("calibrate")}
    documents = read_calibration(checkpoint, **given)
    found = measure_sensitivity(checkpoint, calibration=documents, progress=terminal.log, **options)
    if output is not None:
        write_sensitivity(found, output, overwrite=overwrite)
    return found
