"""The commands that make checkpoints: `convert` and `quantize`."""

from pathlib import Path
from typing import Any

import click

from cli.calibration import calibration_options
from cli.command import PocketCommand
from cli.options import PATH, one_output, output_option, write_options
from cli.terminal import Terminal


@click.command(
    cls=PocketCommand,
    short_help="Hugging Face folder (or random weights) to checkpoint.",
    example=(
        "pocketlm convert ~/models/MobileLLM-Pro checkpoint/\n"
        "pocketlm convert --preset nano --seed 0 checkpoint/    (random weights, to try things out)"
    ),
)
@click.argument("source", required=False, type=PATH)
@click.argument("out", required=False, type=PATH)
@output_option
@click.option("--preset", help="Make random weights of this shape instead of reading SOURCE.")
@click.option("--seed", type=click.IntRange(min=0), help="Of the random weights (with --preset; default 0).")
@write_options
@click.pass_obj
def convert(
    terminal: Terminal,
    source: Path | None,
    out: Path | None,
    output: Path | None,
    preset: str | None,
    seed: int | None,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Read a Hugging Face folder SOURCE into a checkpoint folder OUT.

    SOURCE holds config.json, weights (safetensors, or legacy .bin) and a tokenizer: MobileLLM-Pro (llama4_text) or a
    Llama (LlamaForCausalLM). Every tensor is accounted for.
    """
    from cli.jobs import check_sources, convert_job, random_job

    if preset is not None and out is None:
        source, out = None, source
    check_sources(source, preset, seed)
    target = one_output(out, output)
    if source is not None:
        result = convert_job(source, target, overwrite=overwrite, dry_run=dry_run)
    else:
        result = random_job(str(preset), target, seed=seed or 0, overwrite=overwrite, dry_run=dry_run)
    terminal.result(result.data, result.lines, as_json=as_json)


@click.command(
    cls=PocketCommand,
    short_help="Checkpoint to quantized checkpoint.",
    example=(
        "pocketlm quantize checkpoint/ quantized/ --recipe 8da4w-g32\n"
        "pocketlm quantize checkpoint/ quantized/ --method gptq --calibrate text.txt\n"
        "pocketlm quantize checkpoint/ quantized/ --override 'layers.0.*=int8-channel' --override head=float"
    ),
)
@click.argument("source", type=PATH)
@click.argument("out", required=False, type=PATH)
@output_option
@click.option(
    "--recipe",
    help="What is quantized and how: 8da4w-g32, 4w-channel or float (default: what SOURCE was trained for, else "
    "8da4w-g32).",
)
@click.option("--group-size", type=int, help="Columns that share a scale, a multiple of 32 (default: the recipe's).")
@click.option(
    "--method",
    help="How codes and scales are chosen: rtn (the default), rtn7, mse, hqq, or gptq, which needs --calibrate. A "
    "checkpoint that was trained for a recipe keeps the grid of its training.",
)
@click.option(
    "--override",
    "overrides",
    multiple=True,
    metavar="PATTERN=SCHEME",
    help="Another scheme for some layers: int8-channel, float, int4-group or int4-channel; may be repeated, the last "
    "that matches counts.",
)
@calibration_options
@write_options
@click.pass_obj
def quantize(terminal: Terminal, source: Path, out: Path | None, output: Path | None, **options: Any) -> None:
    """Turn the checkpoint SOURCE into a quantized checkpoint OUT that holds the codes and scales themselves.

    A layer whose width the group does not divide is kept in 8 bits per channel, and the output names it.
    """
    from cli.jobs import quantize_job

    as_json = options.pop("as_json")
    result = quantize_job(source, one_output(out, output), progress=terminal.log, **options)
    terminal.result(result.data, result.lines, as_json=as_json)
