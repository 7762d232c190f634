"""The shape of a decoder of MobileLLM-Pro's class, as data. Knows no torch, no file and no foreign name."""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

ROPE_LAYOUTS = ("interleaved", "halves")


@dataclass(frozen=True, kw_only=True)
class RopeScaling:
    """Llama 3.1's frequency scaling (transformers, modeling_rope_utils.py, `_compute_llama3_parameters`).

    Raises:
        ValueError: a number that is not positive, or bands that do not follow each other.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_context: int  # tokens

    def __post_init__(self) -> None:
        for name in ("factor", "low_freq_factor", "high_freq_factor"):
            _check_number(f"rope_scaling.{name}", getattr(self, name), above_zero=True)
        _check_integer("rope_scaling.original_context", self.original_context, least=1)
        if self.low_freq_factor >= self.high_freq_factor:
            raise ValueError(
                f"rope_scaling.low_freq_factor {self.low_freq_factor} must be below high_freq_factor "
                f"{self.high_freq_factor}"
            )


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that decides the arithmetic of the decoder.

    Raises:
        ValueError: a value of another type or out of range, widths that do not fit together, a layer that is not there.
    """

    vocab_size: int
    dim: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    ffn_dim: int
    global_layers: tuple[int, ...]  # indices of layers that attend over the whole context; the rest are local
    sliding_window: int  # tokens that a local layer sees, the current one included
    max_context: int  # positions that the model was trained for
    norm_eps: float = 1e-5
    rope_theta: float = 500_000.0
    rope_scaling: RopeScaling | None = None
    rope_layout: Literal["interleaved", "halves"] = "halves"  # Llama 4 rotates pairs (2i, 2i+1), Llama 2/3 (i, i+D/2)
    no_rope_layers: tuple[int, ...] = ()  # indices of layers WITHOUT rotary positions
    qk_norm: bool = False  # parameter-free RMS norm of queries and keys after RoPE, on layers with RoPE
    temperature_floor: int = 0  # Llama 4's temperature tuning on layers without RoPE: tokens a step; 0 = off
    temperature_scale: float = 0.0  # its coefficient (`attn_scale`)
    tied: bool = True  # one table for input and output

    def __post_init__(self) -> None:
        for name in (
            "vocab_size",
            "dim",
            "num_layers",
            "num_heads",
            "num_kv_heads",
            "head_dim",
            "ffn_dim",
            "sliding_window",
            "max_context",
        ):
            _check_integer(name, getattr(self, name), least=1)
        _check_integer("temperature_floor", self.temperature_floor, least=0)
        for name in ("norm_eps", "rope_theta", "temperature_scale"):
            _check_number(name, getattr(self, name), above_zero=name != "temperature_scale")
        for name in ("qk_norm", "tied"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be true or false")
        if self.rope_layout not in ROPE_LAYOUTS:
            raise ValueError(f"rope_layout is {self.rope_layout!r}; known: {', '.join(ROPE_LAYOUTS)}")
        if self.num_heads % self.num_kv_heads:
            raise ValueError(f"num_heads {self.num_heads} is not a multiple of num_kv_heads {self.num_kv_heads}")
        if self.head_dim % 2:
            raise ValueError(f"head_dim {self.head_dim} is odd; rotary positions need pairs")
        for name in ("global_layers", "no_rope_layers"):
            layers = getattr(self, name)
            if not isinstance(layers, tuple) or any(type(i) is not int for i in layers):
                raise ValueError(f"{name} is {layers!r}; it must be a list of layer indices")
            if sorted(set(layers)) != list(layers) or any(not 0 <= i < self.num_layers for i in layers):
                raise ValueError(f"{name} {list(layers)} must be increasing indices below {self.num_layers}")

    def is_global(self, layer: int) -> bool:
        return layer in self.global_layers

    def uses_rope(self, layer: int) -> bool:
        return layer not in self.no_rope_layers

    @property
    def layer_matrices(self) -> dict[str, tuple[int, int]]:
        """Name and (N rows, K columns) of each matrix of one layer, in the order in which a layer uses them."""
        wide, narrow = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        return {
            "attention.q_proj": (wide, self.dim),
            "attention.k_proj": (narrow, self.dim),
            "attention.v_proj": (narrow, self.dim),
            "attention.o_proj": (self.dim, wide),
            "feed_forward.gate_proj": (self.ffn_dim, self.dim),
            "feed_forward.up_proj": (self.ffn_dim, self.dim),
            "feed_forward.down_proj": (self.dim, self.ffn_dim),
        }

    @property
    def num_parameters(self) -> int:
        layer = sum(rows * columns for rows, columns in self.layer_matrices.values()) + 2 * self.dim
        tables = self.vocab_size * self.dim * (1 if self.tied else 2)
        return tables + self.num_layers * layer + self.dim

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {
            "global_layers": list(self.global_layers),
            "no_rope_layers": list(self.no_rope_layers),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "ModelConfig":
        """Reads what `to_json` wrote, strictly.

        Raises:
            ValueError: an unknown or missing key (the message names the nearest known one), or a value of a wrong kind.
        """
        _check_keys(cls, data, "model setting")
        values = dict(data)
        for name in ("global_layers", "no_rope_layers"):
            if isinstance(values.get(name), list):
                values[name] = tuple(values[name])
        if values.get("rope_scaling") is not None:
            _check_keys(RopeScaling, values["rope_scaling"], "RoPE scaling setting")
            values["rope_scaling"] = RopeScaling(**values["rope_scaling"])
        return cls(**values)


def _check_keys(kind: type, data: Any, what: str) -> None:
    if not isinstance(data, Mapping):
        raise ValueError(f"{what}s must be an object of names and values, not {data!r}")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for key in data:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            raise ValueError(f"unknown {what} {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    missing = [n for n, f in fields.items() if n not in data and f.default is dataclasses.MISSING]
    if missing:
        raise ValueError(f"{what}s are missing: {', '.join(missing)}")


def _check_integer(name: str, value: Any, *, least: int) -> None:
    if type(value) is not int:
        raise ValueError(f"{name} is {value!r}; it must be an integer")
    if value < least:
        raise ValueError(f"{name} is {value}; it must be at least {least}")


def _check_number(name: str, value: Any, *, above_zero: bool) -> None:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}; it must be a finite number")
    if value < 0 or (above_zero and value == 0):
        raise ValueError(f"{name} is {value}; it must be {'above 0' if above_zero else 'at least 0'}")


PRESETS: dict[str, ModelConfig] = {
    # arXiv 2511.06719 and the published config.json: 1,084,453,120 parameters.
    "mobilellm-pro": ModelConfig(
        vocab_size=202_048,
        dim=1280,
        num_layers=30,
        num_heads=20,
        num_kv_heads=4,
        head_dim=64,
        ffn_dim=6144,
        global_layers=(0, 4, 8, 12, 16, 20, 24, 28, 29),
        sliding_window=512,
        max_context=131_072,
        rope_layout="interleaved",
        qk_norm=True,
    ),
    # The same parts in small: 4 heads share 2 key-value heads, the last layer is global as in the big one.
    "nano": ModelConfig(
        vocab_size=4096,
        dim=256,
        num_layers=6,
        num_heads=4,
        num_kv_heads=2,
        head_dim=64,
        ffn_dim=768,
        global_layers=(0, 4, 5),
        sliding_window=128,
        max_context=2048,
        rope_theta=10_000.0,
        rope_layout="interleaved",
        qk_norm=True,
    ),
}


def find_preset(name: str) -> ModelConfig:
    """The preset of that name.

    Raises:
        ValueError: no such preset; the message lists them.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown preset {name!r}{hint}; known: {', '.join(PRESETS)}")
    return PRESETS[name]
