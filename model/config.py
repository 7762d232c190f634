"""The shape of a decoder of MobileLLM-Pro's class, as data. Knows no torch, no file and no foreign name."""

import dataclasses
import difflib
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class RopeScaling:
    """Llama 3.1's frequency scaling (transformers, modeling_rope_utils.py, `_compute_llama3_parameters`)."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_context: int  # tokens


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that decides the arithmetic of the decoder.

    Raises:
        ValueError: widths that do not fit together, or a layer index out of range.
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
        for name in ("vocab_size", "dim", "num_layers", "num_heads", "num_kv_heads", "head_dim", "ffn_dim",
                     "sliding_window", "max_context"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.num_heads % self.num_kv_heads:
            raise ValueError(f"num_heads {self.num_heads} is not a multiple of num_kv_heads {self.num_kv_heads}")
        if self.head_dim % 2:
            raise ValueError(f"head_dim {self.head_dim} is odd; rotary positions need pairs")
        for name in ("global_layers", "no_rope_layers"):
            layers = getattr(self, name)
            if sorted(set(layers)) != list(layers) or any(not 0 <= i < self.num_layers for i in layers):
                raise ValueError(f"{name} {list(layers)} must be increasing indices below {self.num_layers}")

    def is_global(self, layer: int) -> bool:
        return layer in self.global_layers

    def uses_rope(self, layer: int) -> bool:
        return layer not in self.no_rope_layers

    @property
    def num_parameters(self) -> int:
        attention = 2 * self.dim * self.num_heads * self.head_dim + 2 * self.dim * self.num_kv_heads * self.head_dim
        layer = attention + 3 * self.dim * self.ffn_dim + 2 * self.dim
        tables = self.vocab_size * self.dim * (1 if self.tied else 2)
        return tables + self.num_layers * layer + self.dim

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"global_layers": list(self.global_layers),
                                           "no_rope_layers": list(self.no_rope_layers)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "ModelConfig":
        """Reads what `to_json` wrote, strictly.

        Raises:
            ValueError: an unknown or missing key; the message names the nearest known one.
        """
        fields = {f.name: f for f in dataclasses.fields(cls)}
        for key in data:
            if key not in fields:
                near = difflib.get_close_matches(key, fields, n=1)
                raise ValueError(f"unknown model setting {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        missing = [n for n, f in fields.items() if n not in data and f.default is dataclasses.MISSING]
        if missing:
            raise ValueError(f"model settings are missing: {', '.join(missing)}")
        values = dict(data)
        values["global_layers"] = tuple(values["global_layers"])
        values["no_rope_layers"] = tuple(values.get("no_rope_layers", ()))
        if values.get("rope_scaling") is not None:
            values["rope_scaling"] = RopeScaling(**values["rope_scaling"])
        return cls(**values)


PRESETS: dict[str, ModelConfig] = {
    # arXiv 2511.06719 and the published config.json: 1,084,453,120 parameters.
    "mobilellm-pro": ModelConfig(
        vocab_size=202_048, dim=1280, num_layers=30, num_heads=20, num_kv_heads=4, head_dim=64, ffn_dim=6144,
        global_layers=(0, 4, 8, 12, 16, 20, 24, 28, 29), sliding_window=512, max_context=131_072,
        rope_layout="interleaved", qk_norm=True,
    ),
    # The same parts in small: 4 heads share 2 key-value heads, the last layer is global as in the big one.
    "nano": ModelConfig(
        vocab_size=4096, dim=256, num_layers=6, num_heads=4, num_kv_heads=2, head_dim=64, ffn_dim=768,
        global_layers=(0, 4, 5), sliding_window=128, max_context=2048,
        rope_theta=10_000.0, rope_layout="interleaved", qk_norm=True,
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
