"""The commands that measure how right a model is: `evaluate`."""

from pathlib import Path
from typing import Any

import click

from cli.command import PocketCommand
from cli.options import PATH, json_option, kernels_option
from cli.terminal import Terminal


@click.command(
    cls=PocketCommand,
    short_help="Score checkpoints and packages on text and tasks.",
    example="pocketlm evaluate checkpoint/ quantized/ package/ --text stories.txt --protocol stories\n"
    "pocketlm evaluate checkpoint/ package/ --tasks arc_easy.jsonl --limit 200",
)
@click.argument("things", metavar="THING...", type=PATH, nargs=-1, required=True)
@click.option(
    "--text", metavar="FILE", help="What to score: a text file; or a folder, JSON lines, parquet or python:stdlib."
)
@click.option(
    "--protocol",
    help="How it becomes documents: lines (of a text file, by default), stories, whole, or files (of all else).",
)
@click.option(
    "--max-tokens", type=click.IntRange(min=2), default=512, show_default=True, help="Where each document is cut."
)
@click.option(
    "--held-out", "documents", type=PATH, help="Only what this documents.jsonl (or training run) holds out, unchanged."
)
@click.option("--limit-documents", type=click.IntRange(min=1), help="Only so many documents.")
@click.option("--tasks", type=PATH, multiple=True, help="Questions as JSON lines; may be given several times.")
@click.option(
    "--delimiter", default=" ", show_default=True, help="What stands between a question and an answer that is scored."
)
@click.option("--limit", "limit_questions", type=click.IntRange(min=1), help="Only so many questions of each task.")
@click.option("--reference", type=PATH, help="What KL compares with; by default the first float checkpoint.")
@click.option(
    "--trained-on", type=PATH, multiple=True, help="The documents.jsonl (or run) that the THINGs come from, to warn by."
)
@click.option(
    "--twin",
    "twins",
    metavar="QUANTIZED",
    type=PATH,
    multiple=True,
    help="A package's quantized checkpoint: run whole chunks through a twin program, proved equal first.",
)
@click.option(
    "--simulated-tokens",
    type=click.IntRange(min=1),
    metavar="N",
    default=2048,
    show_default=True,
    help="Most tokens of the text when a CoreML package, which is simulated, is among the THINGs.",
)
@click.option("--lm-eval", metavar="TASK", multiple=True, help="A task of lm-evaluation-harness.")
@click.option("--lm-eval-path", type=PATH, help="A folder with task files (YAML) of your own for it.")
@kernels_option
@json_option
@click.pass_obj
def evaluate(terminal: Terminal, as_json: bool, things: tuple[Path, ...], **options: Any) -> None:
    """Score float checkpoints, quantized checkpoints and packages on the same text or tasks.

    Perplexity, bits per byte, KL to the float checkpoint, how often the first choice is the same, and accuracy, each
    with a 95 % interval. A package is run by the program that it ships; one for Core ML in a simulation of float16,
    on a bounded number of tokens.
    """
    if not (options["text"] or options["tasks"] or options["lm_eval"]):
        raise click.UsageError("there is nothing to score: give --text, --tasks or --lm-eval")
    from evaluation.evaluate import evaluate_things

    found = evaluate_things(things, progress=terminal.log, **options)
    terminal.result(found.to_json(), found.lines(), as_json=as_json)
