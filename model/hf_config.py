"""A Hugging Face `config.json` as a ModelConfig. What we cannot compute exactly is refused by name, never ignored.

Families: `llama4_text` (MobileLLM-Pro; transformers' Llama4ForCausalLM without experts) and `llama` (LlamaForCausalLM).
Defaults are those of transformers 5.23 (configuration_llama.py, configuration_llama4.py) unless said otherwise.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.config import ModelConfig, RopeScaling
from model.files import read_json
from model.hf_settings import ROPE_KEYS, boolean, integer, number, refuse_unsupported, warn_of_unknown

_FAMILIES = ("llama4_text", "llama")


def read_hf_config(folder: Path) -> tuple[ModelConfig, str]:
    """The model's shape and its family.

    Raises:
        ValueError: the folder is no Hugging Face checkpoint, or its model is one that we cannot compute exactly; the
            message names the setting.
    """
    path = _find_config(folder)
    data = read_json(path)
    if not isinstance(data, dict):
        raise ValueError(f"{path} is not a JSON object; download it again")
    try:
        return parse_hf_config(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _find_config(folder: Path) -> Path:
    if not folder.exists():
        hint = (
            f"; a model on the hub is downloaded first: hf download {folder} --local-dir DIR"
            if not folder.is_absolute() and len(folder.parts) == 2
            else "; check the path"
        )
        raise ValueError(f"{folder} does not exist{hint}")
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file; give the Hugging Face folder that holds config.json and the weights")
    if not (folder / "config.json").is_file():
        if (folder / "checkpoint.json").is_file():
            raise ValueError(f"{folder} is a pocketlm checkpoint already; go on with `pocketlm quantize {folder} OUT`")
        raise ValueError(f"{folder} has no config.json; give a Hugging Face folder (config.json, weights, tokenizer)")
    return folder / "config.json"


def parse_hf_config(data: Mapping[str, Any]) -> tuple[ModelConfig, str]:
    """`read_hf_config` for the parsed JSON.

    Raises:
        ValueError: as there.
    """
    family = data.get("model_type")
    if family not in _FAMILIES:
        hint = "; this is the multimodal model with experts" if family == "llama4" else ""
        raise ValueError(f"model_type {family!r} is not supported{hint}; known: {', '.join(_FAMILIES)}")
    refuse_unsupported(data)
    warn_of_unknown(data)
    config = _llama4(data) if family == "llama4_text" else _llama(data)
    return config, str(family)


def _shape(data: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that both families share."""
    num_heads, dim = integer(data, "num_attention_heads"), integer(data, "hidden_size")
    head_dim = data.get("head_dim")
    if head_dim is None and dim % num_heads:
        raise ValueError(f"hidden_size {dim} is not a multiple of num_attention_heads {num_heads}; give head_dim")
    theta, scaling = _rope(data)
    return {
        "vocab_size": integer(data, "vocab_size"),
        "dim": dim,
        "num_layers": integer(data, "num_hidden_layers"),
        "num_heads": num_heads,
        "num_kv_heads": integer(data, "num_key_value_heads", num_heads),
        "head_dim": dim // num_heads if head_dim is None else integer(data, "head_dim"),
        "max_context": integer(data, "max_position_embeddings"),
        "rope_theta": theta,
        "rope_scaling": scaling,
        "tied": boolean(data, "tie_word_embeddings", False),
    }


def _llama(data: Mapping[str, Any]) -> ModelConfig:
    shape = _shape(data)
    return ModelConfig(
        **shape,
        ffn_dim=integer(data, "intermediate_size"),
        norm_eps=number(data, "rms_norm_eps", 1e-6),
        global_layers=tuple(range(shape["num_layers"])),
        sliding_window=shape["max_context"],
        rope_layout="halves",
    )


def _llama4(data: Mapping[str, Any]) -> ModelConfig:
    if data.get("moe_layers"):
        raise ValueError(f"moe_layers is {data['moe_layers']!r}: mixture-of-experts layers are not supported")
    shape = _shape(data)
    no_rope = _no_rope_layers(data, shape["num_layers"])
    global_layers = _global_layers(data, shape["num_layers"], shape["max_context"], no_rope)
    is_all_global = len(global_layers) == shape["num_layers"]
    is_tuned = bool(no_rope) and boolean(data, "attn_temperature_tuning", True)
    # transformers gives dense layers `intermediate_size_mlp`; `intermediate_size` is an expert's width.
    width = "intermediate_size_mlp" if data.get("intermediate_size_mlp") is not None else "intermediate_size"
    return ModelConfig(
        **shape,
        ffn_dim=integer(data, width),
        norm_eps=number(data, "rms_norm_eps", 1e-5),
        global_layers=global_layers,
        sliding_window=shape["max_context"] if is_all_global else integer(data, "sliding_window"),
        rope_layout="interleaved",
        no_rope_layers=no_rope,
        qk_norm=boolean(data, "use_qk_norm", True),
        temperature_floor=integer(data, "floor_scale", 8192) if is_tuned else 0,
        temperature_scale=number(data, "attn_scale", 0.1) if is_tuned else 0.0,
    )


