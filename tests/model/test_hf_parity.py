"""Converted checkpoints compute what transformers computes, on tiny random weights; a band against float64."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.checkpoint import load_model
from model.convert import convert
from model.transformer import Transformer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def tokens() -> Tensor:
    return torch.randint(0, 96, (2, 40), generator=torch.Generator().manual_seed(5))


def shake(model: torch.nn.Module, seed: int = 0) -> None:
    """Weights large enough that a wrong norm, angle or mask shows in the logits."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.normal_(std=0.15, generator=generator)
            if "norm" in name:
                weight.add_(1.0)


def assert_same_logits(ours: Tensor, theirs: Tensor) -> None:
    bound = 1e-5 * max(1.0, float(theirs.abs().max()))
    assert float((ours - theirs).abs().max()) <= bound
    assert float(theirs.abs().max()) > 0.5  # the comparison means something


def converted(theirs: torch.nn.Module, tmp_path: Path) -> Transformer:
    theirs.save_pretrained(tmp_path / "hf")
    convert(tmp_path / "hf", tmp_path / "ours")
    return load_model(tmp_path / "ours").eval()


LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
PLAIN = {"rope_type": "default", "rope_theta": 10_000.0}


@pytest.mark.parametrize(
    ("tied", "kv_heads", "head_dim", "rope"),
    [(True, 2, 16, PLAIN), (False, 4, 16, PLAIN), (True, 1, 24, LLAMA3), (False, 2, 16, LLAMA3)],
)
@torch.no_grad()
def test_a_converted_llama_gives_transformers_own_logits(tmp_path, tokens, tied, kv_heads, head_dim, rope):
    from transformers import LlamaConfig, LlamaForCausalLM

    theirs = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=96,
            hidden_size=64,
            intermediate_size=112,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=kv_heads,
            head_dim=head_dim,
            max_position_embeddings=512,
            rms_norm_eps=1e-5,
            tie_word_embeddings=tied,
            rope_parameters=dict(rope),
            attn_implementation="eager",
        )
    ).eval()
    shake(theirs)
    ours = converted(theirs, tmp_path)
    assert ours.config.tied is tied
    assert (ours.head.weight is ours.embedding.weight) is tied
    assert_same_logits(ours(tokens), theirs(tokens).logits)


def llama4(**settings: object) -> torch.nn.Module:
    from transformers import Llama4ForCausalLM, Llama4TextConfig

    config = Llama4TextConfig(
        **(
            {
                "vocab_size": 96,
                "hidden_size": 64,
                "intermediate_size": 48,
                "intermediate_size_mlp": 112,
                "num_hidden_layers": 4,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "head_dim": 16,
                "max_position_embeddings": 512,
                "moe_layers": [],
                "layer_types": ["full_attention"] * 4,
                "no_rope_layers": [1, 1, 1, 1],
                "rope_parameters": PLAIN,
                "attn_implementation": "eager",
                "pad_token_id": 0,
            }
            | settings
        )
    )
    model = Llama4ForCausalLM(config).eval()
    shake(model)
    return model


@pytest.mark.parametrize(
    "settings",
    [
        {"use_qk_norm": True},
        {"use_qk_norm": False},
        {"tie_word_embeddings": True},
        {"no_rope_layers": [1, 0, 1, 0], "attn_temperature_tuning": True, "floor_scale": 8, "attn_scale": 0.3},
        {"no_rope_layers": [0, 1, 1, 0], "attn_temperature_tuning": False},
        {"rope_parameters": LLAMA3},
    ],
    ids=["qk-norm", "no-qk-norm", "tied", "nope-tuned", "nope", "llama3-rope"],
)
@torch.no_grad()
def test_a_converted_llama4_gives_transformers_own_logits(tmp_path, tokens, settings):
    theirs = llama4(**settings)
    ours = converted(theirs, tmp_path)
    assert ours.config.rope_layout == "interleaved"
    assert ours.config.ffn_dim == 112
    assert_same_logits(ours(tokens), theirs(tokens).logits)


