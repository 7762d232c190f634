"""The settings of a Hugging Face `config.json`, one by one: known, harmless or refused, and each read by its type.

Refuses to know what they make together (model/hf_config.py).
"""

import logging
from collections.abc import Mapping
from typing import Any

_log = logging.getLogger("pocketlm")

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
ROPE_KEYS = {
    "rope_type",
    "type",
    "rope_theta",
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "original_max_position_embeddings",
    "partial_rotary_factor",
}


def refuse_unsupported(data: Mapping[str, Any]) -> None:
    """Refuses what a model with these settings would compute and ours would not.

    Raises:
        ValueError: biases, another activation, weights that are quantized already, partial or interleaved rotation.
    """
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


def warn_of_unknown(data: Mapping[str, Any]) -> None:
    """Logs the settings that are neither used nor known to be harmless; the model is made without them."""
    known = _COMMON | _HARMLESS | (_LLAMA4 if data["model_type"] == "llama4_text" else set())
    unknown = sorted(key for key, value in data.items() if key not in known and value is not None)
    if unknown:
        _log.warning("config.json has settings that pocketlm does not know and leaves out: %s", ", ".join(unknown))


def integer(data: Mapping[str, Any], key: str, default: int | None = None) -> int:
    """A setting that counts; null is as good as absent, and only a default makes that possible."""
    value = data.get(key)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{key} is {'missing' if value is None else repr(value)}; it must be an integer of at least 1")
    return value


def number(data: Mapping[str, Any], key: str, default: float | None = None) -> float:
    """A positive, finite setting; absent as for `integer`."""
    value = data.get(key)
    value = default if value is None else value
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise ValueError(f"{key} is {'missing' if value is None else repr(value)}; it must be a positive number")
    return float(value)


def boolean(data: Mapping[str, Any], key: str, default: bool) -> bool:
    """A setting that is on or off, 0 and 1 included; absent as for `integer`."""
    value = data.get(key)
    value = default if value is None else value
    if value not in (True, False, 0, 1):
        raise ValueError(f"{key} is {value!r}; it must be true or false")
    return bool(value)
