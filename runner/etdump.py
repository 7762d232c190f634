"""Reads an ETDump, the trace that ExecuTorch writes: which instruction ran when, call by call.

Knows no program: an instruction is a number. The tables are read by field number, after
executorch/devtools/etdump/etdump_schema_flatcc.fbs (1.5.1); the runtime's clock counts nanoseconds
(runtime/platform/default/posix.cpp of the same release).
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from export.flatbuffer import READ_ERRORS, Table, read_root

_IDENTIFIER = b"ED00"
_VERSION = 0
_CALL = "Method::execute"
# What the runtime calls an instruction of each kind (runtime/executor/method.cpp); anything else with an instruction's
# number happens inside of one: a kernel's own note ("native_call_...") or a delegate's operators, which have no name.
_STEPS = ("OPERATOR_CALL", "DELEGATE_CALL", "JF_CALL", "MOVE_CALL", "FREE_CALL")


@dataclass(frozen=True)
class Span:
    """A stretch of time, in nanoseconds of the runtime's clock."""

    start_ns: int
    ns: int


@dataclass(frozen=True, kw_only=True)
class Step:
    """One instruction as it ran once."""

    instruction: int
    time: Span
    inside: tuple[tuple[str, int], ...]  # a delegate's own operators and their nanoseconds


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of the method: the instructions that it ran, in their order."""

    time: Span
    steps: tuple[Step, ...]


def read_calls(path: Path, newest: int) -> list[Call]:
    """The last `newest` calls of a dump, oldest first.

    Raises:
        ValueError: the file is missing, no ETDump, damaged, or holds fewer calls.
    """
    try:
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; the runner should have written it") from None
    except ValueError:
        raise ValueError(f"{path} is empty; the runner should have written an ETDump") from None
    try:
        return _read(path, data, newest)
    except READ_ERRORS as error:
        raise ValueError(f"{path} is damaged ({error}); profile again") from None


def _read(path: Path, data: memoryview, newest: int) -> list[Call]:
    if data[8:12] == _IDENTIFIER:  # the buffer's size stands before it
        data = data[4:]
    if data[4:8] != _IDENTIFIER:
        raise ValueError(f"{path} is no ETDump: it has no {_IDENTIFIER.decode()} mark")
    root = read_root(data)
    if (version := root.integer(0, "u32")) != _VERSION:
        raise ValueError(f"{path} is an ETDump of version {version}; this reads {_VERSION}")
    found: list[Call] = []
    for run in reversed(root.tables(1)):
        if len(found) == newest:
            break
        if (call := _read_call(run)) is not None:
            found.append(call)
    if len(found) < newest:
        raise ValueError(f"{path} holds {len(found)} calls of the method; {newest} were to be traced: profile again")
    return found[::-1]


def _read_call(run: Table) -> Call | None:
    """A block of events as a call; None where it is of loading."""
    whole: Span | None = None
    steps: list[Step] = []
    inside: dict[int, list[tuple[str, int]]] = {}
    for name, instruction, delegate_name, span in _events(run):
        if name == _CALL:
            whole = span
        elif instruction < 0:
            continue
        elif name in _STEPS:  # what happened inside was written before it
            steps.append(Step(instruction=instruction, time=span, inside=tuple(inside.pop(instruction, ()))))
        elif not name and delegate_name:
            inside.setdefault(instruction, []).append((delegate_name, span.ns))
    return None if whole is None else Call(time=whole, steps=tuple(steps))


def _events(run: Table) -> Iterator[tuple[str, int, str, Span]]:
    """Name, instruction (-1: none), delegate's name and time of each profiling event, as they ended."""
    for event in run.tables(3):
        profile = event.table(0)
        if profile is not None:
            start, end = profile.integer(6, "u64"), profile.integer(7, "u64")
            yield profile.text(0), profile.integer(2, "i32", -1), profile.text(4), Span(start, max(0, end - start))
