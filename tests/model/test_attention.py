"""One attention layer against its formula written out, with and without RoPE, QK norm and temperature."""

import dataclasses

import pytest
import torch
from torch import Tensor

from model.attention import Attention, Positions, rms_norm
from model.cache import sdpa
from model.config import ModelConfig
from model.rope import cos_sin, inverse_frequencies, rotate

CONFIG = ModelConfig(
    vocab_size=8,
    dim=24,
    num_layers=2,
    num_heads=6,
    num_kv_heads=2,
    head_dim=8,
    ffn_dim=8,
    global_layers=(0, 1),
    sliding_window=4,
    max_context=64,
    rope_theta=100.0,
)
POSITIONS = torch.tensor([3, 4, 5, 6, 7])
VISIBLE = POSITIONS[:, None] >= POSITIONS


def angles(config: ModelConfig, temperature: float | None) -> Positions:
    cos, sin = cos_sin(POSITIONS, inverse_frequencies(config))
    warm = None if temperature is None else torch.full((5, 1, 1), temperature)
    return Positions(cos=cos.unsqueeze(1), sin=sin.unsqueeze(1), temperature=warm)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return sdpa(q, k, v, VISIBLE)


def written_out(layer: Attention, config: ModelConfig, x: Tensor, *, rope: bool, norm: bool, warm: float) -> Tensor:
    """The definition in float64, head by head: what transformers' Llama 4 text attention computes."""

    def heads(name: str, count: int) -> Tensor:
        return (x.double() @ layer.get_submodule(name).weight.double().T).view(2, 5, count, 8)

    q, k, v = heads("q_proj", 6), heads("k_proj", 2), heads("v_proj", 2)
    if rope:
        cos, sin = (a.unsqueeze(1) for a in cos_sin(POSITIONS, inverse_frequencies(config)))
        q, k = (rotate(y.float(), cos, sin, config.rope_layout).double() for y in (q, k))
    q = q * warm
    if norm:
        q, k = (y / (y.pow(2).mean(-1, keepdim=True) + config.norm_eps).sqrt() for y in (q, k))
    out = torch.zeros(2, 5, 6, 8, dtype=torch.float64)
    for batch in range(2):
        for head in range(6):
            scores = q[batch, :, head] @ k[batch, :, head // 3].T / 8**0.5
            out[batch, :, head] = scores.masked_fill(~VISIBLE, -torch.inf).softmax(-1) @ v[batch, :, head // 3]
    return out.flatten(-2) @ layer.o_proj.weight.double().T


@pytest.mark.parametrize(
    "change, layer, rope, norm, warm",
    [
        ({}, 0, True, False, 1.0),
        ({"rope_layout": "interleaved"}, 0, True, False, 1.0),
        ({"qk_norm": True}, 0, True, True, 1.0),
        ({"qk_norm": True, "no_rope_layers": (1,)}, 1, False, False, 1.0),  # no RoPE, no QK norm either
        ({"qk_norm": True, "no_rope_layers": (1,)}, 1, False, False, 1.7),
        ({"no_rope_layers": (1,)}, 0, True, False, 1.0),
    ],
)
def test_a_layer_computes_its_formula(change: dict, layer: int, rope: bool, norm: bool, warm: float) -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(CONFIG, **change)
    module, x = Attention(config, layer), torch.randn(2, 5, 24)
    got = module(x, angles(config, None if warm == 1.0 else warm), attend)
    assert (got - written_out(module, config, x, rope=rope, norm=norm, warm=warm)).abs().max() <= 1e-6


def test_temperature_warms_only_layers_without_rope() -> None:
    torch.manual_seed(0)
    module, x = Attention(CONFIG, 0), torch.randn(2, 5, 24)
    assert torch.equal(module(x, angles(CONFIG, 3.0), attend), module(x, angles(CONFIG, None), attend))


def test_qk_norm_has_no_parameters() -> None:
    with_norm, without = Attention(dataclasses.replace(CONFIG, qk_norm=True), 0), Attention(CONFIG, 0)
    assert dict(with_norm.named_parameters()).keys() == dict(without.named_parameters()).keys()


def test_rms_norm_equals_torchs_own_and_computes_narrow_types_in_float32() -> None:
    x = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(1)) * 10
    assert (rms_norm(x, 1e-5) - torch.nn.functional.rms_norm(x, (16,), eps=1e-5)).abs().max() <= 1e-6
    narrow = x.to(torch.bfloat16)
    assert torch.equal(rms_norm(narrow, 1e-5), rms_norm(narrow.float(), 1e-5).to(torch.bfloat16))
    large = torch.full((1, 4), 1e18)  # its square fits float32, the sum of squares too; bf16 would lose it
    assert torch.allclose(rms_norm(large, 1e-5), torch.ones(1, 4))
