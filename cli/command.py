"""What all commands share: -v anywhere, a quiet terminal of their own, an example in the help, errors as exit codes."""

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

import click

from cli.errors import describe, exit_code
from cli.terminal import own_terminal

_VERBOSE = "pocketlm.verbose"
_CLEANUP_S = 5.0  # after that, Ctrl-C interrupts again


def verbose_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """-v on the group or after the sub-command: both mean the whole call."""

    def remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            ctx.meta[_VERBOSE] = True

    return click.option(
        "-v",
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=remember,
        help="Show what libraries print, and tracebacks.",
    )(function)


class PocketCommand(click.Command):
    """A command whose function gets a `Terminal` as its context's object and whose help ends with an example."""

    def __init__(self, *, example: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.example = example
        verbose_option(self)

    def invoke(self, ctx: click.Context) -> Any:
        with own_terminal(is_verbose=ctx.meta.get(_VERBOSE, False)) as terminal:
            import numpy  # noqa: F401  before torch, whose C++ would import it and swallow a Ctrl-C meanwhile

            ctx.obj = terminal
            return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Example"):
            for line in self.example.splitlines():
                formatter.write(f"  {line}\n")


def run(group: click.Group, argv: Sequence[str]) -> int:
    """Runs the command line and returns its exit code; what failed is one line on stderr."""
    with _patient_cleanup():
        return _run(group, argv)


def _run(group: click.Group, argv: Sequence[str]) -> int:
    ctx: click.Context | None = None
    try:
        with _termination_unwinds(), group.make_context("pocketlm", list(argv) or ["--help"]) as ctx:
            group.invoke(ctx)
        if sys.stdout is not None:  # None: started with it closed
            sys.stdout.flush()
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except BrokenPipeError:  # the reader has seen enough (`| head`)
        _forget_stdout()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  (the one place that turns errors into exit codes)
        if ctx is not None and ctx.meta.get(_VERBOSE):
            traceback.print_exception(error)
        click.echo(f"pocketlm: error: {describe(error)}", err=True)
        return exit_code(error)
    return 0


@contextlib.contextmanager
def _patient_cleanup() -> Iterator[None]:
    """One Ctrl-C interrupts; those that impatience adds while things are cleaned up do nothing."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # ignored (nohup), or a caller's own
        yield
        return
    first: float | None = None

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if first is None or time.monotonic() - first > _CLEANUP_S:
            first = time.monotonic()
            signal.default_int_handler(number, frame)

    try:
        signal.signal(signal.SIGINT, interrupt)
    except ValueError:  # not in the main thread: a test
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def _termination_unwinds() -> Iterator[None]:
    """SIGTERM unwinds like Ctrl-C does, so that half-written output is removed."""

    def leave(number: int, _: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    try:
        before = signal.signal(signal.SIGTERM, leave)
    except ValueError:  # not in the main thread: a test
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _forget_stdout() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # or the interpreter complains when it flushes at exit
    os.close(nowhere)
