"""The peers' processes, driven from outside: each is started once, stays loaded, and waits while another is timed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from benchmarks.peers.catalogue import CONTEXT, Peer, model_path
from benchmarks.peers.export_llm import chunk_of
from benchmarks.peers.worker import ids
from model.config import ModelConfig

ROOT = Path(__file__).resolve().parents[2]


class Lane(Protocol):
    """A peer with a number of threads: what is timed."""

    peer: Peer
    threads: int
    talk: "Talk"

    def write(self, tokens: int, position: int) -> float:
        """Seconds to run that many tokens from `position` on."""

    def decode(self, tokens: int, position: int) -> float:
        """Seconds to run one token at `position` that many times."""


class Talk:
    """Lines of JSON to and from a child process.

    Raises:
        ValueError: the child ends or answers with an error; the message names it.
    """

    def __init__(self, name: str, command: list[str], *, threads: int, log: IO[str]) -> None:
        # torch's pool, which stock kernels use in Python; ExecuTorch's own pool is set in the process.
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
        self.name = name
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        self.facts: dict[str, Any] = self._receive()["ready"]

    def ask(self, **request: Any) -> dict[str, Any]:
        """Sends a request and waits for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._receive()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ValueError(f"the process of {self.name} has ended with {self._process.wait()}; its log says why")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ValueError(f"{self.name}: {answer['error']}")
        return answer

    def memory_mib(self) -> dict[str, int]:
        """Resident memory now and at its peak, and the part that is no file's page."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8")
        values = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        keys = {"resident": "VmRSS", "anonymous": "RssAnon", "peak": "VmHWM"}
        return {name: int(values[key].split()[0]) // 1024 for name, key in keys.items()}

    def close(self) -> None:
        """Ends the process: its requests end."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


class WorkerLane:
    """A lane of benchmarks/peers/worker.py; lanes of llama.cpp with other threads share the process and its cache."""

    def __init__(self, peer: Peer, threads: int, talk: Talk) -> None:
        self.peer, self.threads, self.talk = peer, threads, talk

    def write(self, tokens: int, position: int) -> float:
        self.talk.ask(do="threads", threads=self.threads)
        return float(self.talk.ask(do="write", position=position, tokens=tokens)["seconds"])

    def decode(self, tokens: int, position: int) -> float:
        self.talk.ask(do="threads", threads=self.threads)
        return float(self.talk.ask(do="decode", position=position, tokens=tokens)["seconds"])


class NativeLane:
    """A lane of our native runner (`pocketlm-runner serve`, runner/serve.cpp), which times itself."""

    def __init__(self, peer: Peer, threads: int, talk: Talk) -> None:
        self.peer, self.threads, self.talk = peer, threads, talk

    def write(self, tokens: int, position: int) -> float:
        return float(self.talk.ask(do="prefill", ids=ids(tokens, position), position=position)["ms"]) / 1000

    def decode(self, tokens: int, position: int) -> float:
        return sum(self.write(1, position) for _ in range(tokens))


def describe(peer: Peer, threads: int, folder: Path, program: Path, config: ModelConfig, chunk: int) -> dict[str, Any]:
    """The description that `benchmarks.peers.worker` opens; `program` and `chunk` are our package's."""
    return {
        "kind": peer.kind,
        "model": str(model_path(peer, folder, program)),
        "folder": str(folder),
        "threads": threads,
        "kernels": peer.kernels,
        "chunk": chunk_of(config) if peer.model else chunk,
        "cache": peer.cache,
        "flash": peer.flash,
        "context": CONTEXT,
    }


def lanes_of(
    peer: Peer, threads: Sequence[int], describe_for: Callable[[int], dict[str, Any]], log: IO[str]
) -> list["Lane"]:
    """The peer's lanes, their processes started; llama.cpp needs one process for all numbers of threads."""
    if peer.kind == "llama.cpp":
        shared = start(peer, max(threads), describe_for(max(threads)), log)
        return [WorkerLane(peer, count, shared) for count in threads]
    lane = NativeLane if peer.kind == "native" else WorkerLane
    return [lane(peer, count, start(peer, count, describe_for(count), log)) for count in threads]


def start(peer: Peer, threads: int, described: dict[str, Any], log: IO[str]) -> Talk:
    """Starts the peer's process and waits until its model is loaded."""
    if peer.kind == "native":
        from runner.build import runner_program

        command = [str(runner_program()), "serve", described["model"], "--threads", str(threads)]
    else:
        command = [sys.executable, "-m", "benchmarks.peers.worker", json.dumps(described)]
    return Talk(f"{peer.name} ({threads} threads)", command, threads=threads, log=log)
