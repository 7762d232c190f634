import contextlib
import dataclasses
import math

import pytest
import torch

from evaluation.layer_snr import decibels, layer_noise, output_noise, read_layers
from model.checkpoint import load_model, open_tensors
from quant.checkpoint import load_quantized, quantize_checkpoint
from quant.integers import dequantize
from tests.packages import OTHER, TINY, make_checkpoint


@pytest.fixture(scope="module", params=[TINY, OTHER], ids=["tied", "untied"])
def made(request, tmp_path_factory):
    """A float checkpoint and its quantized one."""
    folder = tmp_path_factory.mktemp("layers")
    make_checkpoint(request.param, folder / "float")
    quantize_checkpoint(folder / "float", folder / "quantized", recipe="8da4w-g32")
    return folder / "float", folder / "quantized"


def noise_of(thing, float_):
    with contextlib.ExitStack() as stack:
        return [noise for noise, _ in layer_noise("thing", read_layers(thing, stack), read_layers(float_, stack))]


def test_the_noise_of_each_layer_is_that_of_its_dequantized_codes(made):
    float_, quantized = made
    reader, stored = open_tensors(float_), load_quantized(quantized)
    found = noise_of(quantized, float_)
    assert sorted(noise.layer for noise in found) == sorted(
        name.removesuffix(".weight") for name in reader.names if "norm" not in name
    )
    for noise in found:
        exact, codes = reader.get(f"{noise.layer}.weight").double(), stored[noise.layer]
        error = exact - dequantize(codes).double()
        expected = 10 * math.log10(float(exact.square().sum() / error.square().sum()))
        assert noise.weights_db == pytest.approx(expected, abs=1e-9)
        assert noise.scheme == codes.scheme.scheme and 15 < noise.weights_db < 50


@torch.inference_mode()
def test_the_noise_of_outputs_is_measured_on_what_the_float_model_hands_to_each_layer(made):
    float_, quantized = made
    model = load_model(float_).eval()
    documents = [list(range(20)), list(range(40, 70))]
    with contextlib.ExitStack() as stack:
        pairs = list(layer_noise("thing", read_layers(quantized, stack), read_layers(float_, stack)))
        (found,) = output_noise(model, documents, [{noise.layer: layer for noise, layer in pairs}])
    stored, seen = load_quantized(quantized), []
    name = "layers.1.feed_forward.up_proj"
    model.get_submodule(name).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0]))
    hidden = [model.hidden(torch.tensor([ids]))[0] for ids in documents]
    last = "embedding" if model.config.tied else "head"
    for layer, weight, inputs in (
        (name, model.get_submodule(name).weight, torch.cat(seen)),
        (last, model.head.weight, torch.cat(hidden)),
    ):
        exact = (inputs @ weight.T).double()
        error = exact - (inputs @ dequantize(stored[layer]).T).double()
        expected = 10 * math.log10(float(exact.square().sum() / error.square().sum()))
        assert found[layer] == pytest.approx(expected, abs=1e-3)  # float32 products in other blocks
    assert ("embedding" in found) == model.config.tied


def test_a_thing_that_differs_in_nothing_has_no_noise(made):
    float_, _ = made
    assert {noise.weights_db for noise in noise_of(float_, float_)} == {math.inf}
    assert decibels(1.0, 0.1) == pytest.approx(10) and decibels(0.0, 1.0) == -math.inf


def test_a_package_has_the_noise_of_the_checkpoint_that_it_was_made_from(tiny_int4, other_int4):
    for made in (tiny_int4, other_int4):
        float_ = made.checkpoint.parent / "checkpoint"
        by_package = {noise.layer: noise for noise in noise_of(made.package, float_)}
        by_checkpoint = {noise.layer: noise for noise in noise_of(made.checkpoint, float_)}
        assert by_package == by_checkpoint


def test_a_float_package_serves_as_the_float_model(tiny_int4, tiny_float):
    float_ = tiny_int4.checkpoint.parent / "checkpoint"
    assert noise_of(tiny_int4.package, tiny_float.package) == noise_of(tiny_int4.package, float_)


def test_the_order_inside_a_delegate_means_nothing(tiny_int4):
    float_ = tiny_int4.checkpoint.parent / "checkpoint"
    with contextlib.ExitStack() as stack:
        groups, reference = read_layers(tiny_int4.package, stack), read_layers(float_, stack)
        turned = [dataclasses.replace(group, layers=group.layers[::-1]) for group in groups]
        assert any(len(group.layers) > 1 for group in groups)
        ours, theirs = ([noise for noise, _ in layer_noise("t", one, reference)] for one in (groups, turned))
    assert ours == theirs


def test_layers_of_another_shape_are_refused(made, tmp_path):
    _, quantized = made
    make_checkpoint(dataclasses.replace(TINY, ffn_dim=128), tmp_path / "wide")
    with pytest.raises(ValueError, match=r"feed_forward.gate_proj is not \[128, 64\]"):
        noise_of(quantized, tmp_path / "wide")
