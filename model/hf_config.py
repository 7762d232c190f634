"""A Hugging Face `config.json` as a ModelConfig. What we cannot compute exactly is refused by name, never ignored.

Families: `llama4_text` (MobileLLM-Pro; transformers' Llama4ForCausalLM without experts) and `llama` (LlamaForCausalLM).
Defaults are those of transformers 5.23 (configuration_llama.py, configuration_llama4.py) unless said otherwise.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.config import ModelConfig, RopeScaling
from model.files import read_json

_log = logging.getLogger("pocketlm")

_FAMILIES = ("llama4_text", "llama")
_COMMON = {
    "model_type",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "max_position_embeddings",
    "rms_norm_eps",
    "tie_word_embeddings",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "attention_bias",
    "mlp_bias",
    "quantization_config",
    "partial_rotary_factor",
    "rope_interleaved",
    "architectures",
}
_LLAMA4 = {
    "intermediate_size_mlp",
    "moe_layers",
    "use_qk_norm",
    "no_rope_layers",
    "no_rope_layer_interval",
    "layer_types",
    "sliding_window",
    "attention_chunk_size",
    "attn_temperature_tuning",
    "floor_scale",
    "attn_scale",
}
# Settings that change no logit: training, storage, ids, output options.
_HARMLESS = {
    "_name_or_path",
    "attention_dropout",
    "auto_map",
    "bos_token_id",
    "cache_implementation",
    "chunk_size_feed_forward",
    "dtype",
    "eos_token_id",
    "for_llm_compressor",
    "id2label",
    "initializer_range",
    "interleave_moe_layer_step",
    "is_encoder_decoder",
    "is_llama_config",
    "label2id",
    "num_experts_per_tok",
    "num_local_experts",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "pad_token_id",
    "pretraining_tp",
    "problem_type",
    "return_dict",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "torch_dtype",
    "transformers_version",
    "use_cache",
}
_ROPE_KEYS = {
    "rope_type",
    "type",
    "rope_theta",
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "original_max_position_embeddings",
    "partial_rotary_factor",
}


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
    _refuse_unsupported(data)
    known = _COMMON | _HARMLESS | (_LLAMA4 if family == "llama4_text" else set())
    unknown = sorted(key for key, value in data.items() if key not in known and value is not None)
    if unknown:
        _log.warning("config.json has settings that pocketlm does not know and leaves out: %s", ", ".join(unknown))
    config = _llama4(data) if family == "llama4_text" else _llama(data)
    return config, str(family)


def _refuse_unsupported(data: Mapping[str, Any]) -> None:
    for key in ("attention_bias", "mlp_bias"):
        if data.get(key):
            raise ValueError(f"{key} is {data[key]!r}: layers with biases are not supported")
    if data.get("hidden_act", "silu") not in ("silu", "swish"):
        raise ValueError(f"hidden_act is {data['hidden_act']!r}; only 'silu' is supported")
    quantization = data.get("quantization_config")
    if quantization is not None:
        method = quantization.get("quant_method") if isinstance(quantization, dict) else quantization
        raise ValueError(
            f"quantization_config is present (quant_method {method!r}): these weights are quantized "
            "already; convert the float checkpoint that they were made from"
        )
    if data["model_type"] == "llama" and data.get("rope_interleaved"):
        raise ValueError("rope_interleaved is true: LlamaForCausalLM rotates halves, and so does pocketlm for a llama")
    if data.get("partial_rotary_factor") not in (None, 1, 1.0):
        raise ValueError(f"partial_rotary_factor is {data['partial_rotary_factor']!r}; only full rotation is supported")


def _shape(data: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that both families share."""
    num_heads, dim = _integer(data, "num_attention_heads"), _integer(data, "hidden_size")
    head_dim = data.get("head_dim")
    if head_dim is None and dim % num_heads:
        raise ValueError(f"hidden_size {dim} is not a multiple of num_attention_heads {num_heads}; give head_dim")
    theta, scaling = _rope(data)
    return {
        "vocab_size": _integer(data, "vocab_size"),
        "dim": dim,
        "num_layers": _integer(data, "num_hidden_layers"),
        "num_heads": num_heads,
        "num_kv_heads": _integer(data, "num_key_value_heads", num_heads),
        "head_dim": dim // num_heads if head_dim is None else _integer(data, "head_dim"),
        "max_context": _integer(data, "max_position_embeddings"),
        "rope_theta": theta,
        "rope_scaling": scaling,
        "tied": _boolean(data, "tie_word_embeddings", False),
    }


def _llama(data: Mapping[str, Any]) -> ModelConfig:
    shape = _shape(data)
    return ModelConfig(
        **shape,
        ffn_dim=_integer(data, "intermediate_size"),
        norm_eps=_number(data, "rms_norm_eps", 1e-6),
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
    is_tuned = bool(no_rope) and _boolean(data, "attn_temperature_tuning", True)
    # transformers gives dense layers `intermediate_size_mlp`; `intermediate_size` is an expert's width.
    width = "intermediate_size_mlp" if data.get("intermediate_size_mlp") is not None else "intermediate_size"
    return ModelConfig(
        **shape,
        ffn_dim=_integer(data, width),
        norm_eps=_number(data, "rms_norm_eps", 1e-5),
        global_layers=global_layers,
        sliding_window=shape["max_context"] if is_all_global else _integer(data, "sliding_window"),
        rope_layout="interleaved",
        no_rope_layers=no_rope,
        qk_norm=_boolean(data, "use_qk_norm", True),
        temperature_floor=_integer(data, "floor_scale", 8192) if is_tuned else 0,
        temperature_scale=_number(data, "attn_scale", 0.1) if is_tuned else 0.0,
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
        interval = _integer(data, "no_rope_layer_interval", 4)
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
        chunk = _integer(data, "attention_chunk_size", 8192)
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
    unknown = sorted(set(rope) - _ROPE_KEYS)
    if unknown:
        raise ValueError(f"RoPE setting {unknown[0]!r} is not supported; known: {', '.join(sorted(_ROPE_KEYS))}")
    if rope.get("partial_rotary_factor") not in (None, 1, 1.0):
        raise ValueError(f"partial_rotary_factor is {rope['partial_rotary_factor']!r}; only full rotation is supported")
    theta = _number({**data, **{k: v for k, v in rope.items() if k == "rope_theta"}}, "rope_theta", default_theta)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return theta, None
    if kind != "llama3":
        raise ValueError(f"RoPE type {kind!r} is not supported; known: default, llama3")
    return theta, RopeScaling(
        factor=_number(rope, "factor"),
        low_freq_factor=_number(rope, "low_freq_factor"),
        high_freq_factor=_number(rope, "high_freq_factor"),
        original_context=_integer(rope, "original_max_position_embeddings"),
    )


def _integer(data: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = data.get(key)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{key} is {'missing' if value is None else repr(value)}; it must be an integer of at least 1")
    return value


def _number(data: Mapping[str, Any], key: str, default: float | None = None) -> float:
    value = data.get(key)
    value = default if value is None else value
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise ValueError(f"{key} is {'missing' if value is None else repr(value)}; it must be a positive number")
    return float(value)


def _boolean(data: Mapping[str, Any], key: str, default: bool) -> bool:
    value = data.get(key)
    value = default if value is None else value
    if value not in (True, False, 0, 1):
        raise ValueError(f"{key} is {value!r}; it must be true or false")
    return bool(value)