@torch.no_grad()
def test_temperature_and_rope_choices_change_the_logits_of_the_comparison(tmp_path, tokens):
    tuned = {"no_rope_layers": [1, 0, 1, 0], "attn_temperature_tuning": True, "floor_scale": 8, "attn_scale": 0.3}
    with_tuning = llama4(**tuned)(tokens).logits
    without = llama4(**(tuned | {"attn_temperature_tuning": False}))(tokens).logits
    rope_everywhere = llama4(**(tuned | {"no_rope_layers": [1, 1, 1, 1]}))(tokens).logits
    assert float((with_tuning - without).abs().max()) > 1e-3
    assert float((with_tuning - rope_everywhere).abs().max()) > 1e-3


def reference_logits(model: Transformer, tokens_T: Tensor, theta: float) -> Tensor:
    """Tied Llama 4 layers in float64 with an explicit band, written with complex numbers and loops over heads."""
    config, state = model.config, {name: tensor.double() for name, tensor in model.state_dict().items()}
    count, width = len(tokens_T), config.head_dim

    def norm(x: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + config.norm_eps).sqrt()

    powers = torch.arange(0, width, 2, dtype=torch.float64) / width
    turns = torch.polar(
        torch.ones(count, width // 2, dtype=torch.float64),
        torch.arange(count, dtype=torch.float64)[:, None] / theta**powers,
    )
    x = state["embedding.weight"][tokens_T]
    for i in range(config.num_layers):
        part = f"layers.{i}."
        seen = norm(x) * state[part + "attention_norm.weight"]
        q, k, v = (seen @ state[f"{part}attention.{p}_proj.weight"].T for p in "qkv")
        heads = []
        for h in range(config.num_heads):
            g = h // (config.num_heads // config.num_kv_heads)
            turned = [
                norm(
                    torch.view_as_real(
                        torch.view_as_complex(y[:, n * width : (n + 1) * width].reshape(count, -1, 2)) * turns
                    ).flatten(1)
                )
                for y, n in ((q, h), (k, g))
            ]
            scores = turned[0] @ turned[1].T / math.sqrt(width)
            for row in range(count):
                first = 0 if i in config.global_layers else max(0, row - config.sliding_window + 1)
                scores[row, :first] = -math.inf
                scores[row, row + 1 :] = -math.inf
            heads.append(torch.softmax(scores, -1) @ v[:, g * width : (g + 1) * width])
        x = x + torch.cat(heads, -1) @ state[part + "attention.o_proj.weight"].T
        seen = norm(x) * state[part + "feed_forward_norm.weight"]
        gate, up, down = (state[f"{part}feed_forward.{p}_proj.weight"] for p in ("gate", "up", "down"))
        x = x + (torch.nn.functional.silu(seen @ gate.T) * (seen @ up.T)) @ down.T
    return (norm(x) * state["norm.weight"]) @ state["embedding.weight"].T


@torch.no_grad()
def test_local_layers_equal_a_banded_float64_reference(tmp_path, tokens):
    import json

    theirs = llama4(tie_word_embeddings=True)
    theirs.save_pretrained(tmp_path / "hf")
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    config |= {
        "layer_types": ["full_attention", "sliding_attention", "sliding_attention", "full_attention"],
        "sliding_window": 7,
        "architectures": ["MobileLLMP1ForCausalLM"],
    }
    (tmp_path / "hf" / "config.json").write_text(json.dumps(config))
    convert(tmp_path / "hf", tmp_path / "ours")
    ours = load_model(tmp_path / "ours").eval()
    assert ours.config.global_layers == (0, 3)
    logits = ours(tokens)
    for row in range(len(tokens)):
        assert_same_logits(logits[row], reference_logits(ours, tokens[row], 10_000.0).float())
    unbanded = theirs(tokens).logits
    assert torch.allclose(logits[:, :7], unbanded[:, :7], atol=1e-4)  # the band is still wider than the text
    assert float((logits[:, 7:] - unbanded[:, 7:]).abs().max()) > 1e-3
