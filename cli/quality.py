"""The commands that measure how right a model is: `evaluate`."""

from pathlib import Path

import click

from cli.command import PocketCommand
from cli.options import PATH, json_option
from cli.terminal import Terminal


@click.command(
    cls=PocketCommand,
    short_help="Perplexity of a checkpoint on a text.",
    example="pocketlm evaluate checkpoint/ --text stories.txt --protocol stories",
)
@click.argument("checkpoint", type=PATH)
@click.option("--text", "text_file", type=PATH, required=True, help="UTF-8 text to score.")
@click.option(
    "--protocol", default="lines", show_default=True, help="How the text becomes documents: stories, lines or whole."
)
@click.option(
    "--max-tokens", type=click.IntRange(min=2), default=512, show_default=True, help="Where each document is cut."
)
@json_option
@click.pass_obj
def evaluate(
    terminal: Terminal, checkpoint: Path, text_file: Path, protocol: str, max_tokens: int, as_json: bool
) -> None:
    """Score a float or quantized CHECKPOINT on a text: perplexity, each document by itself."""
    from evaluation.perplexity import evaluate_text

    report = evaluate_text(checkpoint, text_file, protocol, max_tokens, progress=terminal.log)
    lines = [
        f"perplexity {report['perplexity']:.4f} over {report['tokens']:,} tokens of {report['documents']:,} documents",
        f"protocol {protocol}, documents cut at {max_tokens} tokens, recipe {report['recipe'] or 'none'}, "
        f"{report['seconds']:.1f} s",
    ]
    terminal.result(report, lines, as_json=as_json)
