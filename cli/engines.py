"""Opens a package for talking: its engine, texts and context, behind one value that the loops understand."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from chat.engine import Engine, TokenEngine
from chat.turns import Turns
from chat.window import Context
from export.manifest import Manifest
from export.package import Package, open_package
from export.static_constants import is_coreml

SIMULATION = "Core ML runs on Apple's systems only: here the verifier executes the program in float16, which is slow"


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen."""

    temperature: float  # 0: always the likeliest
    top_p: float | None
    seed: int | None


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A package that is ready to talk."""

    engine: Engine
    turns: Turns
    context: Context
    package_id: str
    manifest: Manifest
    kernels: str  # what attention runs with: "stock kernels", or the title of ours
    note: str  # what a person should know before it starts; "" if nothing


@contextlib.contextmanager
def open_engine(path: Path, *, runner: str, sampling: Sampling, is_verbose: bool = False) -> Iterator[Opened]:
    """Opens and verifies a package and loads its program.

    Args:
        runner: `python` (ExecuTorch's Python runtime), `native` (the C++ runner of the phones) or `cpp` (our own native
            runner), these two in a child process. A CoreML package has one of its own, in place of `python`.
        is_verbose: whether a child's own log is shown.

    Raises:
        click.UsageError: another runner for a CoreML package.
        ValueError, GateError, EnvironmentFault: as `export.package.open_package` and the runners say.
    """
    with contextlib.ExitStack() as stack:
        package = stack.enter_context(open_package(path))
        manifest = package.manifest
        tokens = {token.id: token.text for token in manifest.tokenizer.special_tokens}
        is_simulated = is_coreml(manifest)
        if is_simulated and runner != "python":
            raise click.UsageError(
                f"--runner {runner} does not work with a package for {manifest.target}: Core ML runs on Apple's "
                "systems only, and here the verifier takes its place; leave the option out"
            )
        opening = _coreml if is_simulated else {"python": _python, "native": _native, "cpp": _cpp}[runner]
        engine, kernels = stack.enter_context(opening(package, sampling, is_verbose=is_verbose))
        yield Opened(
            engine=engine,
            turns=Turns.of(manifest.template, special_tokens=tokens, stop_ids=manifest.tokenizer.stop_ids),
            context=manifest.context,
            package_id=package.sha256,
            manifest=manifest,
            kernels=kernels,
            note=SIMULATION if is_simulated else "",
        )


@contextlib.contextmanager
def _python(package: Package, sampling: Sampling, *, is_verbose: bool) -> Iterator[tuple[Engine, str]]:
    from export.runner import open_runner
    from kernels.load import in_use
    from model.sampling import Sampler
    from model.tokenizer import TokenizerSpec, load_tokenizer

    spec = TokenizerSpec.from_json(package.manifest.to_json()["tokenizer"])
    sampler = Sampler(
        temperature=sampling.temperature, top_p=1.0 if sampling.top_p is None else sampling.top_p, seed=sampling.seed
    )
    tokenizer = load_tokenizer(package.folder, spec)  # first: loading the program fills the memory that parsing frees
    runner = open_runner(package)
    yield TokenEngine(tokenizer, runner, stop_ids=spec.stop_ids, sampler=sampler), in_use()


@contextlib.contextmanager
def _coreml(package: Package, sampling: Sampling, *, is_verbose: bool) -> Iterator[tuple[Engine, str]]:
    from chat.sampling import SeededSampler
    from export.static_runner import open_coreml_runner
    from model.tokenizer import TokenizerSpec, load_tokenizer

    spec = TokenizerSpec.from_json(package.manifest.to_json()["tokenizer"])
    top_p = 1.0 if sampling.top_p is None else sampling.top_p
    sampler = SeededSampler(temperature=sampling.temperature, top_p=top_p, seed=sampling.seed)
    tokenizer = load_tokenizer(package.folder, spec)
    runner = open_coreml_runner(package)
    yield TokenEngine(tokenizer, runner, stop_ids=spec.stop_ids, sampler=sampler), "simulated in float16"


@contextlib.contextmanager
def _native(package: Package, sampling: Sampling, *, is_verbose: bool) -> Iterator[tuple[Engine, str]]:
    from export.native import open_native

    with open_native(package, temperature=sampling.temperature, verbose=is_verbose) as engine:
        yield engine, engine.kernels


@contextlib.contextmanager
def _cpp(package: Package, sampling: Sampling, *, is_verbose: bool) -> Iterator[tuple[Engine, str]]:
    from model.tokenizer import TokenizerSpec, load_tokenizer
    from runner.engine import CppSampler, open_cpp

    spec = TokenizerSpec.from_json(package.manifest.to_json()["tokenizer"])
    top_p = 1.0 if sampling.top_p is None else sampling.top_p
    sampler = CppSampler(temperature=sampling.temperature, top_p=top_p, seed=sampling.seed)
    tokenizer = load_tokenizer(package.folder, spec)
    with open_cpp(package, is_verbose=is_verbose) as runner:
        yield TokenEngine(tokenizer, runner, stop_ids=spec.stop_ids, sampler=sampler), runner.kernels
