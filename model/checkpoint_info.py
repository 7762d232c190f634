"""What `checkpoint.json` says: the model's shape, where it came from, and what was quantized. Loads no torch.

Read strictly: another format, a newer version, an unknown or missing key is an error. Format: docs/architecture.md.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model.config import ModelConfig

if TYPE_CHECKING:
    from model.tokenizer import TokenizerSpec

FORMAT = "pocketlm-checkpoint"
VERSION = 1
FAMILIES = ("llama4_text", "llama", "pocketlm", "random")  # "pocketlm": trained by `pocketlm train`

_LICENCE = re.compile(r"(licen[sc]e|notice|use_policy)", re.IGNORECASE)
_KINDS: dict[str, tuple[type, ...]] = {
    "config": (dict,),
    "preset": (str, type(None)),
    "family": (str,),
    "source_sha256": (str,),
    "learned_scales": (bool,),
    "tokenizer": (dict, type(None)),
    "licences": (list,),
    "quantization": (dict, type(None)),
    "trained_for": (dict, type(None)),
}
_SCHEME_KEYS = {"scheme", "bits", "group_size", "reason"}


@dataclass(frozen=True, kw_only=True)
class QuantizationInfo:
    """What `quantize` did. `layers` maps a layer's name to its scheme as JSON; `quant.recipe.LayerScheme` reads it."""

    recipe: str
    group_size: int | None  # None: the recipe has no groups
    layers: Mapping[str, Mapping[str, Any]]
    method: str = "rtn"  # how codes and scales were chosen; "trained": on the grid of `CheckpointInfo.trained_for`

    def to_json(self) -> dict[str, Any]:
        layers = {name: dict(layer) for name, layer in self.layers.items()}
        return {"recipe": self.recipe, "group_size": self.group_size, "layers": layers, "method": self.method}


@dataclass(frozen=True, kw_only=True)
class CheckpointInfo:
    """The contents of `checkpoint.json`."""

    config: ModelConfig
    family: str  # one of FAMILIES
    source_sha256: str  # of what it was made from: config.json and weight files, or the seed
    preset: str | None = None
    learned_scales: bool = False  # `<layer>.weight_scale` tensors ride along
    tokenizer: "TokenizerSpec | None" = None
    licences: tuple[str, ...] = ()
    quantization: QuantizationInfo | None = None
    trained_for: QuantizationInfo | None = None  # float weights that were trained under this fake quantization

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"unknown model family {self.family!r}; known: {', '.join(FAMILIES)}")
        if self.quantization is not None and self.trained_for is not None:
            raise ValueError("a checkpoint holds codes (quantization) or weights that were trained for them, not both")

    def to_json(self) -> dict[str, Any]:
        trained = {} if self.trained_for is None else {"trained_for": self.trained_for.to_json()}
        return {
            "format": FORMAT,
            "version": VERSION,
            "config": self.config.to_json(),
            "preset": self.preset,
            "family": self.family,
            "source_sha256": self.source_sha256,
            "learned_scales": self.learned_scales,
            "tokenizer": None if self.tokenizer is None else self.tokenizer.to_json(),
            "licences": list(self.licences),
            "quantization": None if self.quantization is None else self.quantization.to_json(),
        } | trained

    @classmethod
    def from_json(cls, data: Any) -> "CheckpointInfo":
        """Reads what `to_json` wrote, strictly.

        Raises:
            ValueError: another format, a newer version, an unknown or missing key, or a value of the wrong kind.
        """
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise ValueError(f'"format" is not {FORMAT!r}: no pocketlm checkpoint; make one with `pocketlm convert`')
        version = data.get("version")
        if version != VERSION:
            newer = isinstance(version, int) and version > VERSION
            cure = "update pocketlm" if newer else "convert the checkpoint again"
            raise ValueError(f"checkpoint version {version!r} is not supported (this pocketlm reads {VERSION}); {cure}")
        data = {"trained_for": None} | data
        _check_keys(data, ("format", "version", *_KINDS), "checkpoint")
        _check_kinds(data, _KINDS, "checkpoint")
        for name in data["licences"]:
            if not isinstance(name, str) or not is_licence(name) or "/" in name or "\\" in name:
                raise ValueError(f"checkpoint key 'licences' names {name!r}, which is no licence file of that folder")
        tokenizer = None
        if data["tokenizer"] is not None:
            from model.tokenizer import TokenizerSpec

            tokenizer = TokenizerSpec.from_json(data["tokenizer"])
        return cls(
            config=ModelConfig.from_json(data["config"]),
            preset=data["preset"],
            family=data["family"],
            source_sha256=data["source_sha256"],
            learned_scales=data["learned_scales"],
            tokenizer=tokenizer,
            licences=tuple(data["licences"]),
            quantization=_read_quantization(data["quantization"], "quantization"),
            trained_for=_read_quantization(data["trained_for"], "trained_for"),
        )


def _check_keys(data: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise ValueError(f"unknown {what} key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    missing = [key for key in known if key not in data]
    if missing:
        raise ValueError(f"{what} keys are missing: {', '.join(missing)}; convert the checkpoint again")


def _check_kinds(data: Mapping[str, Any], kinds: Mapping[str, tuple[type, ...]], what: str) -> None:
    for key, allowed in kinds.items():
        value = data[key]
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in allowed)
            raise ValueError(f"{what} key {key!r} is {value!r}; it must be {names}")


def _read_quantization(data: Any, what: str) -> QuantizationInfo | None:
    if data is None:
        return None
    data = {"method": "rtn"} | data  # what is older than the methods was rounded to nearest
    kinds: dict[str, tuple[type, ...]] = {
        "recipe": (str,),
        "group_size": (int, type(None)),
        "layers": (dict,),
        "method": (str,),
    }
    _check_keys(data, tuple(kinds), what)
    _check_kinds(data, kinds, what)
    for name, layer in data["layers"].items():
        if not isinstance(layer, dict) or set(layer) != _SCHEME_KEYS:
            keys = ", ".join(sorted(_SCHEME_KEYS))
            raise ValueError(f"{what} layer {name!r} must have exactly the keys {keys}; quantize again")
    return QuantizationInfo(**data)


def is_licence(file_name: str) -> bool:
    """Whether a file travels along as a licence or notice, by its name in any case and with any suffix."""
    return _LICENCE.match(file_name) is not None
