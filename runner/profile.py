"""Traces a package with the native runner and adds the times up by operator and layer; then runs it without a trace."""

import math
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.package import Package, open_package
from export.pte import read_pte
from runner.bench import BenchOptions, Work, built_runner, check
from runner.child import Progress, run_json
from runner.etdump import Call, read_calls
from runner.machine import describe_machine
from runner.profile_places import Place, find_places, stages
from runner.profile_result import Phase, Profile, sum_up

_PLAIN_REPEATS = 5  # of the run without a trace
_MOST_CALLS = 2000  # traced: each has some thousand events of about a hundred bytes


@dataclass(frozen=True, kw_only=True)
class ProfileOptions:
    """What to trace. The decode begins where the prefill does, as in `bench`."""

    prompt_tokens: int | None = None  # None: one chunk; 0: no prefill
    new_tokens: int = 8  # 0: no decode
    depth: int = 0
    threads: int = 1
    kernels: str | None = None
    verbose: bool = False


def profile(path: Path, options: ProfileOptions, *, progress: Progress) -> Profile:
    """Verifies a package, traces it on this machine, and times the same work without a trace.

    Args:
        progress: gets lines for a person while it runs.

    Raises:
        ValueError: options that the package does not allow, a program of another shape, or the runner failed.
        GateError: the package is not what its manifest says.
        EnvironmentFault: no compiler to build the native runner with, or it lacks something else.
    """
    with open_package(path) as package:
        work = _check(package, options)
        places = find_places(read_pte(package.path("program")), package.manifest.model.config)
        program = str(built_runner(progress))
        progress("tracing")
        with tempfile.TemporaryDirectory(prefix="pocketlm-profile-") as folder:
            dump = Path(folder) / "trace.etdp"
            arguments = _arguments(package, options, work)
            found = run_json([program, "profile", *arguments, "--etdump", str(dump)], progress=progress)
            calls = read_calls(dump, _prefill_calls(package, work) + work.new_tokens)
        progress("timing the same without a trace")
        command = [program, "bench", str(package.path("program")), *work.arguments()]
        plain = run_json(command, progress=lambda _: None)["results"][0]
        return Profile(
            package=str(path),
            sha256=package.sha256,
            threads=options.threads,
            runner=found["runner"],
            machine=describe_machine(),
            stages=tuple(stages(package.manifest.model.config.num_layers)),
            phases=tuple(_phases(calls, places, work, found, plain)),
        )


def _phases(
    calls: Sequence[Call], places: Sequence[Place], work: Work, found: Mapping[str, Any], plain: Mapping[str, Any]
) -> Iterator[Phase]:
    """The traced calls as prefill and decode; `found` and `plain` are what the runner said with and without a trace."""
    start = 0
    for name, tokens in (("prefill", work.prompt_tokens), ("decode", work.new_tokens)):
        times = found[name]["calls_ms"]
        own = calls[start : start + len(times)]
        start += len(times)
        if own:
            program_ns, cells, inside = sum_up(own, places)
            yield Phase(
                name=name,
                start=found[name]["start"],
                tokens=tokens,
                calls=len(own),
                wall_ns=max(program_ns, round(1e6 * sum(times))),
                program_ns=program_ns,
                cells=cells,
                inside=inside,
                plain_ms=statistics.median(plain[name][0]["ms"]),
            )


def _check(package: Package, options: ProfileOptions) -> Work:
    prompt = options.prompt_tokens
    if prompt is None:
        manifest = package.manifest
        end = manifest.context.tokens if manifest.context.kind == "bounded" else math.inf
        prompt = int(min(manifest.chunk, max(0, end - options.depth)))
    asked = BenchOptions(
        prompt_tokens=prompt,
        new_tokens=options.new_tokens,
        depths=(options.depth,),
        threads=(options.threads,),
        repeats=_PLAIN_REPEATS,
        kernels=options.kernels,
        verbose=options.verbose,
    )
    work = check(package, asked, cores=None)
    if (calls := _prefill_calls(package, work) + work.new_tokens) > _MOST_CALLS:
        raise ValueError(
            f"{calls:,} calls would be traced; at most {_MOST_CALLS:,} are, for the trace's size: give a smaller -p or "
            "-n, and --depth for a long cache"
        )
    return work


def _prefill_calls(package: Package, work: Work) -> int:
    return math.ceil(work.prompt_tokens / package.manifest.chunk)


def _arguments(package: Package, options: ProfileOptions, work: Work) -> list[str]:
    found = [str(package.path("program")), "-p", str(work.prompt_tokens), "-n", str(work.new_tokens)]
    found += ["--depth", str(options.depth), "--threads", str(options.threads)]
    if options.kernels is not None:
        found += ["--kernels", options.kernels]
    return found + ["--verbose"] * options.verbose
