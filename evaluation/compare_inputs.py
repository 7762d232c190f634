"""What may be compared with what: roles and shapes, told from what lies in the folders before anything is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.comparison import Role
from export.package import open_package
from model.checkpoint import INFO_FILE, read_info
from model.config import ModelConfig

_SHAPE = ("vocab_size", "dim", "num_layers", "num_heads", "num_kv_heads", "head_dim", "ffn_dim")


@dataclass(frozen=True, kw_only=True)
class Given:
    """One thing of a comparison, by what its folder says."""

    role: Role
    path: Path
    config: ModelConfig
    is_float: bool
    method: str | None  # None: not known
    trained_for: str | None  # the recipe of a float checkpoint that was trained under fake quantization


def read_inputs(float_: Path, ptq: Sequence[Path], qat: Sequence[Path]) -> list[Given]:
    """The things, float first, then PTQ, then QAT.

    Raises:
        ValueError: one does not exist or is given twice, has the wrong role, or another shape than the float model.
    """
    roles: list[tuple[Role, Path]] = [("float", float_), *(("ptq", p) for p in ptq), *(("qat", p) for p in qat)]
    seen: dict[Path, Role] = {}
    found: list[Given] = []
    for role, path in roles:
        before = seen.setdefault(path.resolve(), role)
        if any(path.resolve() == given.path.resolve() for given in found):
            raise ValueError(f"{path} is given twice, as --{before} and as --{role}; give each thing once")
        found.append(_read(role, path))
        _check_role(found[-1])
        _check_shape(found[0], found[-1])
    return found


def _read(role: Role, path: Path) -> Given:
    if not path.exists():
        raise ValueError(f"{path} does not exist; give a checkpoint or a package as --{role}")
    if (path / INFO_FILE).is_file():
        info = read_info(path)
        return Given(
            role=role,
            path=path,
            config=info.config,
            is_float=info.quantization is None or info.quantization.recipe == "float",
            method=None if info.quantization is None else info.quantization.method,
            trained_for=None if info.trained_for is None else info.trained_for.recipe,
        )
    with open_package(path, verify=False) as package:  # verified when it is scored
        manifest = package.manifest
    is_float = manifest.recipe.name == "float"
    return Given(role=role, path=path, config=manifest.model.config, is_float=is_float, method=None, trained_for=None)


def _check_role(given: Given) -> None:
    path = given.path
    if given.role == "float":
        if not given.is_float:
            raise ValueError(f"{path} is quantized; give the float model that it was made from as --float")
        if given.trained_for is not None:
            raise ValueError(
                f"{path} was trained under fake quantization for {given.trained_for}; --float is the model before that"
            )
    elif given.is_float:
        cure = f"quantize it (pocketlm quantize {path} OUT) and export that" if given.method is None else "leave it out"
        raise ValueError(f"{path} is a float model, so as --{given.role} it shows no cost of quantization; {cure}")
    elif given.role == "ptq" and given.method == "trained":
        raise ValueError(f"{path} holds codes that were trained; give it as --qat")


def _check_shape(float_: Given, other: Given) -> None:
    for name in _SHAPE:
        ours, theirs = getattr(float_.config, name), getattr(other.config, name)
        if ours != theirs:
            raise ValueError(
                f"{other.path} has another shape than {float_.path}: {name} {theirs}, not {ours}; compare things that "
                "were made from one float model"
            )
