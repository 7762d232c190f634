"""The decoder: cached steps equal the cache-free forward, in every convention; types, batches and gradients."""

import copy
import dataclasses

import pytest
import torch
from torch import Tensor

from model.cache import CacheDtype, make_caches
from model.config import ModelConfig, RopeScaling
from model.rope import inverse_frequencies
from model.transformer import Transformer

PLAIN = ModelConfig(
    vocab_size=96,
    dim=32,
    num_layers=3,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    ffn_dim=48,
    global_layers=(0, 2),
    sliding_window=6,
    max_context=64,
    rope_theta=100.0,
)
PRO = dataclasses.replace(PLAIN, rope_layout="interleaved", qk_norm=True)
CASES = {
    "llama": PLAIN,
    "mobilellm-pro": PRO,
    "untied": dataclasses.replace(PRO, tied=False),
    "no rope, tempered": dataclasses.replace(PRO, no_rope_layers=(2,), temperature_floor=4, temperature_scale=0.5),
    "all local": dataclasses.replace(PLAIN, global_layers=()),
    "scaled rope, one kv head": dataclasses.replace(
        PLAIN,
        num_kv_heads=1,
        rope_scaling=RopeScaling(factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_context=16),
    ),
}
TOKENS = torch.randint(0, 96, (1, 40), generator=torch.Generator().manual_seed(0))
_RELATIVE = 1e-5  # of max(1, max |logit|); docs/numerics.md


def model_of(config: ModelConfig, cache_dtype: CacheDtype = "float") -> Transformer:
    """Weights that keep activations of order one, so that errors in attention show."""
    torch.manual_seed(0)
    model = Transformer(config, cache_dtype=cache_dtype).requires_grad_(False)
    for parameter in model.parameters():
        if parameter.dim() == 2:
            parameter.normal_(std=parameter.shape[1] ** -0.5)
        else:
            parameter.uniform_(0.8, 1.2)
    model.embedding.weight.normal_()
    return model


def stepped(model: Transformer, tokens: Tensor, sizes: list[int], *, context: int, dtype: CacheDtype) -> Tensor:
    caches = make_caches(model.config, context=context, chunk=max(sizes), dtype=dtype)
    rows, at = [], 0
    while at < tokens.shape[1]:
        size = min(sizes[len(rows) % len(sizes)], tokens.shape[1] - at)
        rows.append(model.step(tokens[:, at : at + size], at, caches)[0])
        at += size
    return torch.cat(rows)


def bound(logits: Tensor) -> float:
    return _RELATIVE * max(1.0, float(logits.abs().max()))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("sizes", [[1], [7, 3, 1], [16]])
def test_steps_over_caches_equal_the_cache_free_forward(name: str, sizes: list[int]) -> None:
    model = model_of(CASES[name])
    whole = model(TOKENS)[0]
    assert (stepped(model, TOKENS, sizes, context=64, dtype="float") - whole).abs().max() <= bound(whole)


