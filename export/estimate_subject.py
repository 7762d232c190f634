"""What is estimated: a preset, or a checkpoint's description, as if it were quantized already. Loads no torch."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from export.target import Target
from model.checkpoint import read_info
from model.checkpoint_info import CheckpointInfo, QuantizationInfo
from model.config import PRESETS
from quant.plan import choose, read_plan
from quant.recipe import LayerScheme, find_recipe

_PRESET_ENTRY = 72  # bytes an entry of the tokenizer.json that `convert --preset` writes (32,000 entries: 71.2)
_DEFAULT_RECIPE = "8da4w-g32"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is estimated: a checkpoint's description as if it were quantized already, and the files beside it."""

    name: str
    info: CheckpointInfo
    schemes: Mapping[str, LayerScheme]
    tokenizer_bytes: int
    tokenizer_entries: int
    licence_bytes: int
    notes: tuple[str, ...] = ()


def find_subject(source: str, *, recipe: str | None, group_size: int | None, target: Target) -> Subject:
    """A preset by its name, or a checkpoint by its folder; see `estimate`."""
    if recipe is not None:
        find_recipe(recipe)
    held = None if _DEFAULT_RECIPE in target.recipes else target.recipes[0]
    if source in PRESETS:
        return _of_preset(source, recipe or held, group_size)
    folder = Path(source)
    if not folder.is_dir():
        raise ValueError(_unknown(source, folder))
    info = read_info(folder)
    if info.quantization is None:
        info, schemes = _as_quantized(info, recipe or (held if info.trained_for is None else None), group_size)
    else:
        _check_own_recipe(folder, info.quantization, recipe, group_size)
        schemes = read_plan(folder, info)
    spec = info.tokenizer
    notes = () if spec is not None else (f"{source} has no tokenizer; `export` will ask for one",)
    return Subject(
        name=source,
        info=info,
        schemes=schemes,
        tokenizer_bytes=_size(folder / spec.file) if spec is not None else 0,
        tokenizer_entries=spec.vocab_size if spec is not None else 0,
        licence_bytes=sum(_size(folder / name) for name in info.licences),
        notes=notes,
    )


def _of_preset(name: str, recipe: str | None, group_size: int | None) -> Subject:
    config = PRESETS[name]
    float_info = CheckpointInfo(config=config, family="random", source_sha256="", preset=name)
    info, schemes = _as_quantized(float_info, recipe, group_size)
    return Subject(
        name=name,
        info=info,
        schemes=schemes,
        tokenizer_bytes=_PRESET_ENTRY * config.vocab_size,
        tokenizer_entries=config.vocab_size,
        licence_bytes=0,
        notes=(
            f"a preset has no tokenizer: one of {_PRESET_ENTRY} bytes an entry is assumed, as `convert --preset` "
            "writes it, and no licence",
        ),
    )


def _as_quantized(
    info: CheckpointInfo, recipe: str | None, group_size: int | None
) -> tuple[CheckpointInfo, dict[str, LayerScheme]]:
    """What `quantize` would make of a float checkpoint's description."""
    choice = choose(info.preset or "the checkpoint", info, recipe=recipe, group_size=group_size)
    return replace(info, trained_for=None, quantization=choice.to_info()), dict(choice.layers)


def _check_own_recipe(folder: Path, own: QuantizationInfo, recipe: str | None, group_size: int | None) -> None:
    if recipe is not None and recipe != own.recipe:
        raise ValueError(
            f"{folder} is quantized with {own.recipe} already, not {recipe}; leave out --recipe, or give the float "
            "checkpoint that it was made from"
        )
    if group_size is not None and group_size != own.group_size:
        raise ValueError(
            f"{folder} is quantized in groups of {own.group_size} already, not {group_size}; leave out --group-size, "
            "or give the float checkpoint that it was made from"
        )


def _unknown(source: str, folder: Path) -> str:
    if folder.exists():
        return f"{source} is a file; give a preset ({', '.join(PRESETS)}) or a checkpoint folder"
    near = difflib.get_close_matches(source.lower(), PRESETS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{source!r} is neither a preset nor a checkpoint folder{hint}; presets: {', '.join(PRESETS)}"


def _size(file: Path) -> int:
    if not file.is_file():
        raise ValueError(f"{file} is missing, though checkpoint.json names it; copy the checkpoint again")
    return file.stat().st_size
