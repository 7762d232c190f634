"""`pocketlm demo`: the whole job on the model that comes with the source, a line a step and a table at the end."""

from pathlib import Path

import click

from cli.command import PocketCommand
from cli.options import PATH, json_option
from cli.terminal import Terminal


@click.command(
    cls=PocketCommand,
    short_help="The whole job on the small model that comes with pocketlm.",
    example="pocketlm demo\npocketlm demo OTHER_FOLDER --json",
)
@click.argument("folder", type=PATH, default=Path("demo"))
@json_option
@click.pass_obj
def demo(terminal: Terminal, folder: Path, as_json: bool) -> None:
    """Quantize, export, verify, self-test and run a small trained model, all into FOLDER (default: demo).

    The model is assets/nano, 5.8 million parameters trained by `pocketlm train` on Python's standard library. It
    continues Python, in the shape of Python rather than with its sense.
    """
    from cli.demo_steps import run_demo

    result = run_demo(terminal, folder, is_quiet=as_json)
    terminal.result(result.data, result.lines, as_json=as_json)
