"""Arguments and options that several commands share, so that one thing has one spelling."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

PATH = click.Path(path_type=Path)


def output_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """-o/--output as another spelling of the argument OUT."""
    return click.option("-o", "--output", type=PATH, help="Where to write; the same as OUT.")(function)


def write_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What every command that writes an output understands."""
    function = json_option(function)
    function = click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")(function)
    return click.option(
        "--overwrite", is_flag=True, help="Replace OUT if it is a file, an empty folder, or what pocketlm made."
    )(function)


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")(function)


def kernels_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """--kernels, for commands that run a program; it becomes $POCKETLM_KERNELS, so that child processes follow it."""

    def set_wanted(ctx: click.Context, _: click.Parameter, wanted: str | None) -> None:
        if wanted is None:
            return
        before = os.environ.get("POCKETLM_KERNELS", "")
        ctx.call_on_close(lambda: os.environ.update(POCKETLM_KERNELS=before))
        os.environ["POCKETLM_KERNELS"] = wanted

    return click.option(
        "--kernels",
        type=click.Choice(["auto", "own", "stock"]),
        callback=set_wanted,
        expose_value=False,
        help="Attention by our own kernels or ExecuTorch's stock ones. auto (as $POCKETLM_KERNELS is by default): "
        "own ones where there is a C++ compiler.",
    )(function)


def sampling_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """How the next token is chosen, and by which runner and kernels."""
    function = kernels_option(function)
    function = click.option(
        "--runner",
        type=click.Choice(["python", "native", "cpp"]),
        default="python",
        show_default=True,
        help="python: ExecuTorch's Python runtime (of a CoreML package: the verifier); native: the C++ runner that the "
        "phones use; cpp: our own native runner, built with this machine's compiler.",
    )(function)
    function = click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Makes sampling repeatable.")(function)
    function = click.option(
        "--top-p",
        type=click.FloatRange(0, 1, min_open=True),
        help="Sample from the most likely tokens that together have this probability.",
    )(function)
    return click.option(
        "--temperature",
        type=click.FloatRange(0, 2),
        default=0.0,
        show_default=True,
        help="0 always takes the likeliest token.",
    )(function)


def one_output(out: Path | None, output: Path | None) -> Path:
    """OUT or -o, exactly one.

    Raises:
        click.UsageError: none or both were given.
    """
    if out is not None and output is not None:
        raise click.UsageError(f"two outputs were given, {out} and -o {output}; keep one")
    chosen = out if out is not None else output
    if chosen is None:
        raise click.UsageError("no output was given; add a path after the input, or -o PATH")
    return chosen
