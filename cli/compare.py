"""The command `compare`: what quantization cost, and what training won back."""

from typing import Any

import click

from cli.calibration import calibration_options
from cli.command import PocketCommand
from cli.options import PATH, json_option, kernels_option
from cli.terminal import Terminal


class _Spread(PocketCommand):
    """A command without arguments, some of whose options take several values: `--ptq a b` means `--ptq a --ptq b`."""

    many = ("--ptq", "--qat", "--tasks", "--trained-on", "--twin")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread: list[str] = []
        option, values = "", 0
        for arg in args:
            if arg.startswith("-"):
                option, values = arg, 0
            else:
                values += 1
                if values > 1 and option in self.many:
                    spread.append(option)
            spread.append(arg)
        return super().parse_args(ctx, spread)


def _names(_: click.Context, __: click.Parameter, given: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (given or "").split(",") if name.strip())


@click.command(
    cls=_Spread,
    short_help="Float, PTQ and QAT side by side, as a report with a page.",
    example=(
        "pocketlm compare --float checkpoint/ --ptq rtn/ hqq/ --qat qat/ --text valid.txt -o report/\n"
        "pocketlm compare --float checkpoint/ --qat qat/ --ptq-methods rtn,hqq,gptq --calibrate train.txt "
        "--text valid.txt -o report/"
    ),
)
@click.option("--float", "float_", type=PATH, required=True, help="The float model: a checkpoint, or a float package.")
@click.option("--ptq", type=PATH, multiple=True, help="Made of it by quantizing alone; several are fine.")
@click.option("--qat", type=PATH, multiple=True, help="Made of it with training; several are fine.")
@click.option(
    "--ptq-methods",
    metavar="NAME,NAME",
    callback=_names,
    help="Make these from --float, alike the others: rtn, rtn7, mse, hqq, gptq. One that fails is listed.",
)
@click.option("--keep", type=PATH, metavar="FOLDER", help="Keep what --ptq-methods makes, each in FOLDER/NAME.")
@calibration_options
@click.option("--text", metavar="FILE", required=True, help="What to score, as in evaluate.")
@click.option("--protocol", help="As in evaluate: lines, stories, whole or files.")
@click.option(
    "--max-tokens", type=click.IntRange(min=2), default=512, show_default=True, help="Where each document is cut."
)
@click.option("--held-out", "documents", type=PATH, help="Only what this documents.jsonl (or run) holds out.")
@click.option("--limit-documents", type=click.IntRange(min=1), help="Only so many documents.")
@click.option("--tasks", type=PATH, multiple=True, help="Questions as JSON lines; several are fine.")
@click.option("--limit", "limit_questions", type=click.IntRange(min=1), help="Only so many questions of each task.")
@click.option("--trained-on", type=PATH, multiple=True, help="As in evaluate: lists of training documents to warn by.")
@click.option(
    "--twin", "twins", metavar="QUANTIZED", type=PATH, multiple=True, help="As in evaluate: faster, and as sure."
)
@click.option(
    "--simulated-tokens",
    type=click.IntRange(min=1),
    metavar="N",
    default=2048,
    show_default=True,
    help="As in evaluate: for CoreML packages.",
)
@click.option("--select-text", metavar="FILE", help="Choose the best of several on this text.")
@click.option(
    "--select-every",
    metavar="N",
    type=click.IntRange(min=2),
    default=5,
    show_default=True,
    help="Or on every Nth document of --text, which is then not reported.",
)
@click.option(
    "--quotes/--no-quotes", default=True, show_default=True, help="Quote passages of the text where things disagree."
)
@click.option("-o", "--output", type=PATH, required=True, help="The folder for report.json, report.md and index.html.")
@click.option("--overwrite", is_flag=True, help="Replace an older report.")
@kernels_option
@json_option
@click.pass_obj
def compare(terminal: Terminal, as_json: bool, **options: Any) -> None:
    """Score a float model, quantized ones (--ptq) and trained ones (--qat) on the same tokens, and write a report.

    It says how much of the best PTQ's loss training won back, how near each is to the float model, where they disagree,
    and whether a better perplexity is only adaptation to the text. The page loads nothing and runs no script.
    """
    from cli.compare_job import compare_job

    result = compare_job(terminal, **options)
    terminal.result(result.data, result.lines, as_json=as_json)
