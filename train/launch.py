"""Starts the processes of one run on this machine, and ends all of them when one ends badly.

Knows nothing of training; standard library only. Several machines are torchrun's business.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TextIO

from model.errors import EnvironmentFault
from train.team import LIFELINE, STORE

_POLL_S = 0.05
GRACE_S = 30.0  # for a process to end by itself after another one has, and again after SIGTERM


class Child(Protocol):
    """What is asked of a process; `subprocess.Popen` has it."""

    pid: int

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...


def launch(argv: Sequence[str], processes: int, out: TextIO, err: TextIO) -> int:
    """Runs `python -m cli ARGV` as so many processes of one team, and returns the exit code of the whole.

    That is the code of the process that failed first; of one that a signal killed, what the others made of it.

    Args:
        out: what becomes their stdout, a file of the operating system; `err` their stderr.

    Raises:
        EnvironmentFault: a signal has ended a process, and nobody has said so.
    """
    reading, writing = os.pipe()
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryDirectory(prefix="pocketlm-") as folder, contextlib.ExitStack() as stack:
        stack.callback(os.close, writing)
        common = os.environ | {
            "PYTHONPATH": path,
            "WORLD_SIZE": str(processes),
            "LOCAL_WORLD_SIZE": str(processes),
            STORE: str(Path(folder) / "store"),
            LIFELINE: str(reading),
        }
        # They talk on this machine only, and a machine without a network has no other way.
        common.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
        children: list[subprocess.Popen[bytes]] = []
        try:
            for rank in range(processes):
                children.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "cli", *argv],
                        env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                        pass_fds=(reading,),
                        stdout=out,
                        stderr=err,
                    )
                )
            os.close(reading)
            return _verdict(watch(children))
        finally:
            _end(children)


def watch(children: Sequence["Child"]) -> list[int]:
    """Until all have ended, which they soon must after one has failed; their exit codes in the order of their ends.

    Those that had to be ended are left out.
    """
    codes: dict[int, int] = {}  # by process
    failed: float | None = None
    while len(codes) < len(children) and (failed is None or time.monotonic() - failed < GRACE_S):
        try:
            time.sleep(_POLL_S)
            for child in children:
                if child.pid not in codes and (code := child.poll()) is not None:
                    codes[child.pid] = code
                    failed = failed if failed is not None or not code else time.monotonic()
        except KeyboardInterrupt:  # a terminal tells them all; they end by themselves and say so
            for child in children:
                _send(child, signal.SIGINT)
    late = [child for child in children if child.pid not in codes]
    _end(late)
    told = 128 + signal.SIGTERM  # which nobody needs to be told of
    return [*codes.values(), *(code for child in late if (code := child.poll()) is not None and 0 < code != told)]


def _verdict(codes: Sequence[int]) -> int:
    """The exit code of the whole.

    Raises:
        EnvironmentFault: a signal has ended a process, and nobody has said so.
    """
    said, killed = [code for code in codes if code > 0], [-code for code in codes if code < 0]
    if killed and not said:
        raise EnvironmentFault(
            f"a process of this run was ended by signal {killed[0]} (killed, or out of memory?); start again with "
            "--resume"
        )
    return said[0] if said else 0


def _end(children: Sequence["Child"]) -> None:
    """SIGTERM, patience, SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for child in children:
            if child.poll() is None:
                _send(child, number)
        end = time.monotonic() + GRACE_S
        for child in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, end - time.monotonic()))


def _send(child: "Child", number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(number)
