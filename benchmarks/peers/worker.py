"""The process of one peer: a runtime with its model behind lines of JSON on stdin and stdout.

    python -m benchmarks.peers.worker '{"kind": "llama.cpp", ...}'

{"do": "write", "position": p, "tokens": n}   {"seconds": s}: n tokens from p on
{"do": "decode", "position": p, "tokens": n}  {"seconds": s}: n times one token at p
{"do": "threads", "threads": t}               {}
{"do": "save" | "restore", "path": file}      {}
The first line, without a request, is {"ready": facts}; what fails answers {"error": text}.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Protocol


class Engine(Protocol):
    """One runtime with one model and its cache."""

    def set_threads(self, threads: int) -> None:
        """For all that follows."""

    def rest(self) -> None:
        """Leaves the processor to others until the next request."""

    def write(self, tokens: list[int], position: int) -> float:
        """Seconds to run the tokens from `position` on; what was cached from there on is gone."""

    def decode(self, token: int, position: int, count: int) -> float:
        """Seconds to run the token at `position` that many times."""

    def save(self, path: Path) -> None:
        """The cache to a file."""

    def restore(self, path: Path) -> None:
        """The cache from a file."""

    def facts(self) -> dict[str, Any]:
        """Versions and settings, for the result."""


def ids(count: int, position: int) -> list[int]:
    """Token ids of these positions, the same for every peer, below 252: every vocabulary has them."""
    return [1 + 7919 * (position + index) % 251 for index in range(count)]


def open_engine(spec: dict[str, Any]) -> Engine:
    """What the description asks for; see `benchmarks.peers.processes.describe`."""
    model = Path(spec["model"])
    if spec["kind"] == "llama.cpp":
        from benchmarks.peers.llama_cpp import LlamaCpp

        folder = Path(spec["folder"])
        return LlamaCpp(folder, model, context=spec["context"], cache=spec["cache"], flash=spec["flash"])
    from benchmarks.peers.pte_engine import PteEngine

    return PteEngine(model, threads=spec["threads"], kernels=spec["kernels"], chunk=spec["chunk"])


def answer(engine: Engine, request: dict[str, Any]) -> dict[str, Any]:
    """Obeys one request."""
    do = request["do"]
    if do == "threads":
        engine.set_threads(request["threads"])
    elif do == "save":
        engine.save(Path(request["path"]))
    elif do == "restore":
        engine.restore(Path(request["path"]))
    else:
        position, count = request["position"], request["tokens"]
        if do == "decode":
            seconds = engine.decode(ids(1, position)[0], position, count)
        else:
            seconds = engine.write(ids(count, position), position)
        engine.rest()
        return {"seconds": seconds}
    return {}


def main() -> None:
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the libraries print

    def send(reply: dict[str, Any]) -> None:
        replies.write(json.dumps(reply) + "\n")
        replies.flush()

    try:
        started = time.perf_counter()
        engine = open_engine(json.loads(sys.argv[1]))
        send({"ready": engine.facts() | {"load_seconds": round(time.perf_counter() - started, 2)}})
        for line in sys.stdin:
            try:
                send(answer(engine, json.loads(line)))
            except ValueError as error:
                send({"error": str(error)})
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        send({"error": f"{type(error).__name__}: {error}"})
    replies.flush()
    os._exit(0)  # without the destructors of what the libraries have loaded


if __name__ == "__main__":
    main()
