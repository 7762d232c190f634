"""Drives the native runner: `chat.engine.IdRunner` over the JSON lines of `pocketlm-runner serve`, in a child process.

Tokens stay ids here; the sampler's random numbers are the runner's own (xoshiro256**), so a seed repeats itself on any
machine, but not what Python's sampler draws. The cache lives in the child and lasts as long as it does.
"""

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from chat.window import Context, context_end_sentence
from export.package import Package
from export.static_constants import check_runs_in_executorch
from kernels.load import default
from model.errors import EnvironmentFault, GateError
from runner.build import runner_program
from runner.child import end

_ERRORS: dict[int, type[Exception]] = {3: GateError, 4: EnvironmentFault, 5: MemoryError}
_CHUNKS = 32  # of one request: Ctrl-C waits for no more, and a pipe holds it


@dataclass(frozen=True, kw_only=True)
class CppSampler:
    """How the runner chooses the next id. A new value starts its random numbers anew."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None  # None: one from the system


class CppRunner:
    """`chat.engine.IdRunner` over a child that serves. Close it, or use it in a `with`.

    Args:
        command: the program, or what emulates it and the program.
        model: a `.pte`, or a package's folder.
        context: where a bounded program ends; an endless one has no end.
        threads: None: the fast cores.
        weights_cache: a file for packed weights, mapped when it is there.

    Raises:
        ValueError, EnvironmentFault, MemoryError: the runner cannot load it; the message is its own.
    """

    def __init__(
        self,
        command: Sequence[str],
        model: Path,
        *,
        context: Context,
        stop_ids: Sequence[int] = (),
        threads: int | None = None,
        weights_cache: Path | None = None,
        is_verbose: bool = False,
    ) -> None:
        self._context, self._stop_ids = context, frozenset(stop_ids)
        self._sampler: CppSampler | None = None
        self._owes_answer = False
        self._unread = b""
        self._log = None if is_verbose else tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        options = [
            *(["--threads", str(threads)] if threads else []),
            *(["--weights-cache", str(weights_cache)] if weights_cache else []),
            *(["--endless"] if context.kind == "endless" else []),
            *(["--verbose"] if is_verbose else []),
        ]
        try:
            self._process = subprocess.Popen(
                [*command, "serve", str(model), *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                process_group=0,  # a terminal's Ctrl-C is for the parent, which then closes
            )
        except OSError as error:
            raise EnvironmentFault(f"{command[0]} cannot be started: {error.strerror}; build it again") from None
        try:
            self.facts: dict[str, Any] = self._receive()["ready"]
        except BaseException:
            self.close()
            raise

    @property
    def kernels(self) -> str:
        """What it runs attention with."""
        return str(self.facts["runner"]["kernels"])

    def logits(self, ids: Sequence[int], position: int) -> list[float]:
        """Writes the ids and returns the last one's logits; see `prefill`."""
        found: list[float] = self._run("logits", ids, position)["logits"]
        return found

    def prefill(self, ids: Sequence[int], position: int) -> None:
        """Writes the ids to the cache from `position` on.

        Raises:
            ValueError: no ids, one that is none of the vocabulary, or a bounded context ends before they are written.
        """
        self._run("prefill", ids, position)

    def generate_ids(
        self, prompt_ids: Sequence[int], position: int, max_new_tokens: int, sampler: CppSampler
    ) -> Iterator[int]:
        """Writes the prompt and yields new ids, each computed when it is asked for; ends after a stop id.

        A bounded context ends the stream, without an error, before a token that would not fit.

        Raises:
            ValueError: see `prefill`.
        """
        if sampler is not self._sampler:
            settings = {"temperature": sampler.temperature, "top_p": sampler.top_p, "seed": sampler.seed}
            self._ask({"do": "sampler", **settings})
            self._sampler = sampler
        pending, at = list(prompt_ids), position
        for index in range(max_new_tokens):
            if index and self._context.kind == "bounded" and at + 1 > self._context.tokens:
                return
            token = int(self._run("pick", pending, at)["id"])
            at += len(pending)
            pending = [token]
            yield token
            if token in self._stop_ids:
                return

    def memory(self) -> dict[str, int]:
        """Bytes that the child holds: `steady_bytes` and its parts (`memory_json` in runner/main.cpp)."""
        return self._ask({"do": "memory"})

    def reset(self) -> None:
        """Nothing to clear: no query sees a slot that was not written since. The caller goes on at position 0."""

    def close(self) -> None:
        """Ends the child. May be called twice."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                with contextlib.suppress(BrokenPipeError):  # it has ended already
                    pipe.close()
        end(self._process)
        if self._log is not None:
            self._log.close()

    def __enter__(self) -> "CppRunner":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, what: str, ids: Sequence[int], position: int) -> dict[str, Any]:
        """A long text in several requests that end where a chunk ends, so that the result is that of one."""
        if self._context.kind == "bounded" and position + len(ids) > self._context.tokens:
            raise ValueError(context_end_sentence(self._context))
        most = _CHUNKS * int(self.facts["model"]["chunk"])
        rest = list(ids)
        while len(rest) > most:
            self._ask({"do": "prefill", "ids": rest[:most], "position": position})
            position, rest = position + most, rest[most:]
        return self._ask({"do": what, "ids": rest, "position": position})

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._process.stdin is None or self._process.stdin.closed:
            raise ValueError("the native runner was closed; open the package again")
        while self._owes_answer:  # an interrupted request's
            self._receive_line()
        try:
            self._owes_answer = True
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._death() from None
        return self._receive()

    def _receive(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._receive_line())
        if "error" in answer:
            raise _ERRORS.get(answer["exit_code"], ValueError)(answer["error"])
        return answer

    def _receive_line(self) -> bytes:
        assert self._process.stdout is not None
        while b"\n" not in self._unread:
            more = os.read(self._process.stdout.fileno(), 1 << 16)
            if not more:
                raise self._death()
            self._unread += more
        line, self._unread = self._unread.split(b"\n", 1)
        self._owes_answer = False
        return line

    def _death(self) -> Exception:
        """Why the child ended without an answer, from its end and its last words."""
        self._owes_answer = False
        code = self._process.wait()
        said = "it said nothing"
        if self._log is not None:
            self._log.seek(0)
            lines = [line for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
            said = lines[-1] if lines else said
        if code == -9:
            return MemoryError(f"the native runner was killed ({said})")
        return ValueError(f"the native runner ended by itself (code {code}: {said}); run again with -v")


def open_cpp(package: Package, *, is_verbose: bool = False) -> CppRunner:
    """The native runner on an opened package, built first where it must be.

    Raises:
        ValueError: the package is for another runner, stock kernels are wanted, or it cannot be loaded.
        EnvironmentFault: there is no compiler, or the build failed.
    """
    manifest = package.manifest
    check_runs_in_executorch(manifest)
    if default() == "stock":
        raise ValueError("--runner cpp has our own kernels only; use --runner python for stock ones")
    return CppRunner(
        [str(runner_program())],
        package.path("program"),
        context=Context(kind=manifest.context.kind, tokens=manifest.context.tokens),
        stop_ids=manifest.tokenizer.stop_ids,
        is_verbose=is_verbose,
    )
