"""A package's runner as a process, for the end-to-end tests of the apps' cores: lines of JSON on stdin and stdout.

    python -m tests.apps.engine_process --kind text-llm PACKAGE     ExecuTorch's TextLLMRunner, as under LlmModule and
                                                                    TextRunner, with all that it drops and loses
    python -m tests.apps.engine_process --kind module PACKAGE       Module.execute: tensors in and out, in ExecuTorch
                                                                    or, of a CoreML package, in the verifier

A request a line; what it answers stands at each handler below. A failure is {"error": sentence, "code": ExecuTorch's
number or null} and the process goes on. Knows nothing of chats, and adds nothing to what the runner is given.
"""

import argparse
import base64
import json
import os
import queue
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from export.package import Package, open_package
from export.static_constants import is_coreml
from model.errors import EnvironmentFault, GateError
from model.tokenizer import TokenizerSpec, load_tokenizer

Request = dict[str, Any]
Answer = dict[str, Any]
_CODE = re.compile(r"\b(?:error|code)\D{0,12}?(0x[0-9a-fA-F]+|\d+)")  # as ExecuTorch's messages end


class Lines:
    """stdin as a queue, so that a stop is heard while the runner runs, and stdout that nothing else writes to."""

    def __init__(self, given: TextIO, out: TextIO, on_stop: Callable[[], None]) -> None:
        self._given, self._out = given, out
        self._on_stop = on_stop
        self._requests: queue.Queue[Request | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._given:
            request = json.loads(line)
            if request["op"] == "stop":
                self._on_stop()
            else:
                self._requests.put(request)
        self._requests.put(None)

    def next(self) -> Request | None:
        """The next request but a stop; None at the end."""
        return self._requests.get()

    def send(self, answer: Answer) -> None:
        """Writes one answer."""
        self._out.write(json.dumps(answer) + "\n")
        self._out.flush()


class TextProcess:
    """The requests of `--kind text-llm`."""

    def __init__(self, package: Package) -> None:
        self._spec = TokenizerSpec.from_json(package.manifest.to_json()["tokenizer"])
        self._tokenizer = load_tokenizer(package.folder, self._spec)
        self._program, self._file = package.path("program"), package.path("tokenizer")
        self._runner: Any = None
        self._send: Callable[[Answer], None] = lambda answer: None
        self._next: Callable[[], Request | None] = lambda: None

    def serve(self, given: TextIO, out: TextIO) -> None:
        lines = Lines(given, out, self._stop)
        self._send, self._next = lines.send, lines.next
        handlers = {
            "load": self._load,
            "count": self._count,
            "prefill": self._prefill,
            "generate": self._generate,
            "reset": self._reset,
        }
        _serve(handlers, lines)

    def _stop(self) -> None:
        if self._runner is not None:
            self._runner.stop()

    def _load(self, request: Request) -> Answer:
        """Loads the program: {"ready": true}."""
        from executorch.extension.llm.runner import GenerationConfig, TextLLMRunner

        self._runner = TextLLMRunner(str(self._program.resolve()), str(self._file.resolve()))
        warm_up = next(text for text in ("a", *self._spec.special_texts) if self._tokenizer.encode(text, first=False))
        self._runner.prefill(warm_up, GenerationConfig())  # the runner loads the method at its first use only
        self._runner.reset()
        return {"ready": True}

    def _count(self, request: Request) -> Answer:
        """{"text", "first"}: {"count": tokens}; a BOS id is counted, a BOS text is the caller's."""
        num_bos = self._spec.num_bos if request["first"] else 0
        return {"count": len(self._tokenizer.encode(request["text"], first=False)) + num_bos}

    def _prefill(self, request: Request) -> Answer:
        """{"text", "first"}: {"done": true} when it is in the cache."""
        self._runner.prefill(request["text"], self._config(request))
        return {"done": True}

    def _generate(self, request: Request) -> Answer:
        """{"text", "first", "max_new_tokens", "temperature", "lockstep"}: {"piece_base64", "is_stop": false} for every
        token, then {"done": true, "stats": the runner's report}. In lockstep it waits after each for {"op": "go"}."""
        reports: list[str] = []

        def on_piece(piece: str) -> None:
            data = piece.encode("utf-8", "surrogateescape")
            self._send({"piece_base64": base64.b64encode(data).decode(), "is_stop": False})
            if request.get("lockstep") and (self._next() or {}).get("op") != "go":
                os._exit(1)  # the parent has gone, or does not speak this language

        config = self._config(request, max_new_tokens=request["max_new_tokens"], temperature=request["temperature"])
        self._runner.generate(request["text"], config, on_piece, lambda stats: reports.append(stats.to_json_string()))
        return {"done": True, "stats": json.loads(reports[0]) if reports else None}

    def _reset(self, request: Request) -> Answer:
        """{"done": true} when the position is 0."""
        self._runner.reset()
        return {"done": True}

    def _config(self, request: Request, **more: Any) -> Any:
        from executorch.extension.llm.runner import GenerationConfig

        return GenerationConfig(echo=False, num_bos=self._spec.num_bos if request["first"] else 0, **more)


class ModuleProcess:
    """The requests of `--kind module`."""

    def __init__(self, package: Package) -> None:
        self._package = package
        self._execute: Callable[[str, list[np.ndarray[Any, Any]]], list[np.ndarray[Any, Any]]] | None = None

    def serve(self, given: TextIO, out: TextIO) -> None:
        _serve({"load": self._load, "execute": self._run}, Lines(given, out, lambda: None))

    def _load(self, request: Request) -> Answer:
        """{"method"}: {"ready": true}."""
        methods = self._package.manifest.methods
        if request["method"] not in methods:
            raise ValueError(f"the program has no method {request['method']!r}; it has {', '.join(methods)}")
        if self._execute is None:
            self._execute = self._open()
        return {"ready": True}

    def _run(self, request: Request) -> Answer:
        """{"method", "inputs": [{"dtype", "shape", "base64"}]}: {"outputs": the same}, numbers low byte first."""
        if self._execute is None:
            raise ValueError("the method is not loaded; send load first")
        outputs = self._execute(request["method"], [_array(tensor) for tensor in request["inputs"]])
        return {"outputs": [_tensor(array) for array in outputs]}

    def _open(self) -> Callable[[str, list[np.ndarray[Any, Any]]], list[np.ndarray[Any, Any]]]:
        program = self._package.path("program")
        if is_coreml(self._package.manifest):
            from export.mil.execute import MilExecutor

            return MilExecutor(program, precision="fp16").execute
        import torch

        from export.runner import load_method

        method = load_method(program)

        def execute(name: str, inputs: list[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
            outputs = method.execute(tuple(torch.from_numpy(array) for array in inputs))
            return [output.numpy() for output in outputs]

        return execute


def _array(tensor: dict[str, Any]) -> np.ndarray[Any, Any]:
    data = base64.b64decode(tensor["base64"])
    return np.frombuffer(data, dtype=np.dtype(tensor["dtype"]).newbyteorder("<")).reshape(tensor["shape"]).copy()


def _tensor(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "base64": base64.b64encode(data).decode()}


def _serve(handlers: dict[str, Callable[[Request], Answer]], lines: Lines) -> None:
    """Answers until "quit" or the end of stdin."""
    while (request := lines.next()) is not None and request["op"] != "quit":
        handler = handlers.get(request["op"])
        try:
            if handler is None:
                raise ValueError(f"unknown op {request['op']!r}; known: {', '.join(handlers)}, stop, quit")
            answer = handler(request)
        except (ValueError, RuntimeError, GateError) as error:
            answer = {"error": str(error), "code": _code(str(error))}
        lines.send(answer)


def _code(message: str) -> int | None:
    found = _CODE.search(message)
    return None if found is None else int(found[1], 0)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.apps.engine_process", description=__doc__.split("\n\n")[0])
    parser.add_argument("--kind", choices=("text-llm", "module"), required=True)
    parser.add_argument("package", type=Path)
    options = parser.parse_args(arguments)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the runner prints there
    if options.kind == "text-llm":
        from export.native_child import keep_partial_characters, load_kernels, replace_kernels
        from kernels.load import library_of

        keep_partial_characters()
        load_kernels()
        replace_kernels(str(library_of(None) or ""))
    try:
        package = open_package(options.package)
    except (ValueError, GateError, EnvironmentFault) as error:
        out.write(json.dumps({"error": str(error), "code": None}) + "\n")
        out.flush()
        sys.exit(1)
    process = TextProcess(package) if options.kind == "text-llm" else ModuleProcess(package)
    process.serve(sys.stdin, out)
    out.flush()
    os._exit(0)  # without the destructors of what the libraries have loaded


if __name__ == "__main__":
    main()
