"""Runs of several processes that share one loaded Python: forks of a server, watched as `pocketlm train` watches them.

A process costs a fifth of a second in place of seconds. The server is a process of its own, since pytest's has threads.
"""

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.train.killed_run import ROOT, kill_at

GRACE_S = 4.0  # for those that are left when one has failed


@dataclass(frozen=True, kw_only=True)
class Ended:
    """One process of a run."""

    code: int  # its exit code, or minus the signal that ended it
    said: str  # stdout and stderr
    value: Any  # what a called function has returned


class Server:
    """Forks the processes of a team for each request."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from tests.train.several import serve; serve()"],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self, function: str, *arguments: Any, size: int = 2) -> list[Ended]:
        """Calls "module:function" in each process with its team and the arguments, JSON values.

        The processes' ends by rank.
        """
        return self._ask({"function": function, "arguments": arguments, "size": size})

    def run(
        self,
        *argv: object,
        size: int = 2,
        folder: Path | None = None,
        kill: tuple[int, str, int] | None = None,
        number: int = signal.SIGKILL,
        limit: tuple[int, int] | None = None,
    ) -> list[Ended]:
        """Runs a command line.

        Args:
            folder: of the files that `kill` is about.
            kill: the process that a signal reaches, and where, as `tests.train.killed_run.kill_at` says it.
            number: of that signal.
            limit: a process whose files may not grow beyond so many bytes.
        """
        request = {"argv": [*map(str, argv)], "size": size, "folder": str(folder), "kill": kill, "limit": limit}
        return self._ask(request | {"number": int(number)})

    def _ask(self, request: dict[str, Any]) -> list[Ended]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return [Ended(**each) for each in json.loads(self._process.stdout.readline())]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


class Forked:
    """A fork as `train.launch` sees a process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.code: int | None = None

    def poll(self) -> int | None:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code

    def wait(self, timeout: float | None = None) -> int:
        end = time.monotonic() + (timeout or 0.0)
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            time.sleep(0.01)
        return code

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)


def serve() -> None:
    """The server's end: a request a line on stdin, an answer a line on stdout."""
    import matplotlib.figure  # noqa: F401
    import torch

    import cli.main  # noqa: F401
    import train.loop
    import train.sharded_engine  # noqa: F401
    from train import launch

    torch.set_num_threads(1)
    launch.GRACE_S = GRACE_S
    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryDirectory() as folder:
            children = [_fork(request, rank, Path(folder)) for rank in range(request["size"])]
            launch.watch(children)
            ends = [
                {
                    "code": child.poll(),
                    "said": (Path(folder) / f"said-{rank}").read_text(),
                    "value": json.loads((Path(folder) / f"value-{rank}").read_text() or "null"),
                }
                for rank, child in enumerate(children)
            ]
        print(json.dumps(ends), flush=True)


def _fork(request: dict[str, Any], rank: int, folder: Path) -> Forked:
    from train.team import STORE

    for name in ("said", "value"):
        (folder / f"{name}-{rank}").touch()
    child = os.fork()
    if child:
        return Forked(child)
    size = str(request["size"])
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    os.environ |= {STORE: str(folder / "store"), "GLOO_SOCKET_IFNAME": "lo"}
    said = os.open(folder / f"said-{rank}", os.O_WRONLY)
    os.dup2(said, 1)
    os.dup2(said, 2)
    code = 1
    try:
        code = _do(request, rank, folder / f"value-{rank}")
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _do(request: dict[str, Any], rank: int, answer: Path) -> int:
    if "argv" in request:
        import cli.main

        kill = request["kill"]
        if kill is not None:
            here = tuple(kill[1:]) if kill[0] == rank else None
            kill_at(request["folder"], here, [], number=request["number"])
        if request["limit"] is not None and request["limit"][0] == rank:
            resource.setrlimit(resource.RLIMIT_FSIZE, (request["limit"][1],) * 2)
        return cli.main.main(request["argv"])
    import traceback

    from train.team import join_team

    module, _, name = request["function"].partition(":")
    function = getattr(importlib.import_module(module), name)
    try:
        with join_team(lambda _: 1) as team:
            answer.write_text(json.dumps(function(team, *request["arguments"])))
    except Exception:  # noqa: BLE001
        traceback.print_exc()
        return 1
    return 0
