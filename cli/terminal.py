"""Where the program speaks: results on stdout, the rest on stderr, and neither is spoilt by what libraries print.

While a command runs, file descriptors 1 and 2 belong to the libraries (Python's and C++'s): they go nowhere, or with
-v to stderr. The program itself writes to copies of the original descriptors, so `--json` stays one JSON value.
"""

import contextlib
import ctypes
import faulthandler
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TextIO

from model.files import dump_json

CLEAR_LINE = "\r\033[K"

# The packages whose log records are the program's own words.
OWN_LOGGERS = ("benchmarks", "chat", "cli", "evaluation", "export", "model", "pocketlm", "quant", "train")


class OwnLog(logging.StreamHandler[TextIO]):
    """The program's own log on stderr: a line a record, or during a step its newest record behind the step's label."""

    label = ""  # of the running step; "" outside of one

    def emit(self, record: logging.LogRecord) -> None:
        if not self.label or record.levelno >= logging.WARNING:
            super().emit(record)
        elif self.stream.isatty():
            line = f"{self.label}: {record.getMessage()}"
            self.stream.write(f"{CLEAR_LINE}{line[: shutil.get_terminal_size().columns - 1]}")
            self.flush()


@dataclass(frozen=True, kw_only=True)
class Terminal:
    """The two streams of one command."""

    out: TextIO
    err: TextIO
    is_verbose: bool = False
    own_log: OwnLog | None = None

    def result(self, data: Any, lines: Iterable[str], *, as_json: bool) -> None:
        """Prints a command's result: one JSON value for programs, or lines for people."""
        self.write(dump_json(data) if as_json else "".join(f"{line}\n" for line in lines))

    def write(self, text: str) -> None:
        self.out.write(text)
        self.out.flush()

    def log(self, line: str) -> None:
        self.err.write(f"{line}\n")
        self.err.flush()

    def bold(self, text: str, stream: TextIO | None = None) -> str:
        """The text, emphasised on a terminal (https://no-color.org: any NO_COLOR that is not empty turns it off)."""
        if not (stream or self.out).isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            return text
        return f"\033[1m{text}\033[0m"

    @contextlib.contextmanager
    def step(self, label: str) -> Iterator[None]:
        """One line on stderr with the seconds that the block took; on a terminal it shows what is being done."""
        start, is_screen = time.monotonic(), self.err.isatty()
        if is_screen:
            self.err.write(f"{label} ...")
            self.err.flush()
        if self.own_log is not None and not self.is_verbose:
            self.own_log.label = label
        try:
            yield
        except BaseException:
            if is_screen:
                self.err.write("\n")
            raise
        finally:
            if self.own_log is not None:
                self.own_log.label = ""
        done = f"{label} {'.' * max(3, 60 - len(label))} {time.monotonic() - start:6.1f} s"
        self.log(f"{CLEAR_LINE}{done}" if is_screen else done)


@contextlib.contextmanager
def own_terminal(*, is_verbose: bool) -> Iterator[Terminal]:
    """Takes the descriptors 1 and 2 away from the libraries for the time of the block."""
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(_own_copy(sys.stdout, 1))
        err = stack.enter_context(_own_copy(sys.stderr, 2))
        if err is not sys.stderr and not faulthandler.is_enabled():
            faulthandler.enable(err)  # a crash in C++ must not be silent
            stack.callback(faulthandler.disable)
        stack.enter_context(_chatter_to(err if is_verbose else None))
        own_log = stack.enter_context(_own_log(err))
        yield Terminal(out=out, err=err, is_verbose=is_verbose, own_log=own_log)


@contextlib.contextmanager
def _own_copy(stream: TextIO | None, descriptor: int) -> Iterator[TextIO]:
    if stream is None:  # started with the descriptor closed
        with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123
            yield nowhere
    elif _descriptor(stream) != descriptor:  # a test's or a caller's own stream
        yield stream
    else:
        stream.flush()
        with os.fdopen(os.dup(descriptor), "w", encoding=stream.encoding, errors="backslashreplace") as copy:
            yield copy


@contextlib.contextmanager
def _chatter_to(stream: TextIO | None) -> Iterator[None]:
    target = os.open(os.devnull, os.O_WRONLY) if stream is None else os.dup(_descriptor(stream, 2))
    saved = {descriptor: _duplicate(descriptor) for descriptor in (1, 2)}
    python_streams = sys.stdout, sys.stderr
    sink = os.fdopen(target, "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    for descriptor in saved:
        os.dup2(target, descriptor)
    sys.stdout = sys.stderr = sink
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # what C still buffers belongs to the libraries, too
        sys.stdout, sys.stderr = python_streams
        for descriptor, copy in saved.items():
            if copy is None:
                os.close(descriptor)
            else:
                os.dup2(copy, descriptor)
                os.close(copy)
        sink.close()


@contextlib.contextmanager
def _own_log(err: TextIO) -> Iterator[OwnLog]:
    handler = OwnLog(err)
    handler.setFormatter(logging.Formatter("%(message)s"))
    loggers = [logging.getLogger(name) for name in OWN_LOGGERS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        yield handler
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


def _descriptor(stream: TextIO, default: int = -1) -> int:
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return default


def _duplicate(descriptor: int) -> int | None:
    try:
        return os.dup(descriptor)
    except OSError:  # closed by whoever started us
        return None
