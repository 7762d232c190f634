"""The command line `pocketlm`: a group of verbs, each in a file by subject. Loads no torch until a command needs it."""

import signal
import sys
from collections.abc import Sequence

import click

from cli.bench import bench, profile
from cli.checkpoints import convert, quantize
from cli.command import run, verbose_option
from cli.compare import compare
from cli.demo import demo
from cli.estimate import estimate
from cli.packages import export, inspect
from cli.quality import evaluate
from cli.sensitivity import sensitivity
from cli.talk import chat, generate
from cli.training import train
from cli.verify import verify

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def _show_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        from importlib import metadata

        click.echo(f"pocketlm {metadata.version('pocketlm')}")
        ctx.exit()


@click.group(
    context_settings=_CONTEXT,
    epilog="Start with 'pocketlm demo', or with your own checkpoint: convert, quantize, export, then chat.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@verbose_option
def pocketlm() -> None:
    """Small language models as INT4 .pte packages for phones.

    A checkpoint is converted, quantized and exported; the package then talks here as it will on the phone.
    Results go to stdout (as JSON with --json), everything else to stderr.
    """


for _command in (
    convert, quantize, export, estimate, generate, chat, inspect, verify, evaluate, compare, sensitivity,
    bench, profile, train, demo,
):  # fmt: skip
    pocketlm.add_command(_command)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line; the returned number is the process's exit code."""
    if argv is not None:
        return run(pocketlm, argv)
    code = run(pocketlm, sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said and done; the interpreter may take a second to end
    return code


if __name__ == "__main__":
    sys.exit(main())
