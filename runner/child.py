"""Runs the native runner (or adb) to its end: progress passed on line by line, one JSON value read, errors by its code.

However this ends, the processes that it began end with it.
"""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from model.errors import EnvironmentFault, GateError

_NAME = "pocketlm-runner: "  # what begins its last word when it fails
_LEAVE_S = 5.0
_MOST_LINES = 20  # of what it said that are kept for an error

Progress = Callable[[str], None]


def run_json(command: Sequence[str], *, progress: Progress, environment: Mapping[str, str] | None = None) -> Any:
    """The JSON value that a command prints on stdout.

    Args:
        progress: gets each line of its stderr as it comes.
        environment: variables that it gets beside this process's own.

    Raises:
        ValueError, GateError, EnvironmentFault, MemoryError: it failed with the exit code of that kind
            (docs/architecture.md); the message is its own last line.
        ValueError: what it printed is no JSON value.
    """
    with tempfile.TemporaryFile() as answer:
        last = _run(command, answer.fileno(), progress, environment)
        answer.seek(0)
        text = answer.read().decode(errors="replace")
    try:
        return json.loads(text)
    except ValueError:
        said = text.strip()[:200] or last
        raise ValueError(f"{command[0]} printed no JSON value but {said!r}; run again with -v") from None


def _run(command: Sequence[str], stdout: int, progress: Progress, environment: Mapping[str, str] | None) -> str:
    """Runs it and returns its last line on stderr."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **(environment or {})},
            process_group=0,  # a terminal's Ctrl-C is for the parent, which then ends all of them
        )
    except OSError as error:
        raise EnvironmentFault(f"{command[0]} cannot be started ({error.strerror}); is it installed?") from None
    lines: list[str] = []
    try:
        assert process.stderr is not None
        for line in process.stderr:
            lines = [*lines[1 - _MOST_LINES :], line.rstrip()]
            if not line.startswith(_NAME):
                progress(line.rstrip())
        code = process.wait()
    finally:
        end(process)
    if code:
        raise _error(code, command[0], lines)
    return lines[-1] if lines else ""


def end(process: "subprocess.Popen[Any]") -> None:
    """Ends a process that leads a group, and its group; does nothing where it has ended."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.stderr is not None:
        process.stderr.close()


def _error(code: int, name: str, lines: Sequence[str]) -> Exception:
    own = [line.removeprefix(_NAME) for line in lines if line.startswith(_NAME)]
    said = own[-1] if own else next((line for line in reversed(lines) if line.strip()), "it said nothing")
    if code == 5 or (code == -signal.SIGKILL and not own):
        return MemoryError(said if own else "the native runner was killed")
    if code < 0:
        return ValueError(f"{name} ended by {signal.Signals(-code).name}: {said}; run again with -v")
    kinds: dict[int, type[Exception]] = {3: GateError, 4: EnvironmentFault}
    return kinds.get(code, ValueError)(said)
