"""Rotary positions: exact far out, in both layouts, and Llama 3.1's scaling as transformers has it."""

import dataclasses

import mpmath
import pytest
import torch
from torch import Tensor

from model.config import PRESETS, ModelConfig, RopeScaling
from model.rope import cos_sin, inverse_frequencies, rotate

PRO = PRESETS["mobilellm-pro"]
FAR = (0, 1, 511, 131_071, 9_999_999, 10_000_000, 2**31 - 1, 2**31, 2**31 + 1, 10**12)


def true_cos_sin(position: int, config: ModelConfig) -> tuple[list[float], list[float]]:
    """60 digits, from the formula alone (arXiv 2104.09864, section 3.2.2)."""
    with mpmath.workdps(60):
        angles = [
            position * mpmath.power(mpmath.mpf(config.rope_theta), -mpmath.mpf(2 * i) / config.head_dim)
            for i in range(config.head_dim // 2)
        ]
        return [float(mpmath.cos(a)) for a in angles], [float(mpmath.sin(a)) for a in angles]


@pytest.mark.parametrize("name", PRESETS)
def test_angles_are_within_a_millionth_at_any_position(name: str) -> None:
    config = PRESETS[name]
    cos, sin = cos_sin(torch.tensor(FAR), inverse_frequencies(config))
    assert cos.dtype == sin.dtype == torch.float32
    worst = {}
    for row, position in enumerate(FAR):
        true = true_cos_sin(position, config)
        worst[position] = max(
            float((got[row].double() - torch.tensor(want, dtype=torch.float64)).abs().max())
            for got, want in zip((cos, sin), true, strict=True)
        )
    print(f"\n{name}: worst errors by position {worst}")
    assert all(error <= 1e-6 for position, error in worst.items() if position <= 2**31 + 1)
    assert worst[10**12] < 1e-3  # float64 itself ends; 300 years at 100 tokens a second


def test_the_float64_reference_of_the_promise_is_met_at_ten_million() -> None:
    inv_freq = inverse_frequencies(PRO)
    angles = 10_000_000 * torch.tensor([500_000.0 ** (-2 * i / 64) for i in range(32)], dtype=torch.float64)
    cos, sin = cos_sin(torch.tensor([10_000_000]), inv_freq)
    assert (cos[0] - angles.cos()).abs().max() <= 1e-6
    assert (sin[0] - angles.sin()).abs().max() <= 1e-6


def test_float32_angles_would_miss_the_bound_by_far() -> None:
    """The bound means something: the usual float32 product fails it."""
    angles = torch.tensor([10_000_000.0]).unsqueeze(-1) * inverse_frequencies(PRO).float()
    cos, _ = cos_sin(torch.tensor([10_000_000]), inverse_frequencies(PRO))
    assert (cos - angles.cos()).abs().max() > 1e-2


def turned_one_by_one(x: Tensor, position: int, layout: str, theta: float) -> Tensor:
    """One head's vector, pair by pair, as complex numbers."""
    width = len(x)
    out = torch.empty(width, dtype=torch.float64)
    for i in range(width // 2):
        first, second = (2 * i, 2 * i + 1) if layout == "interleaved" else (i, i + width // 2)
        angle = position * theta ** (-2 * i / width)
        turned = complex(x[first], x[second]) * complex(float(mpmath.cos(angle)), float(mpmath.sin(angle)))
        out[first], out[second] = turned.real, turned.imag
    return out


@pytest.mark.parametrize("layout", ["interleaved", "halves"])
def test_each_layout_turns_its_pairs_as_complex_numbers(layout: str) -> None:
    config = dataclasses.replace(PRESETS["nano"], head_dim=8)
    positions = torch.tensor([0, 3, 1000])
    x = torch.randn(1, 3, 2, 8, generator=torch.Generator().manual_seed(0))
    cos, sin = cos_sin(positions, inverse_frequencies(config))
    turned = rotate(x, cos.unsqueeze(1), sin.unsqueeze(1), layout)
    for t, position in enumerate(positions.tolist()):
        for head in range(2):
            true = turned_one_by_one(x[0, t, head], position, layout, config.rope_theta)
            assert (turned[0, t, head] - true).abs().max() <= 1e-6
    assert torch.equal(turned[0, 0], x[0, 0])  # position 0 turns nothing


def test_the_layouts_are_the_same_rotation_of_reordered_channels() -> None:
    x = torch.randn(2, 5, 3, 16, generator=torch.Generator().manual_seed(1))
    cos, sin = (a.unsqueeze(1) for a in cos_sin(torch.arange(5), inverse_frequencies(PRO)[:8]))
    halves = rotate(x, cos, sin, "halves")
    pairs = x.unflatten(-1, (2, 8)).transpose(-1, -2).flatten(-2)
    turned = rotate(pairs, cos, sin, "interleaved")
    assert torch.equal(turned, halves.unflatten(-1, (2, 8)).transpose(-1, -2).flatten(-2))


@pytest.mark.parametrize("layout", ["interleaved", "halves"])
def test_scores_depend_on_the_distance_alone_even_far_out(layout: str) -> None:
    generator = torch.Generator().manual_seed(2)
    q, k = torch.randn(1, 1, 1, 64, generator=generator), torch.randn(1, 1, 1, 64, generator=generator)
    scores = []
    for start in (0, 10_000_000, 2**31):
        cos, sin = (a.unsqueeze(1) for a in cos_sin(torch.tensor([start, start + 37]), inverse_frequencies(PRO)))
        scores.append(float((rotate(k, cos[:1], sin[:1], layout) * rotate(q, cos[1:], sin[1:], layout)).sum()))
    assert max(scores) - min(scores) < 2e-5


def test_narrow_inputs_are_turned_in_float32_and_come_back_narrow() -> None:
    x = torch.randn(1, 2, 1, 64, generator=torch.Generator().manual_seed(3)).to(torch.bfloat16)
    cos, sin = (a.unsqueeze(1) for a in cos_sin(torch.tensor([7, 8]), inverse_frequencies(PRO)))
    turned = rotate(x, cos, sin, "halves")
    assert turned.dtype == torch.bfloat16
    assert torch.equal(turned, rotate(x.float(), cos, sin, "halves").to(torch.bfloat16))


@pytest.mark.parametrize(
    "head_dim, theta, factor, low, high, original",
    [
        (64, 500_000.0, 32.0, 1.0, 4.0, 8192),  # Llama 3.2 1B
        (128, 500_000.0, 8.0, 1.0, 4.0, 8192),  # Llama 3.1 8B
        (32, 10_000.0, 2.0, 1.0, 32.0, 2048),  # a wide blended band
    ],
)
def test_llama3_scaling_equals_transformers_own(
    head_dim: int, theta: float, factor: float, low: float, high: float, original: int
) -> None:
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    theirs_config = LlamaConfig(
        hidden_size=4 * head_dim,
        num_attention_heads=4,
        head_dim=head_dim,
        max_position_embeddings=16 * original,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": theta,
            "factor": factor,
            "low_freq_factor": low,
            "high_freq_factor": high,
            "original_max_position_embeddings": original,
        },
    )
    theirs, attention_factor = ROPE_INIT_FUNCTIONS["llama3"](theirs_config, torch.device("cpu"))
    assert attention_factor == 1.0
    ours_config = dataclasses.replace(
        PRESETS["nano"],
        head_dim=head_dim,
        rope_theta=theta,
        rope_scaling=RopeScaling(factor=factor, low_freq_factor=low, high_freq_factor=high, original_context=original),
    )
    ours = inverse_frequencies(ours_config)
    plain = inverse_frequencies(dataclasses.replace(ours_config, rope_scaling=None))
    assert ours.dtype == torch.float64
    assert (ours / theirs.double() - 1).abs().max() <= 1e-6  # theirs are float32
    ratio = plain / ours
    assert torch.isclose(ratio.min(), torch.tensor(1.0, dtype=torch.float64))
    assert torch.isclose(ratio.max(), torch.tensor(factor, dtype=torch.float64))
    assert ((ratio > 1.001) & (ratio < factor - 0.001)).any()  # the blended band is not empty
