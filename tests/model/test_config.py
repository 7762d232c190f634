"""The shape as data: parameter counts, strict JSON, shapes that cannot be."""

import dataclasses
import json
from typing import Any

import pytest
import torch

from model.config import PRESETS, ModelConfig, RopeScaling, find_preset
from model.transformer import Transformer

NANO = PRESETS["nano"]
SCALING = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_context": 8192}


def test_the_big_preset_has_the_published_number_of_parameters() -> None:
    assert PRESETS["mobilellm-pro"].num_parameters == 1_084_453_120


@pytest.mark.parametrize(
    "config",
    [
        *PRESETS.values(),
        dataclasses.replace(NANO, tied=False),
        dataclasses.replace(NANO, num_kv_heads=1, head_dim=32, qk_norm=False),
    ],
)
def test_the_real_model_has_as_many_parameters_as_its_config_says(config: ModelConfig) -> None:
    with torch.device("meta"):
        model = Transformer(config)
    assert sum(p.numel() for p in model.parameters()) == config.num_parameters
    assert (model.head.weight is model.embedding.weight) == config.tied


def test_the_big_preset_is_the_published_model() -> None:
    config = find_preset("mobilellm-pro")
    assert [i for i in range(config.num_layers) if config.is_global(i)] == [0, 4, 8, 12, 16, 20, 24, 28, 29]
    assert config.sliding_window == 512 and config.num_heads // config.num_kv_heads == 5
    assert all(config.uses_rope(i) for i in range(30)) and config.qk_norm and config.tied


def test_nano_has_every_part_of_the_big_preset() -> None:
    big = PRESETS["mobilellm-pro"]
    assert (NANO.rope_layout, NANO.qk_norm, NANO.tied) == (big.rope_layout, big.qk_norm, big.tied)
    assert NANO.is_global(0) and NANO.is_global(NANO.num_layers - 1) and not NANO.is_global(1)
    assert NANO.num_heads > NANO.num_kv_heads > 1 and NANO.sliding_window < NANO.max_context


@pytest.mark.parametrize(
    "config",
    [
        *PRESETS.values(),
        dataclasses.replace(
            NANO,
            rope_scaling=RopeScaling(**SCALING),
            no_rope_layers=(1, 3),
            temperature_floor=16,
            temperature_scale=0.5,
            tied=False,
        ),
    ],
)
def test_a_config_survives_json(config: ModelConfig) -> None:
    assert ModelConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_settings_with_a_default_may_be_missing_and_others_not() -> None:
    data = NANO.to_json()
    for field in dataclasses.fields(ModelConfig):
        less = {key: value for key, value in data.items() if key != field.name}
        if field.default is dataclasses.MISSING:
            with pytest.raises(ValueError, match=f"missing: {field.name}"):
                ModelConfig.from_json(less)
        else:
            assert getattr(ModelConfig.from_json(less), field.name) == field.default


@pytest.mark.parametrize("change, message", [
    ({"sliding_windw": 8}, "unknown model setting 'sliding_windw'; did you mean 'sliding_window'"),
    ({"dim": 64.5}, "dim is 64.5; it must be an integer"),
    ({"dim": "64"}, "dim is '64'; it must be an integer"),
    ({"num_layers": True}, "num_layers is True; it must be an integer"),
    ({"vocab_size": 0}, "vocab_size is 0; it must be at least 1"),
    ({"temperature_floor": -1}, "temperature_floor is -1"),
    ({"norm_eps": float("nan")}, "norm_eps is nan"),
    ({"norm_eps": 0}, "norm_eps is 0; it must be above 0"),
    ({"rope_theta": float("inf")}, "rope_theta is inf"),
    ({"rope_theta": "10000"}, "rope_theta is '10000'"),
    ({"temperature_scale": -0.1}, "temperature_scale is -0.1; it must be at least 0"),
    ({"qk_norm": 1}, "qk_norm is 1; it must be true or false"),
    ({"tied": None}, "tied is None; it must be true or false"),
    ({"rope_layout": "pairs"}, "rope_layout is 'pairs'; known: interleaved, halves"),
    ({"global_layers": None}, "global_layers is None; it must be a list of layer indices"),
    ({"global_layers": "0"}, "global_layers is '0'"),
    ({"global_layers": [0.0, 4]}, "must be a list of layer indices"),
    ({"global_layers": [False]}, "must be a list of layer indices"),
    ({"global_layers": [4, 0]}, "must be increasing indices below 6"),
    ({"global_layers": [1, 1]}, "must be increasing indices below 6"),
    ({"global_layers": [6]}, "must be increasing indices below 6"),
    ({"no_rope_layers": [-1]}, r"no_rope_layers \[-1\] must be increasing"),
    ({"num_kv_heads": 3}, "num_heads 4 is not a multiple of num_kv_heads 3"),
    ({"num_kv_heads": 8}, "num_heads 4 is not a multiple of num_kv_heads 8"),
    ({"head_dim": 63}, "head_dim 63 is odd"),
    ({"rope_scaling": 8.0}, "must be an object"),
    ({"rope_scaling": SCALING | {"facto": 1.0}}, "unknown RoPE scaling setting 'facto'; did you mean 'factor'"),
    ({"rope_scaling": {"factor": 8.0}}, "missing: low_freq_factor, high_freq_factor, original_context"),
    ({"rope_scaling": SCALING | {"factor": 0}}, "rope_scaling.factor is 0; it must be above 0"),
    ({"rope_scaling": SCALING | {"original_context": 8192.0}}, "original_context is 8192.0; it must be an integer"),
    ({"rope_scaling": SCALING | {"low_freq_factor": 4.0}}, "low_freq_factor 4.0 must be below high_freq_factor 4.0"),
])  # fmt: skip
def test_a_setting_that_cannot_be_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig.from_json(NANO.to_json() | change)


def test_json_that_is_no_object_is_refused() -> None:
    with pytest.raises(ValueError, match="must be an object"):
        ModelConfig.from_json([])  # type: ignore[arg-type]


def test_an_unknown_preset_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match=r"did you mean 'nano'.*known: mobilellm-pro, nano"):
        find_preset("nanoo")
