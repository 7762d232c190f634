"""The child process of export/native.py: ExecuTorch's TextLLMRunner behind lines of JSON.

It runs as a script, apart from our folders (`python -P export/native_child.py`), and knows ExecuTorch only. Commands
and answers are lines on descriptor 0; what it has to say goes to a descriptor of its own, because the runner prints to
descriptor 1. After every piece it waits for a word of the parent ("go" or "stop"), as a phone's callback runs inside
the runner's loop: so a stop takes effect at the piece that it answers.

pybind hands a piece to the callback as a str and raises where it is no whole UTF-8. It decodes with the error handler
named "strict", which may be replaced (codecs.register_error; Objects/unicodeobject.c looks it up by name): here, by
"surrogateescape". So every byte of every piece arrives, one piece at a time.
"""

import codecs
import ctypes
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO, NoReturn


class _NoMoreTokensError(Exception):
    """Ends a call at its first piece, where the runner forgets a stop: its cache then holds just the prompt."""


class Server:
    """One runner and the parent's two pipes."""

    def __init__(self, runner: Any, make_config: Any, commands: BinaryIO, replies: BinaryIO) -> None:
        self._runner = runner
        self._make_config = make_config
        self._commands = commands
        self._replies = replies
        self._num_pieces = 0

    def serve(self) -> None:
        """Obeys until the parent closes its end."""
        while line := self._commands.readline():
            command = json.loads(line)
            try:
                reply = self._obey(command)
            except RuntimeError as error:
                reply = {"error": str(error)}
            self._send(reply)

    def _obey(self, command: dict[str, Any]) -> dict[str, Any]:
        if command["do"] == "reset":
            self._runner.reset()
            return {"done": {}}
        config = self._make_config(
            echo=False,
            num_bos=command["num_bos"],
            temperature=command.get("temperature", 0.0),
            max_new_tokens=command.get("max_new_tokens", -1),
        )
        if command["do"] == "prefill":
            start = time.monotonic()
            self._runner.prefill(command["text"], config)
            return {"done": {"prefill_ms": 1000 * (time.monotonic() - start)}}
        return {"done": self._generate(command["text"], config)}

    def _generate(self, text: str, config: Any) -> dict[str, Any]:
        self._num_pieces = 0
        stats: list[str] = []
        try:
            self._runner.generate(text, config, self._on_piece, lambda given: stats.append(given.to_json_string()))
        except _NoMoreTokensError:
            return {}
        found: dict[str, Any] = json.loads(stats[0])
        return found

    def _on_piece(self, piece: str) -> None:
        self._num_pieces += 1
        self._send({"piece": piece})
        answer = self._commands.readline()
        if not answer:
            _leave()
        if json.loads(answer)["do"] == "stop":
            if self._num_pieces == 1:
                raise _NoMoreTokensError
            self._runner.stop()

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._replies.write(json.dumps(message).encode() + b"\n")
            self._replies.flush()
        except BrokenPipeError:
            _leave()


def main(program: str, tokenizer: str, descriptor: str, warm_up: str, kernels: str) -> None:
    """Loads the program, says "ready", serves.

    Args:
        descriptor: the inherited pipe for replies.
        warm_up: a text of at least one token; the runner loads the method at its first use only.
        kernels: the library of our own kernels (kernels/load.py), "" for the stock ones.
    """
    replies = os.fdopen(int(descriptor), "wb")
    try:
        keep_partial_characters()
        load_kernels()
        kernels_title = replace_kernels(kernels)
        from executorch.extension.llm.runner import GenerationConfig, TextLLMRunner
    except (ImportError, OSError, RuntimeError) as error:
        _give_up(replies, error, is_environment=True)

    try:
        runner = TextLLMRunner(program, tokenizer)
        runner.prefill(warm_up, GenerationConfig())
        runner.reset()
    except RuntimeError as error:
        _give_up(replies, error, is_environment=False)
    server = Server(runner, GenerationConfig, sys.stdin.buffer, replies)
    server._send({"ready": os.getpid(), "kernels": kernels_title})
    server.serve()
    _leave()


def load_kernels() -> None:
    """Registers the kernels that our programs call beside the runner's own.

    The library of the llama:: kernels is loaded by itself: its Python module (extension/llm/custom_ops/custom_ops.py)
    would import torch's compiler for the sake of export and take 6 of 8 seconds.
    """
    import executorch.extension.llm.custom_ops as folder
    import executorch.kernels.quantized  # noqa: F401
    import torch

    libraries = sorted(Path(folder.__path__[0]).glob("libcustom_ops_aot_lib.*"))
    if len(libraries) != 1:
        raise ImportError(
            f"{folder.__path__[0]} holds {len(libraries)} libraries of custom kernels; install executorch again"
        )
    torch.ops.load_library(libraries[0])


def replace_kernels(library: str) -> str:
    """Puts the kernels of that library, if one is named, in the place of the stock ones; returns what runs then.

    Raises:
        OSError: the library cannot be loaded.
        RuntimeError: $POCKETLM_ISA names a path that this processor does not run.
    """
    if not library:
        return "stock kernels"
    loaded = ctypes.CDLL(library)
    loaded.pocketlm_install_kernels.restype = loaded.pocketlm_kernels_title.restype = ctypes.c_char_p
    error = loaded.pocketlm_install_kernels(None)
    if error:
        raise RuntimeError(error.decode())
    title: str = loaded.pocketlm_kernels_title().decode()
    return title


def keep_partial_characters() -> None:
    """Makes C's strict decoding of UTF-8 keep what is no character as lone surrogates, in this whole process.

    Raises:
        RuntimeError: this Python does not look its error handlers up by name.
    """
    codecs.register_error("strict", codecs.lookup_error("surrogateescape"))
    decode = ctypes.pythonapi.PyUnicode_DecodeUTF8
    decode.restype, decode.argtypes = ctypes.py_object, (ctypes.c_char_p, ctypes.c_ssize_t, ctypes.c_char_p)
    try:
        kept = decode(b"a\xe2", 2, None)
    except UnicodeDecodeError:
        kept = None
    if kept != "a\udce2":
        raise RuntimeError("this Python cannot pass on pieces that end inside a character")


def _give_up(replies: BinaryIO, error: Exception, *, is_environment: bool) -> NoReturn:
    replies.write(json.dumps({"error": str(error), "is_environment": is_environment}).encode() + b"\n")
    replies.flush()
    _leave()


def _leave() -> NoReturn:
    """Ends the process without the destructors of what the libraries have loaded."""
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