def _no_rope_layers(data: Mapping[str, Any], num_layers: int) -> tuple[int, ...]:
    """Indices of layers without RoPE. In Hugging Face's list 1 means that the layer USES RoPE.

    Without a list, transformers' own Llama4ForCausalLM leaves RoPE out of every 4th layer; MobileLLM-Pro uses it
    everywhere (../shared/docs/mobilellm-pro.md).
    """
    flags = data.get("no_rope_layers")
    if not flags:
        is_transformers = "Llama4ForCausalLM" in (data.get("architectures") or ())
        if not is_transformers and data.get("no_rope_layer_interval") is None:
            return ()
        interval = integer(data, "no_rope_layer_interval", 4)
        return tuple(range(interval - 1, num_layers, interval))
    if not isinstance(flags, list) or len(flags) < num_layers or any(flag not in (0, 1) for flag in flags):
        raise ValueError(
            f"no_rope_layers is {flags!r}; it must be a list of {num_layers} values, 1 for a layer with "
            "RoPE, 0 for one without"
        )
    return tuple(i for i in range(num_layers) if not flags[i])


def _global_layers(
    data: Mapping[str, Any], num_layers: int, max_context: int, no_rope: tuple[int, ...]
) -> tuple[int, ...]:
    """Indices of the layers that attend over everything."""
    types = data.get("layer_types")
    if types is None:  # transformers' default: chunks wherever there is RoPE
        types = ["full_attention" if i in no_rope else "chunked_attention" for i in range(num_layers)]
    if not isinstance(types, list) or len(types) != num_layers:
        raise ValueError(f"layer_types is {types!r}; it must be a list with one kind for each of {num_layers} layers")
    known = ("full_attention", "sliding_attention", "chunked_attention")
    for i, kind in enumerate(types):
        if kind not in known:
            raise ValueError(f"layer_types[{i}] is {kind!r}; known: {', '.join(known)}")
    if "chunked_attention" in types:
        chunk = integer(data, "attention_chunk_size", 8192)
        if chunk < max_context:
            said = "layer_types has" if data.get("layer_types") is not None else "layer_types is absent, which means"
            raise ValueError(
                f"{said} chunked_attention layers whose attention_chunk_size {chunk} is smaller than "
                f"max_position_embeddings {max_context}: a token there does not see across the border of its chunk, "
                "which a sliding window does not reproduce; only chunks as large as the context are supported"
            )
    return tuple(i for i, kind in enumerate(types) if kind != "sliding_attention")


def _rope(data: Mapping[str, Any]) -> tuple[float, RopeScaling | None]:
    """Theta and frequency scaling, from transformers 5's `rope_parameters` or the older top-level settings."""
    default_theta = 500_000.0 if data["model_type"] == "llama4_text" else 10_000.0
    new, old = data.get("rope_parameters"), data.get("rope_scaling")
    if new and old and dict(new) != dict(old):
        raise ValueError(f"rope_parameters {new!r} and rope_scaling {old!r} disagree; remove the outdated one")
    rope = new or old or {}
    if not isinstance(rope, dict) or any(isinstance(value, dict) for value in rope.values()):
        raise ValueError(f"rope parameters {rope!r} are not one flat table; RoPE by layer type is not supported")
    unknown = sorted(set(rope) - ROPE_KEYS)
    if unknown:
        raise ValueError(f"RoPE setting {unknown[0]!r} is not supported; known: {', '.join(sorted(ROPE_KEYS))}")
    if rope.get("partial_rotary_factor") not in (None, 1, 1.0):
        raise ValueError(f"partial_rotary_factor is {rope['partial_rotary_factor']!r}; only full rotation is supported")
    theta = number({**data, **{k: v for k, v in rope.items() if k == "rope_theta"}}, "rope_theta", default_theta)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return theta, None
    if kind != "llama3":
        raise ValueError(f"RoPE type {kind!r} is not supported; known: default, llama3")
    return theta, RopeScaling(
        factor=number(rope, "factor"),
        low_freq_factor=number(rope, "low_freq_factor"),
        high_freq_factor=number(rope, "high_freq_factor"),
        original_context=integer(rope, "original_max_position_embeddings"),
    )
