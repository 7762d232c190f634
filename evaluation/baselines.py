"""PTQ things made for a comparison, one a method, in the form of the things that they stand beside.

A method that fails is listed with its error, and the others go on: a baseline that silently drops out flatters QAT.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from evaluation.report import Comparison, Failed
from export.export import export_package
from export.package import open_package
from model.checkpoint import INFO_FILE, read_info
from model.errors import EnvironmentFault
from model.files import check_target
from quant.calibration import Documents
from quant.checkpoint import quantize_checkpoint
from quant.methods import find_method
from quant.plan import DEFAULT_RECIPE
from quant.recipe import SchemeName

_FAULTS = (ValueError, RuntimeError, ArithmeticError, ImportError, NotImplementedError)
_OVERRIDE = "override "  # how the reason of an overridden layer begins (quant/recipe.py)


@dataclass(frozen=True, kw_only=True)
class Packaging:
    """How a package is exported."""

    max_context: int
    prefill_chunk: int
    bounded: bool


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a thing is stored as; a fair baseline is stored alike."""

    recipe: str
    group_size: int | None
    overrides: Mapping[str, SchemeName]  # layer name to scheme
    packaging: Packaging | None  # None: a quantized checkpoint


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """What was made, and what was not."""

    made: Mapping[str, Path]  # by method
    quantized: Mapping[str, Path]  # what packages were made of
    failed: tuple[Failed, ...]

    def name(self, found: Comparison) -> Comparison:
        """The comparison, whose rows now say by which method things were made here; their folders may be gone."""
        methods = {str(path): method for method, path in self.made.items()}
        rows = (
            replace(row, method=methods[row.path], path=f"made here by {methods[row.path]}")
            if row.path in methods
            else row
            for row in found.rows
        )
        return replace(found, rows=tuple(rows))


def form_of(things: Sequence[Path]) -> Form:
    """The form of the first package among the things, else of the first quantized checkpoint, else the default recipe.

    Raises:
        ValueError: a thing is neither.
    """
    for path in things:
        if not (path / INFO_FILE).is_file():
            with open_package(path, verify=False) as package:  # verified when it is scored
                manifest = package.manifest
            recipe, context = manifest.recipe, manifest.context
            schemes = {n: layer.scheme for n, layer in recipe.exceptions.items() if layer.reason.startswith(_OVERRIDE)}
            return Form(
                recipe=recipe.name,
                group_size=recipe.group_size,
                overrides=cast(dict[str, SchemeName], schemes),
                packaging=Packaging(
                    max_context=context.tokens, prefill_chunk=manifest.chunk, bounded=context.kind == "bounded"
                ),
            )
    for path in things:
        info = read_info(path).quantization
        if info is not None:
            overridden = {n: s for n, s in info.layers.items() if str(s["reason"] or "").startswith(_OVERRIDE)}
            return Form(
                recipe=info.recipe,
                group_size=info.group_size,
                overrides={name: scheme["scheme"] for name, scheme in overridden.items()},
                packaging=None,
            )
    return Form(recipe=DEFAULT_RECIPE, group_size=None, overrides={}, packaging=None)


def check_methods(float_: Path, methods: Sequence[str], folder: Path, *, has_text: bool, overwrite: bool) -> None:
    """Refuses, before any work, what cannot be made.

    Raises:
        ValueError: a method that is unknown, twice there or in want of text; something in the way; no float checkpoint.
    """
    for place, name in enumerate(methods):
        if find_method(name).needs_text and not has_text:
            raise ValueError(f"method {name} looks at text; give --calibrate FILE, or leave the method out")
        if name in methods[:place]:
            raise ValueError(f"method {name} is given twice; give each once")
        for made in (folder / name, _quantized(folder, name)):
            check_target(made, overwrite=overwrite, source=float_)
    if methods and not (float_ / INFO_FILE).is_file():
        raise ValueError(
            f"{float_} is no checkpoint, so nothing can be quantized from it; give the float checkpoint as --float, or "
            "leave --ptq-methods out"
        )


def make_baselines(
    float_: Path,
    methods: Sequence[str],
    folder: Path,
    form: Form,
    *,
    calibration: Documents | None,
    overwrite: bool = False,
    progress: Callable[[str], None],
) -> Baselines:
    """Makes `folder`/<method> for each method.

    Raises:
        EnvironmentFault: the disk is full, or the folder cannot be written; that is no fault of a method.
        ValueError: no method gave anything.
    """
    made: dict[str, Path] = {}
    quantized: dict[str, Path] = {}
    failed: list[Failed] = []
    for name in methods:
        progress(f"making the PTQ thing of {name}")
        try:
            made[name] = _make(float_, name, folder, form, calibration, overwrite)
            if form.packaging is not None:
                quantized[name] = _quantized(folder, name)
        except EnvironmentFault:
            raise
        except _FAULTS as error:
            failed.append(Failed(role="ptq", name=name, error=str(error) or type(error).__name__))
            progress(f"warning: {name} failed: {failed[-1].error}")
    if methods and not made:
        raise ValueError("no PTQ method gave anything: " + "; ".join(f"{one.name}: {one.error}" for one in failed))
    return Baselines(made=made, quantized=quantized, failed=tuple(failed))


def _make(float_: Path, method: str, folder: Path, form: Form, calibration: Documents | None, overwrite: bool) -> Path:
    out, packaging = folder / method, form.packaging
    quantized = out if packaging is None else _quantized(folder, method)
    quantize_checkpoint(
        float_,
        quantized,
        recipe=form.recipe,
        group_size=form.group_size,
        method=method,
        overrides=form.overrides,
        calibration=calibration if find_method(method).needs_text else None,
        overwrite=overwrite,
    )
    if packaging is not None:
        export_package(
            quantized,
            out,
            max_context=packaging.max_context,
            prefill_chunk=packaging.prefill_chunk,
            bounded=packaging.bounded,
            overwrite=overwrite,
        )
    return out


def _quantized(folder: Path, method: str) -> Path:
    return folder / f"{method}-quantized"
