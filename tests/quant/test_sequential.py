"""GPTQ of a whole model: the integers that come out, what each layer has seen, and that it is worth it."""

import dataclasses
from pathlib import Path

import pytest
import torch

from model.checkpoint import float_shapes, load_model
from model.config import ModelConfig
from model.transformer import Transformer
from quant.calibration import Documents
from quant.checkpoint import build_model, quantize_checkpoint, quantized_layers
from quant.fake_quant import fake_quantize_activations
from quant.gptq import quantize_gptq
from quant.integers import QuantizedTensor
from quant.layers import replace_layer
from quant.plan import layer_shapes
from quant.recipe import RECIPES, plan_layers, read_overrides
from quant.scales import quantize_matrix
from quant.sequential import quantize_with_text
from tests.packages import make_checkpoint

CONFIG = ModelConfig(
    vocab_size=320, dim=32, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=16, ffn_dim=64,
    global_layers=(1,), sliding_window=8, max_context=64,
)  # fmt: skip
UNTIED = dataclasses.replace(CONFIG, tied=False)
K = "layers.1.attention.k_proj"


def documents(count: int = 24, seed: int = 0) -> Documents:
    """Token ids of uneven lengths, in which a token hangs on the one before."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for length in torch.randint(4, 40, (count,), generator=generator).tolist():
        steps = torch.randint(1, 4, (length,), generator=generator)
        made.append((steps.cumsum(0) * 7 % CONFIG.vocab_size).tolist())
    return made


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sequential") / "float"
    make_checkpoint(CONFIG, folder)
    return folder


@pytest.fixture(scope="module")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sequential") / "untied"
    make_checkpoint(UNTIED, folder)
    return folder


def walked(folder: Path, texts: Documents, recipe: str = "8da4w-g32") -> tuple[Transformer, dict[str, QuantizedTensor]]:
    model = load_model(folder).eval().requires_grad_(False)
    plan = plan_layers(RECIPES[recipe], layer_shapes(float_shapes(model.config)))
    return model, dict(quantize_with_text(model, plan, RECIPES[recipe], texts))


def equal(ours: QuantizedTensor, theirs: QuantizedTensor) -> bool:
    return torch.equal(ours.codes, theirs.codes) and torch.equal(ours.scales, theirs.scales)


def logits(model: Transformer, texts: Documents) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([model(torch.tensor([ids]))[0] for ids in texts])


@pytest.mark.parametrize("recipe", ["8da4w-g32", "4w-channel"])
@pytest.mark.parametrize("source", ["checkpoint", "untied"])
def test_what_is_written_is_what_the_model_has_become(
    source: str, recipe: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(source)
    model, made = walked(folder, documents(), recipe)
    quantize_checkpoint(folder, tmp_path / "out", recipe=recipe, method="gptq", calibration=documents())
    assert list(made) == list(layer_shapes(float_shapes(model.config)))
    with torch.no_grad():
        tokens = torch.tensor([documents()[0]])
        assert torch.equal(build_model(tmp_path / "out")(tokens), model(tokens))


def test_it_is_nearer_to_the_float_model_than_rounding_on_text_that_it_has_not_seen(checkpoint: Path) -> None:
    fresh = documents(seed=9)
    want = logits(load_model(checkpoint).eval(), fresh)
    errors = {}
    for method, text in (("rtn", None), ("mse", None), ("gptq", documents(60))):
        model = load_model(checkpoint).eval().requires_grad_(False)
        model.cache_dtype = "int8"
        for name, tensor in quantized_layers(checkpoint, method=method, calibration=text):
            replace_layer(model, name, tensor, activations="int8-dynamic")
        errors[method] = float((logits(model, fresh) - want).square().mean())
    assert errors["gptq"] < 0.9 * errors["mse"] < 0.9 * errors["rtn"]


def test_a_layer_is_rounded_for_what_the_rounded_layers_before_it_give(checkpoint: Path) -> None:
    model, made = walked(checkpoint, documents())
    seen = []
    hook = model.get_submodule(K).register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].flatten(0, 1)))
    logits(model, documents())
    hook.remove()
    inputs = fake_quantize_activations(torch.cat(seen)).double()
    weight = load_model(checkpoint).get_submodule(K).weight.detach()
    again = quantize_gptq(weight, inputs.T @ inputs, made[K].scheme)
    # The documents come one by one here and padded in batches there: sums in another order may tip a near-tie.
    assert int((again.codes != made[K].codes).sum()) <= 0.01 * again.codes.numel()


def test_a_tied_table_is_rounded_for_the_head_and_an_untied_one_for_lookups(checkpoint: Path, untied: Path) -> None:
    texts = documents()
    model = load_model(checkpoint).eval().requires_grad_(False)
    hidden = fake_quantize_activations(torch.cat([model.hidden(torch.tensor([ids]))[0] for ids in texts])).double()
    _, tied = walked(checkpoint, texts)
    want = quantize_gptq(model.head.weight, hidden.T @ hidden, tied["embedding"].scheme)
    assert int((tied["embedding"].codes != want.codes).sum()) <= 0.01 * want.codes.numel()
    assert "head" not in tied
    model, made = load_model(untied), walked(untied, texts)[1]
    want = quantize_matrix(model.embedding.weight.detach(), made["embedding"].scheme, "mse")
    assert torch.equal(made["embedding"].scales, want.scales)
    assert not equal(made["head"], quantize_matrix(model.head.weight.detach(), made["head"].scheme, "mse"))


def test_layers_that_stay_float_are_left_alone_and_still_lead_to_the_next(checkpoint: Path) -> None:
    overrides = read_overrides(["embedding=float", "layers.0.attention.*=float", "*.1.*.down_proj=int8-channel"])
    made = dict(quantized_layers(checkpoint, method="gptq", calibration=documents(), overrides=overrides))
    assert "embedding" not in made and not [name for name in made if name.startswith("layers.0.attention")]
    assert made["layers.1.feed_forward.down_proj"].scheme.scheme == "int8-channel"
    assert len(made) == 3 + 7


def test_two_runs_give_the_same_bytes(checkpoint: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        quantize_checkpoint(checkpoint, tmp_path / name, method="gptq", calibration=documents())
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()


def test_progress_names_the_text_and_each_layer(checkpoint: Path) -> None:
    lines: list[str] = []
    list(quantized_layers(checkpoint, method="gptq", calibration=[[1, 2, 3], []], progress=lines.append))
    assert lines == ["calibrating on 3 tokens of 2 documents", "layer 1 of 2", "layer 2 of 2"]


def test_no_text_at_all_is_refused(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="no calibration text: every document is empty"):
        list(quantized_layers(checkpoint, method="gptq", calibration=[[], []]))
    with pytest.raises(ValueError, match="method gptq needs calibration text"):
        list(quantized_layers(checkpoint, method="gptq"))
    with pytest.raises(ValueError, match="method mse takes no calibration text"):
        list(quantized_layers(checkpoint, method="mse", calibration=[[1]]))