def test_steps_over_int8_caches_equal_the_cache_free_forward_with_the_same_rounding() -> None:
    """Keys that differ in the last bit may round to another code: such flips are few and counted."""
    model, exact = model_of(PRO, "int8"), model_of(PRO)
    prompts = torch.randint(0, 96, (16, 30), generator=torch.Generator().manual_seed(1)).split(1)
    errors, noise = [], []
    for prompt in prompts:
        whole = model(prompt)[0]
        rows = stepped(model, prompt, [7, 3, 1], context=64, dtype="int8")
        errors.append(float((rows - whole).abs().max()) / bound(whole))
        noise.append(float((exact(prompt)[0] - whole).abs().max()) / bound(whole))
    flipped = sum(error > 1 for error in errors)
    print(
        f"\n{flipped} of {len(errors)} prompts hold a flipped code; worst {max(errors) * _RELATIVE:.2g}, "
        f"INT8 against float {max(noise) * _RELATIVE:.2g}"
    )
    assert sorted(errors)[len(errors) // 2] <= 1
    assert max(errors) < 0.3 * min(noise)  # and never anything like what the rounding itself costs


def test_a_short_global_context_forgets_what_a_long_one_sees() -> None:
    """The ring of a global layer really drops what left its context: token 0 does not matter 64 tokens later."""
    model = model_of(PLAIN)
    tokens = torch.randint(0, 96, (1, 64), generator=torch.Generator().manual_seed(2))
    other = tokens.clone()
    other[0, 0] = (other[0, 0] + 1) % 96
    for context, is_same in ((16, True), (64, False)):
        left, right = (stepped(model, t, [4], context=context, dtype="float")[-1] for t in (tokens, other))
        assert torch.equal(left, right) == is_same


def test_the_cached_steps_of_a_wrapped_context_equal_explicit_bands() -> None:
    """Every layer local with the context as its window, cache-free, is what endless global layers compute."""
    model = model_of(dataclasses.replace(PRO, global_layers=(0, 1, 2)))
    banded = model_of(dataclasses.replace(PRO, global_layers=(), sliding_window=12))
    whole = banded(TOKENS)[0]
    assert (stepped(model, TOKENS, [5], context=12, dtype="float") - whole).abs().max() <= bound(whole)


def test_rows_of_a_batch_do_not_see_each_other() -> None:
    for name, config in CASES.items():
        model = model_of(config)
        batch = torch.randint(0, 96, (3, 20), generator=torch.Generator().manual_seed(3))
        together = model(batch)
        assert together.shape == (3, 20, 96)
        for row in range(3):
            assert (together[row] - model(batch[row : row + 1])[0]).abs().max() <= bound(together), name


def test_a_position_never_sees_a_later_token() -> None:
    model = model_of(CASES["no rope, tempered"])
    other = TOKENS.clone()
    other[0, 25:] = 1
    assert torch.equal(model(TOKENS)[0, :25], model(other)[0, :25])


def test_bf16_weights_run_and_angles_stay_float64() -> None:
    model = model_of(CASES["no rope, tempered"])
    narrow = copy.deepcopy(model).to(torch.bfloat16)
    assert narrow.inv_freq.dtype == torch.float64
    assert torch.equal(narrow.inv_freq, inverse_frequencies(model.config))
    logits = narrow(TOKENS)
    assert logits.dtype == torch.bfloat16
    assert 0 < (logits.float() - model(TOKENS)).abs().max() < 0.1 * model(TOKENS).abs().max()
    for dtype in ("float", "int8"):
        rows = stepped(narrow, TOKENS, [5], context=64, dtype=dtype)
        assert (rows.float() - logits[0].float()).abs().max() < 0.1 * logits.abs().max()


def test_moving_to_meta_and_back_leaves_the_angles_alone() -> None:
    with torch.device("meta"):
        model = Transformer(PRO)
    assert model.embedding.weight.is_meta and model.inv_freq.device.type == "cpu"
    assert torch.equal(model.inv_freq, inverse_frequencies(PRO))
    assert "inv_freq" not in model.state_dict()


def test_temperature_grows_by_steps_and_only_where_it_is_asked_for() -> None:
    config = CASES["no rope, tempered"]
    warm = model_of(config).positions(torch.tensor([0, 2, 3, 4, 7, 10_000_000])).temperature
    steps = torch.tensor([0, 0, 1, 1, 2, 2_500_000], dtype=torch.float64)  # floor((position + 1) / 4)
    assert warm is not None and torch.allclose(warm.flatten().double(), torch.log1p(steps) * 0.5 + 1.0, rtol=1e-7)
    assert model_of(PRO).positions(torch.arange(3)).temperature is None
    cold = model_of(dataclasses.replace(config, temperature_floor=0))
    assert not torch.allclose(model_of(config)(TOKENS), cold(TOKENS), atol=1e-3)


def test_a_layer_without_rope_is_blind_to_order() -> None:
    """Two tokens swapped under a last one: without RoPE anywhere it cannot tell; with RoPE it can."""
    swapped = torch.tensor([[5, 9, 3]]), torch.tensor([[9, 5, 3]])
    config = dataclasses.replace(PLAIN, num_layers=1, global_layers=(0,))
    for no_rope, is_blind in (((0,), True), ((), False)):
        model = model_of(dataclasses.replace(config, no_rope_layers=no_rope))
        left, right = (model(tokens)[0, -1] for tokens in swapped)
        assert bool((left - right).abs().max() <= 1e-5) == is_blind


@pytest.mark.parametrize("name", CASES)
def test_gradients_reach_every_parameter(name: str) -> None:
    model = model_of(CASES[name]).requires_grad_(True)
    logits = model(TOKENS.view(2, 20))
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), TOKENS.flatten()).backward()
    for parameter_name, parameter in model.named_parameters():
        gradient = parameter.grad
        assert gradient is not None and torch.isfinite(gradient).all() and gradient.any(), parameter_name


def test_hidden_states_times_the_head_are_the_logits() -> None:
    model = model_of(PRO)
    assert torch.equal(model.head(model.hidden(TOKENS)), model(TOKENS))


def test_as_many_caches_as_layers_are_asked_for() -> None:
    model = model_of(PRO)
    with pytest.raises(ValueError, match="shorter"):
        model.step(TOKENS[:, :1], 0, make_caches(PRO, context=8, chunk=1)[:2])
