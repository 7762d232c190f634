"""Hugging Face settings and names: what we can compute is read, everything else is refused by name."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from model.checkpoint import float_shapes
from model.config import PRESETS, RopeScaling
from model.hf import our_name, their_name
from model.hf_config import parse_hf_config, read_hf_config

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 172,
    "num_hidden_layers": 5,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
}
GLOBAL = PRESETS["mobilellm-pro"].global_layers
PRO: dict[str, Any] = {
    "architectures": ["MobileLLMP1ForCausalLM"],
    "model_type": "llama4_text",
    "vocab_size": 202_048,
    "hidden_size": 1280,
    "intermediate_size": 6144,
    "intermediate_size_mlp": 6144,
    "num_hidden_layers": 30,
    "num_attention_heads": 20,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500_000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "attn_scale": 0.1,
    "floor_scale": 8192,
    "attn_temperature_tuning": True,
    "use_qk_norm": True,
    "layer_types": ["full_attention" if i in GLOBAL else "sliding_attention" for i in range(30)],
    "sliding_window": 512,
    "no_rope_layers": [1] * 30,
    "moe_layers": [],
    "attention_chunk_size": 8192,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def test_mobilellm_pros_config_is_the_preset():
    assert parse_hf_config(PRO) == (PRESETS["mobilellm-pro"], "llama4_text")


@pytest.mark.parametrize(
    "absent",
    [
        "no_rope_layers",
        "use_qk_norm",
        "moe_layers",
        "rms_norm_eps",
        "rope_theta",
        "attn_scale",
        "intermediate_size_mlp",
    ],
)
def test_mobilellm_pros_defaults_stand_in_for_absent_settings(absent):
    config, _ = parse_hf_config({key: value for key, value in PRO.items() if key != absent})
    assert config == PRESETS["mobilellm-pro"]


def test_one_in_no_rope_layers_means_that_the_layer_uses_rope():
    flags = [1] * 30
    flags[3] = flags[7] = 0
    config, _ = parse_hf_config(PRO | {"no_rope_layers": flags})
    assert config.no_rope_layers == (3, 7)
    assert (config.temperature_floor, config.temperature_scale) == (8192, 0.1)
    untuned, _ = parse_hf_config(PRO | {"no_rope_layers": flags, "attn_temperature_tuning": False})
    assert (untuned.temperature_floor, untuned.temperature_scale) == (0, 0.0)


def test_transformers_own_llama4_without_a_list_leaves_rope_out_of_every_fourth_layer():
    data = PRO | {"no_rope_layers": None, "architectures": ["Llama4ForCausalLM"]}
    assert parse_hf_config(data)[0].no_rope_layers == (3, 7, 11, 15, 19, 23, 27)


def test_chunks_as_large_as_the_context_are_full_attention():
    data = PRO | {"layer_types": ["chunked_attention"] * 30, "attention_chunk_size": 131_072}
    assert parse_hf_config(data)[0].global_layers == tuple(range(30))


def test_a_llama_has_global_layers_only_and_rotates_halves():
    config, family = parse_hf_config(LLAMA)
    assert family == "llama"
    assert config.global_layers == (0, 1, 2, 3, 4)
    assert config.sliding_window == config.max_context == 512
    assert (config.rope_layout, config.qk_norm, config.tied, config.head_dim) == ("halves", False, True, 8)
    assert config.rope_theta == 10_000.0


def test_absent_llama_settings_take_transformers_defaults():
    data = {k: v for k, v in LLAMA.items() if k not in ("rms_norm_eps", "tie_word_embeddings", "num_key_value_heads")}
    config, _ = parse_hf_config(data)
    assert (config.norm_eps, config.tied, config.num_kv_heads) == (1e-6, False, 8)


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_theta": 500_000.0, "rope_scaling": LLAMA3},
        {"rope_parameters": LLAMA3 | {"rope_theta": 500_000.0}},
        {"rope_theta": 500_000, "rope_scaling": {k if k != "rope_type" else "type": v for k, v in LLAMA3.items()}},
        {"rope_parameters": LLAMA3 | {"rope_theta": 500_000.0}, "rope_scaling": None, "rope_theta": 1.0},
    ],
    ids=["old", "transformers-5", "older", "both-theta"],
)
def test_llama3_rope_is_read_in_every_spelling(rope):
    config, _ = parse_hf_config(LLAMA | rope)
    assert config.rope_theta == 500_000.0
    assert config.rope_scaling == RopeScaling(
        factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0, original_context=8192
    )


@pytest.mark.parametrize(
    ("base", "change", "message"),
    [
        (LLAMA, {"model_type": "qwen2"}, "model_type 'qwen2' is not supported; known: llama4_text, llama"),
        (LLAMA, {"model_type": None}, "model_type None is not supported"),
        (PRO, {"model_type": "llama4"}, "multimodal"),
        (PRO, {"moe_layers": [0, 2]}, r"moe_layers is \[0, 2\]: mixture-of-experts"),
        (LLAMA, {"attention_bias": True}, "attention_bias is True"),
        (LLAMA, {"mlp_bias": True}, "mlp_bias is True"),
        (LLAMA, {"hidden_act": "gelu"}, "hidden_act is 'gelu'; only 'silu'"),
        (LLAMA, {"quantization_config": {"quant_method": "gptq"}}, "quantization_config is present .*'gptq'"),
        (LLAMA, {"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
        (LLAMA, {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "factor is 0.5"),
        (LLAMA, {"rope_interleaved": True}, "rope_interleaved is true"),
        (LLAMA, {"rope_scaling": {"type": "linear", "factor": 2.0}}, "RoPE type 'linear' is not supported"),
        (LLAMA, {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "RoPE type 'dynamic'"),
        (LLAMA, {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "RoPE type 'yarn'"),
        (LLAMA, {"rope_scaling": {"rope_type": "yarn", "beta_fast": 32}}, "RoPE setting 'beta_fast' is not supported"),
        (LLAMA, {"rope_parameters": {"full_attention": {"rope_theta": 1.0}}}, "RoPE by layer type"),
        (LLAMA, {"rope_parameters": {"rope_type": "default"}, "rope_scaling": LLAMA3}, "disagree"),
        (LLAMA, {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "low_freq_factor is missing"),
        (PRO, {"layer_types": ["chunked_attention"] * 30}, "attention_chunk_size 8192 is smaller than .* 131072"),
        (PRO, {"layer_types": None}, "layer_types is absent, which means chunked_attention"),
        (PRO, {"layer_types": ["full_attention"] * 29}, "one kind for each of 30 layers"),
        (PRO, {"layer_types": ["linear_attention"] * 30}, r"layer_types\[0\] is 'linear_attention'"),
        (PRO, {"sliding_window": None}, "sliding_window is missing"),
        (PRO, {"no_rope_layers": [1, 0]}, "no_rope_layers is .* 30 values"),
        (PRO, {"no_rope_layers": [2] * 30}, "no_rope_layers is"),
        (PRO, {"use_qk_norm": "yes"}, "use_qk_norm is 'yes'"),
        (LLAMA, {"hidden_size": None}, "hidden_size is missing"),
        (LLAMA, {"hidden_size": 64.5}, "hidden_size is 64.5"),
        (LLAMA, {"vocab_size": True}, "vocab_size is True"),
        (LLAMA, {"rms_norm_eps": -1e-5}, "rms_norm_eps is -1e-05"),
        (LLAMA, {"num_attention_heads": 7, "num_key_value_heads": 7}, "hidden_size 64 is not a multiple"),
        (LLAMA, {"num_key_value_heads": 3}, "num_heads 8 is not a multiple of num_kv_heads 3"),
    ],
)
def test_an_unsupported_setting_is_refused_by_name(base, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse_hf_config(base | change)
    assert "\n" not in str(caught.value)


def test_a_setting_that_we_do_not_know_is_named_in_the_log(caplog):
    with caplog.at_level(logging.WARNING, "pocketlm"):
        parse_hf_config(LLAMA | {"logits_scaling": 8.0, "resid_pdrop": None, "use_cache": True})
    assert [record.message.rpartition(": ")[2] for record in caplog.records] == ["logits_scaling"]


def test_an_error_names_the_config_file(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(LLAMA | {"model_type": "gpt2"}))
    with pytest.raises(ValueError, match=r"config\.json: model_type 'gpt2'"):
        read_hf_config(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not valid JSON"):
        read_hf_config(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match=r"config\.json is not a JSON object"):
        read_hf_config(tmp_path)


def test_what_is_no_hugging_face_folder_gets_a_cure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="hf download facebook/MobileLLM-Pro --local-dir DIR"):
        read_hf_config(Path("facebook/MobileLLM-Pro"))
    with pytest.raises(ValueError, match="does not exist; check the path"):
        read_hf_config(tmp_path / "nowhere")
    (tmp_path / "file.safetensors").touch()
    with pytest.raises(ValueError, match="is a file; give the Hugging Face folder"):
        read_hf_config(tmp_path / "file.safetensors")
    with pytest.raises(ValueError, match=r"has no config\.json; give a Hugging Face folder"):
        read_hf_config(tmp_path)
    (tmp_path / "checkpoint.json").touch()
    with pytest.raises(ValueError, match=r"is a pocketlm checkpoint already; go on with `pocketlm quantize"):
        read_hf_config(tmp_path)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("model.embed_tokens.weight", "embedding.weight"),
        ("embed_tokens.weight", "embedding.weight"),
        ("language_model.model.norm.weight", "norm.weight"),
        ("language_model.lm_head.weight", "head.weight"),
        ("lm_head.weight", "head.weight"),
        ("model.layers.12.self_attn.q_proj.weight", "layers.12.attention.q_proj.weight"),
        ("layers.0.feed_forward.gate_proj.weight", "layers.0.feed_forward.gate_proj.weight"),
        ("model.layers.0.mlp.down_proj.weight", "layers.0.feed_forward.down_proj.weight"),
        ("model.layers.3.input_layernorm.weight", "layers.3.attention_norm.weight"),
        ("model.layers.3.post_attention_layernorm.weight", "layers.3.feed_forward_norm.weight"),
        ("model.layers.3.self_attn.o_proj.weight_fake_quantizer.scale", "layers.3.attention.o_proj.weight_scale"),
        ("model.embed_tokens.weight_fake_quantizer.scale", "embedding.weight_scale"),
        ("model.layers.3.self_attn.q_proj.bias", None),
        ("model.layers.3.self_attn.q_norm.weight", None),
        ("model.layers.03.self_attn.q_proj.weight", None),
        ("vision.layers.0.mlp.up_proj.weight", None),
        ("model.layers.0.feed_forward.experts.down_proj", None),
        ("weight", None),
    ],
)
def test_foreign_names_become_ours(theirs, ours):
    assert our_name(theirs) == ours


@pytest.mark.parametrize("family", ["llama", "llama4_text"])
def test_every_one_of_our_names_goes_to_a_foreign_one_and_back(family):
    for name in float_shapes(parse_hf_config(LLAMA | {"tie_word_embeddings": False})[0]):
        theirs = their_name(name, family)
        assert our_name(theirs) == name
        assert (".mlp." in theirs) == (family == "llama" and "feed_forward." in name)
