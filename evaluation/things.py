"""Opens what is to be scored: float checkpoints, quantized checkpoints and packages, told apart by what lies there."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chat.window import Context
from evaluation.kernels import package_kernels, simulated_kernels, torch_kernels
from evaluation.listed import lists_beside
from evaluation.scorers import ModelScorer, PackageScorer, Scorer
from evaluation.scores import Kind
from evaluation.tokens import tokenizer_digest
from export.manifest import Manifest
from export.package import Package, open_package
from export.runner import open_runner
from export.static_constants import is_coreml
from export.static_runner import open_coreml_runner
from model.checkpoint import INFO_FILE, WEIGHTS_FILE, read_info
from model.config import ModelConfig
from model.tokenizer import TokenizerSpec
from quant.checkpoint import build_model

SHIPPED = "the shipped forward, one token at a time"
EAGER = "all positions at once, without a cache"
SIMULATED = "the shipped CoreML program in a simulation of float16, not on a phone"


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One opened thing. What it needs lives as long as the stack that it was opened on."""

    name: str
    path: Path
    kind: Kind
    recipe: str | None  # None: float
    method: str | None  # how codes were chosen; None: float, or a package, which does not say
    bytes: int  # of the weight file or the program
    kernels: str
    how: str
    config: ModelConfig
    spec: TokenizerSpec
    folder: Path  # where its tokenizer lies: of a zip, where it is unpacked
    digest: str  # of its tokenizer
    context: Context | None  # of a package
    scorer: Scorer
    trained_lists: tuple[Path, ...] = ()  # that its place tells of
    is_trained_for: bool = False  # float weights that were trained under fake quantization
    manifest: Manifest | None = None  # of a package, and the program file
    program: Path | None = None

    @property
    def is_float(self) -> bool:
        """Whether it can be what others are compared with, without being named."""
        return self.kind == "float checkpoint" and not self.is_trained_for

    @property
    def is_simulated(self) -> bool:
        """Whether it is run by an interpreter, a thousand times slower than on the device that it is for."""
        return self.how == SIMULATED

    @property
    def room(self) -> int | None:
        """The most tokens of a document: its last one is never an input."""
        return self.context.tokens + 1 if self.context is not None and self.context.kind == "bounded" else None

    @property
    def most_tokens(self) -> int:
        """The most tokens of a question: what the model was trained for, and what fits."""
        trained = self.config.max_context + 1
        return trained if self.room is None else min(trained, self.room)


def open_things(paths: Sequence[Path], stack: contextlib.ExitStack, *, reference: Path | None = None) -> list[Thing]:
    """Opens all of them, the reference first if it is none of them.

    Raises:
        ValueError: a path is given twice, is neither, or lacks a tokenizer; what is there is damaged; or two have
            different tokenizers or vocabularies.
        GateError: a package is not what its manifest says.
    """
    paths = list(paths)
    if reference is not None and not any(_is_same(path, reference) for path in paths):
        paths.insert(0, reference)
    if not paths:
        raise ValueError("there is nothing to score; give a checkpoint or a package")
    for i, path in enumerate(paths):
        if any(_is_same(path, other) for other in paths[:i]):
            raise ValueError(f"{path} is given twice; give each thing once")
    names = short_names([path.resolve() for path in paths])
    opened: list[Thing] = []
    for path, name in zip(paths, names, strict=True):
        opened.append(open_thing(path, name, stack))
        _check_comparable(opened[0], opened[-1])
    return opened


def find_reference(things: Sequence[Thing], named: Path | None) -> int | None:
    """The index of what the others are compared with: the one named, else the first float one; None: there is none."""
    if named is not None:
        return next(i for i, thing in enumerate(things) if _is_same(thing.path, named))
    return next((i for i, thing in enumerate(things) if thing.is_float), None)


def _check_comparable(first: Thing, other: Thing) -> None:
    if other.digest != first.digest:
        raise ValueError(
            f"{first.name} and {other.name} have different tokenizers, so their figures a token cannot be compared; "
            "evaluate them apart, or give things that were made from one checkpoint"
        )
    if other.config.vocab_size != first.config.vocab_size:
        raise ValueError(
            f"{first.name} has a vocabulary of {first.config.vocab_size} entries, {other.name} one of "
            f"{other.config.vocab_size}; they cannot be compared: evaluate them apart"
        )


def _is_same(path: Path, other: Path) -> bool:
    return path.resolve() == other.resolve()


def open_thing(path: Path, name: str, stack: contextlib.ExitStack) -> Thing:
    """See `open_things`."""
    if not path.exists():
        raise ValueError(f"{path} does not exist; give a checkpoint, a quantized checkpoint or a package")
    is_package = path.is_file() or (path / "manifest.json").is_file() or not _looks_like_weights(path)
    return _package(path, name, stack) if is_package else _checkpoint(path, name)


def short_names(paths: Sequence[Path]) -> list[str]:
    """The last parts of each path, as many as tell all of them apart."""
    for count in range(1, max((len(path.parts) for path in paths), default=0) + 1):
        names = ["/".join(path.parts[-count:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _looks_like_weights(path: Path) -> bool:
    return (path / INFO_FILE).is_file() or (path / "config.json").is_file()


def _checkpoint(path: Path, name: str) -> Thing:
    info = read_info(path)
    if info.tokenizer is None:
        raise ValueError(f"{path} has no tokenizer, so text cannot be scored; convert it from a folder with one")
    quantization = info.quantization
    digest = tokenizer_digest(path / info.tokenizer.file, info.tokenizer)
    return Thing(
        name=name,
        path=path,
        kind="float checkpoint" if quantization is None else "quantized checkpoint",
        recipe=None if quantization is None else quantization.recipe,
        method=None if quantization is None else quantization.method,
        bytes=(path / WEIGHTS_FILE).stat().st_size if (path / WEIGHTS_FILE).is_file() else 0,
        kernels=torch_kernels(),
        how=EAGER,
        config=info.config,
        spec=info.tokenizer,
        folder=path,
        digest=digest,
        context=None,
        scorer=ModelScorer(build_model(path)),
        trained_lists=tuple(lists_beside(path)),
        is_trained_for=info.trained_for is not None,
    )


def _package(path: Path, name: str, stack: contextlib.ExitStack) -> Thing:
    package = stack.enter_context(open_package(path))
    manifest = package.manifest
    spec = TokenizerSpec.from_json(manifest.to_json()["tokenizer"])
    program = package.path("program")
    scorer = shipped_scorer(package)  # loads the program; what its kernels are is known then
    return Thing(
        name=name,
        path=path,
        kind="package",
        recipe=manifest.recipe.name,
        method=None,
        bytes=program.stat().st_size,
        kernels=simulated_kernels() if is_coreml(manifest) else package_kernels(program),
        how=SIMULATED if is_coreml(manifest) else SHIPPED,
        config=manifest.model.config,
        spec=spec,
        folder=package.folder,
        digest=tokenizer_digest(package.path("tokenizer"), spec),
        context=manifest.context,
        scorer=scorer,
        manifest=manifest,
        program=program,
    )


def shipped_scorer(package: Package) -> PackageScorer:
    """The package's own program."""
    manifest = package.manifest
    return PackageScorer(
        open_coreml_runner(package) if is_coreml(manifest) else open_runner(package),
        vocab_size=manifest.model.config.vocab_size,
        safe=min(layer.slots for layer in manifest.cache.layers),
    )
