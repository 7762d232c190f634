"""Measures a package with the native runner: checks the question, runs it, and lays the answer beside the package."""

import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chat.window import Context
from export.manifest import Manifest
from export.package import Package, open_package
from export.static_constants import check_runs_in_executorch
from runner.bench_result import BenchResult, read_result
from runner.build import runner_program
from runner.child import Progress, run_json
from runner.machine import describe_machine
from runner.traffic import read_traffic

_LOG = logging.getLogger("pocketlm")

_PATIENCE_S = 1.0  # of building in silence
_CACHED = 64 << 20  # bytes of weights that a large last-level cache holds
_PROMPT, _NEW = 512, 64  # tokens, where nobody says otherwise and the context holds them


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What to measure. None: what suits package and machine."""

    prompt_tokens: int | None = None  # 0: no prefill
    new_tokens: int | None = None  # 0: no decode
    depths: tuple[int, ...] = (0,)
    threads: tuple[int, ...] | None = None  # None: the runner's choice, the fast cores
    repeats: int = 3
    kernels: str | None = None  # a name of the native runner's --kernels
    weights_cache: Path | None = None
    verbose: bool = False


@dataclass(frozen=True, kw_only=True)
class Work:
    """Options that were checked against a package, as the runner takes them."""

    prompt_tokens: int
    new_tokens: int
    options: BenchOptions
    notes: tuple[str, ...] = field(default=())

    def arguments(self, weights_cache: str | None = None) -> list[str]:
        """Of `pocketlm-runner bench MODEL`; the weights cache's place may be another one than on this machine."""
        options = self.options
        found = ["-p", str(self.prompt_tokens), "-n", str(self.new_tokens), "-r", str(options.repeats)]
        found += ["--depth", ",".join(map(str, options.depths))]
        if options.threads is not None:
            found += ["--threads", ",".join(map(str, options.threads))]
        if options.kernels is not None:
            found += ["--kernels", options.kernels]
        if weights_cache is not None:
            found += ["--weights-cache", weights_cache]
        return found + ["--verbose"] * options.verbose


def bench(path: Path, options: BenchOptions, *, progress: Progress) -> BenchResult:
    """Verifies a package, then times it on this machine.

    Args:
        progress: gets lines for a person while it runs.

    Raises:
        ValueError: options that the package or the runner does not allow, or the runner failed.
        GateError: the package is not what its manifest says.
        EnvironmentFault: no compiler to build the native runner with, or it lacks something else.
        MemoryError: there was too little memory.
    """
    with open_package(path) as package:
        work = check(package, options, cores=len(os.sched_getaffinity(0)))
        program = built_runner(progress)
        cache = None if options.weights_cache is None else str(options.weights_cache.resolve())
        command = [str(program), "bench", str(package.path("program")), *work.arguments(cache)]
        found = run_json(command, progress=progress)
        return read_answer(found, package, work, shown=path, machine=describe_machine())


def built_runner(progress: Progress) -> Path:
    """The native runner; says so when it has to be built, which takes about a minute, once.

    Raises:
        EnvironmentFault: as `runner.build.runner_program`.
    """
    notice = threading.Timer(_PATIENCE_S, progress, ["building the native runner; it is kept for the next time"])
    notice.start()
    try:
        return runner_program()
    finally:
        notice.cancel()


def check(package: Package, options: BenchOptions, *, cores: int | None) -> Work:
    """Options for this package; cores None: nobody knows how many there are.

    Raises:
        ValueError: it needs another kind of runner, or its context ends before what is asked.
    """
    manifest = package.manifest
    check_runs_in_executorch(manifest)
    room = _room(manifest, options.depths)
    prompt = min(_PROMPT, room) if options.prompt_tokens is None else options.prompt_tokens
    new = min(_NEW, room) if options.new_tokens is None else options.new_tokens
    most = max(prompt, new)
    if manifest.context.kind == "bounded" and most > room:
        raise ValueError(
            f"depth {max(options.depths):,} and {most:,} tokens more pass the end of this bounded package, "
            f"{manifest.context.tokens:,} tokens; give at most -p {room} and -n {room}, or a smaller --depth"
        )
    if most == 0:
        raise ValueError("-p 0 and -n 0 leave nothing to measure; give one of them")
    notes = []
    if cores is not None and options.threads is not None and max(options.threads) > cores:
        notes.append(
            f"{max(options.threads)} threads share {cores} core{'s' * (cores != 1)}: XNNPACK's threads wait by "
            "spinning, so this can be far slower than fewer"
        )
        _LOG.warning("warning: %s", notes[-1])
    return Work(prompt_tokens=prompt, new_tokens=new, options=options, notes=tuple(notes))


def _room(manifest: Manifest, depths: Sequence[int]) -> int:
    """Tokens that fit behind the deepest depth; of an endless package as many as it sees.

    Raises:
        ValueError: none.
    """
    tokens = manifest.context.tokens
    if manifest.context.kind == "endless":
        return tokens
    if max(depths) >= tokens:
        raise ValueError(
            f"depth {max(depths):,} is past the end of this bounded package, {tokens:,} tokens; give a --depth below"
        )
    return tokens - max(depths)


def read_answer(found: object, package: Package, work: Work, *, shown: Path, machine: dict[str, object]) -> BenchResult:
    """The runner's JSON as a result; errors as `bench_result.read_result`."""
    manifest, traffic = package.manifest, read_traffic(package)
    notes = list(work.notes)
    if traffic.matrix_bytes < _CACHED:
        notes.append(
            f"this model's {traffic.matrix_bytes / 2**20:.1f} MiB of matrices can stay in a processor's caches, so "
            "what it reads need not come from memory: its share of the bandwidth says little"
        )
    return read_result(
        found,
        traffic,
        package=str(shown),
        sha256=package.sha256,
        program_bytes=package.path("program").stat().st_size,
        context=_context_words(manifest.context),
        chunk=manifest.chunk,
        machine=machine,
        notes=tuple(notes),
    )


def _context_words(context: Context) -> str:
    return f"{context.kind} context of {context.tokens:,} tokens"
