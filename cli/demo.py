"""`pocketlm demo`: the whole job on a small random model, with a line a step and a table at the end."""

from pathlib import Path

import click

from cli.command import PocketCommand
from cli.options import PATH, json_option
from cli.terminal import Terminal


@click.command(cls=PocketCommand, short_help="The whole job on a small random model.", example="pocketlm demo")
@click.argument("folder", type=PATH, default=Path("demo"))
@json_option
@click.pass_obj
def demo(terminal: Terminal, folder: Path, as_json: bool) -> None:
    """Convert, quantize, export, inspect and run a small model with random weights, all into FOLDER (default: demo).

    The weights are random, so the text is noise; everything else is as with a trained model.
    """
    from cli.demo_steps import run_demo

    result = run_demo(terminal, folder)
    terminal.result(result.data, result.lines, as_json=as_json)
