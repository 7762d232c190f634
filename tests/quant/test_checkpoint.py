"""A float checkpoint becomes a quantized one and runs again: what is written and what comes back."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torchao.quantization import Int8DynamicActivationIntxWeightConfig, PerAxis, PerGroup, quantize_

from model.checkpoint import load_model, open_tensors, read_info
from quant.checkpoint import build_model, load_quantized, plan_checkpoint, quantize_checkpoint, quantized_layers
from quant.integers import QuantizedTensor, dequantize, quantize_absmax
from quant.packing import pack_int4
from quant.plan import choose, read_plan
from quant.recipe import LayerScheme, SchemeName, read_overrides
from quant.scales import quantize_matrix

DOWN = "layers.0.feed_forward.down_proj"
Q = "layers.0.attention.q_proj"
TOKENS = torch.arange(22).view(2, 11) * 4

Write = Callable[..., Path]


def test_the_checkpoint_holds_the_codes_and_scales_themselves(write: Write, tmp_path: Path) -> None:
    source = write()
    quantize_checkpoint(source, tmp_path / "out", recipe="8da4w-g32")
    floats, stored = open_tensors(source), open_tensors(tmp_path / "out")
    want = quantize_absmax(floats.get(f"{Q}.weight"), LayerScheme(scheme="int4-group", bits=4, group_size=32))
    assert torch.equal(stored.get(f"{Q}.codes"), pack_int4(want.codes))
    assert torch.equal(stored.get(f"{Q}.scales"), want.scales)
    want = quantize_absmax(floats.get(f"{DOWN}.weight"), LayerScheme(scheme="int8-channel", bits=8))
    assert torch.equal(stored.get(f"{DOWN}.codes"), want.codes)
    assert torch.equal(stored.get(f"{DOWN}.scales"), want.scales)
    assert torch.equal(stored.get("norm.weight"), floats.get("norm.weight"))
    assert not [name for name in stored.names if name.endswith("weight") and "norm" not in name]


def test_a_tied_table_is_quantized_once_for_both_uses(write: Write, tmp_path: Path) -> None:
    quantize_checkpoint(write(), tmp_path / "out", recipe="8da4w-g32")
    assert not [name for name in open_tensors(tmp_path / "out").names if name.startswith("head")]
    model = build_model(tmp_path / "out")
    rows = model.embedding(torch.arange(96))
    assert torch.equal(rows, model.head.weight.dequantize())


def test_licences_travel_and_the_description_tells_each_layers_scheme(write: Write, tmp_path: Path) -> None:
    quantize_checkpoint(write(), tmp_path / "out", recipe="8da4w-g32")
    info = read_info(tmp_path / "out")
    assert (tmp_path / "out" / "LICENSE.txt").read_text() == "be kind"
    assert info.quantization is not None and info.quantization.recipe == "8da4w-g32"
    assert info.quantization.group_size == 32
    assert info.quantization.layers[DOWN] == {
        "scheme": "int8-channel", "bits": 8, "group_size": None, "reason": "K = 108 is not a multiple of 32",
    }  # fmt: skip


@pytest.mark.parametrize("tied", [True, False])
def test_the_summary_counts_the_bytes_that_are_written_and_names_the_exceptions(
    write: Write, tmp_path: Path, tied: bool
) -> None:
    source = write(tied=tied, dtype=torch.bfloat16)
    summary = quantize_checkpoint(source, tmp_path / "out", recipe="8da4w-g32")
    assert summary == plan_checkpoint(source, recipe="8da4w-g32")
    stored = open_tensors(tmp_path / "out")
    sizes = {name: stored.get(name).nbytes for name in stored.names}
    assert summary.codes_bytes == sum(size for name, size in sizes.items() if name.endswith(".codes"))
    assert summary.scales_bytes == sum(size for name, size in sizes.items() if name.endswith(".scales"))
    assert summary.total_bytes == sum(sizes.values())
    assert set(summary.exceptions) == {DOWN, DOWN.replace("0", "1")}
    kinds = {kind.kind: (kind.scheme, kind.layers) for kind in summary.kinds}
    assert kinds["feed_forward.down_proj"] == ("int8-channel", 2)
    assert kinds["attention.k_proj"] == ("int4-group", 2)
    assert ("head" in kinds) is not tied
    assert json.dumps(summary.to_json())


@pytest.mark.parametrize("tied", [True, False])
def test_the_model_that_comes_back_is_torchaos_converted_model(write: Write, tmp_path: Path, tied: bool) -> None:
    source = write(tied=tied)
    quantize_checkpoint(source, tmp_path / "out", recipe="8da4w-g32")
    ours, theirs = build_model(tmp_path / "out"), load_model(source).eval()
    theirs.cache_dtype = "int8"
    table = quantize_absmax(theirs.embedding.weight.detach(), LayerScheme(scheme="int4-group", bits=4, group_size=32))
    theirs.head.weight = torch.nn.Parameter(theirs.head.weight.detach().clone())  # untied: each is converted by itself
    theirs.embedding.weight = torch.nn.Parameter(dequantize(table))
    by_group = Int8DynamicActivationIntxWeightConfig(
        weight_dtype=torch.int4, weight_granularity=PerGroup(32), weight_scale_dtype=torch.bfloat16
    )
    by_channel = Int8DynamicActivationIntxWeightConfig(weight_dtype=torch.int8, weight_granularity=PerAxis(0))
    linear = torch.nn.Linear
    quantize_(theirs, by_group, lambda module, name: isinstance(module, linear) and "down_proj" not in name)
    quantize_(theirs, by_channel, lambda module, name: isinstance(module, linear) and "down_proj" in name)
    with torch.no_grad():
        assert torch.equal(ours(TOKENS), theirs(TOKENS))


def test_the_integer_model_is_near_its_float_model_but_not_it(write: Write, tmp_path: Path) -> None:
    source = write()
    quantize_checkpoint(source, tmp_path / "out", recipe="8da4w-g32")
    with torch.no_grad():
        floats, integers = build_model(source)(TOKENS), build_model(tmp_path / "out")(TOKENS)
    error = float((floats - integers).norm() / floats.norm())
    assert 0.01 < error < 0.3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tied", [True, False])
def test_the_float_recipe_passes_every_tensor_unchanged_and_runs(
    write: Write, tmp_path: Path, dtype: torch.dtype, tied: bool
) -> None:
    source = write(dtype=dtype, tied=tied)
    summary = quantize_checkpoint(source, tmp_path / "out", recipe="float")
    before, after = open_tensors(source), open_tensors(tmp_path / "out")
    assert before.names == after.names
    assert all(torch.equal(before.get(name), after.get(name)) for name in before.names)
    assert (summary.codes_bytes, summary.scales_bytes) == (0, 0) and not summary.exceptions
    assert {scheme.scheme for scheme in read_plan(tmp_path / "out", read_info(tmp_path / "out")).values()} == {"float"}
    with torch.no_grad():
        assert torch.equal(build_model(tmp_path / "out")(TOKENS), build_model(source)(TOKENS))


def test_loading_gives_back_layers_by_name_and_float_tensors_by_theirs(write: Write, tmp_path: Path) -> None:
    source = write()
    quantize_checkpoint(source, tmp_path / "out", recipe="8da4w-g32")
    loaded = load_quantized(tmp_path / "out")
    layer = loaded[Q]
    assert isinstance(layer, QuantizedTensor)
    want = quantize_absmax(open_tensors(source).get(f"{Q}.weight"), layer.scheme)
    assert torch.equal(layer.codes, want.codes) and torch.equal(layer.scales, want.scales)
    assert isinstance(loaded["norm.weight"], torch.Tensor)
    assert "head" not in loaded and f"{Q}.weight" not in loaded


def test_the_same_checkpoint_gives_the_same_bytes_twice(write: Write, tmp_path: Path) -> None:
    source = write()
    for name in ("a", "b"):
        quantize_checkpoint(source, tmp_path / name, recipe="8da4w-g32")
    for file in ("model.safetensors", "checkpoint.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_larger_group_is_used_where_it_fits(write: Write, tmp_path: Path) -> None:
    summary = quantize_checkpoint(write(), tmp_path / "out", recipe="8da4w-g32", group_size=64)
    assert summary.group_size == 64
    assert open_tensors(tmp_path / "out").shape(f"{Q}.scales") == (64, 1)
    with torch.no_grad():
        assert torch.isfinite(build_model(tmp_path / "out")(TOKENS)).all()


def test_learned_scales_that_fit_become_the_grid(write: Write, tmp_path: Path) -> None:
    scale = torch.rand(64, 2, generator=torch.Generator().manual_seed(2)) * 0.01 + 0.03
    source = write(learned=True, change=lambda tensors: tensors.update({f"{Q}.weight_scale": scale}))
    quantize_checkpoint(source, tmp_path / "out", recipe="8da4w-g32")
    stored = open_tensors(tmp_path / "out")
    assert torch.equal(stored.get(f"{Q}.scales"), scale.bfloat16())
    assert f"{Q}.weight_scale" not in stored.names
    assert not read_info(tmp_path / "out").learned_scales


def test_the_float_recipe_keeps_learned_scales(write: Write, tmp_path: Path) -> None:
    source = write(learned=True, change=lambda tensors: tensors.update({f"{Q}.weight_scale": torch.ones(64, 2)}))
    quantize_checkpoint(source, tmp_path / "out", recipe="float")
    assert torch.equal(open_tensors(tmp_path / "out").get(f"{Q}.weight_scale"), torch.ones(64, 2))
    assert read_info(tmp_path / "out").learned_scales
    build_model(tmp_path / "out")


@pytest.mark.parametrize("method", ["rtn7", "mse", "hqq"])
def test_a_method_chooses_other_scales_on_the_same_storage_and_is_recorded(
    write: Write, tmp_path: Path, method: str
) -> None:
    source = write()
    summary = quantize_checkpoint(source, tmp_path / "out", method=method)
    info = read_info(tmp_path / "out").quantization
    assert info is not None and (info.method, summary.method) == (method, method)
    layer = load_quantized(tmp_path / "out")[Q]
    assert isinstance(layer, QuantizedTensor)
    weight = open_tensors(source).get(f"{Q}.weight")
    want = quantize_matrix(weight, layer.scheme, method)
    assert torch.equal(layer.codes, want.codes) and torch.equal(layer.scales, want.scales)
    assert not torch.equal(layer.scales, quantize_absmax(weight, layer.scheme).scales)
    assert {name: tensor.scales.dtype for name, tensor in quantized_layers(source, method=method)} == {
        name: tensor.scales.dtype for name, tensor in quantized_layers(source)
    }


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("flat", [True, False])
def test_learned_scales_of_the_accelerator_recipe_come_back_bit_for_bit(
    write: Write, tmp_path: Path, tied: bool, flat: bool
) -> None:
    """Every layer's, the table's too; [N] and [N, 1] are the same scales."""
    learned: dict[str, torch.Tensor] = {}

    def learn(tensors: dict[str, torch.Tensor]) -> None:
        for name, weight in list(tensors.items()):
            if weight.dim() == 2:
                noise = torch.rand(len(weight), 1, generator=torch.Generator().manual_seed(len(learned)))
                learned[name.removesuffix(".weight")] = (weight.abs().amax(1, keepdim=True) / 7.5) * (0.7 + noise)
        tensors |= {f"{name}.weight_scale": scale[:, 0] if flat else scale for name, scale in learned.items()}

    source = write(learned=True, tied=tied, change=learn)
    quantize_checkpoint(source, tmp_path / "out", recipe="4w-channel")
    loaded = load_quantized(tmp_path / "out")
    info = read_info(tmp_path / "out").quantization
    assert info is not None and info.method == "trained" and ("head" in loaded) is not tied
    for name, scale in learned.items():
        layer = loaded[name]
        assert isinstance(layer, QuantizedTensor) and layer.scheme.scheme == "int4-channel"
        assert layer.scales.dtype == torch.float32 and torch.equal(layer.scales, scale)
    model = build_model(tmp_path / "out")
    assert model.cache_dtype == "float"
    if tied:
        assert torch.equal(model.embedding(torch.arange(96)), model.head.weight.dequantize())


def test_float_activations_under_int4_weights_are_those_of_the_dequantized_model(write: Write, tmp_path: Path) -> None:
    source = write()
    quantize_checkpoint(source, tmp_path / "out", recipe="4w-channel")
    model = load_model(source).eval().requires_grad_(False)
    for name, tensor in load_quantized(tmp_path / "out").items():
        if isinstance(tensor, QuantizedTensor):
            model.get_submodule(name).weight.copy_(dequantize(tensor))
    with torch.no_grad():
        want, got = model(TOKENS), build_model(tmp_path / "out")(TOKENS)
    assert torch.allclose(got, want, atol=1e-5 * float(want.abs().max()))


def trained_for(source: Path, recipe: str, overrides: dict[str, SchemeName]) -> None:
    """Says of a float checkpoint what it was trained for."""
    info = read_info(source)
    info = dataclasses.replace(info, trained_for=choose(source, info, recipe=recipe, overrides=overrides).to_info())
    (source / "checkpoint.json").write_text(json.dumps(info.to_json()))


def test_what_was_trained_under_overrides_is_converted_with_them(write: Write, tmp_path: Path) -> None:
    source = write()
    overrides: dict[str, SchemeName] = {"layers.0.*": "int8-channel", "layers.1.attention.*": "float"}
    trained_for(source, "8da4w-g32", overrides)
    summary = quantize_checkpoint(source, tmp_path / "out")
    info = read_info(tmp_path / "out")
    assert info.quantization is not None and info.trained_for is None
    assert (summary.method, info.quantization.method) == ("trained", "trained")
    assert info.quantization.layers[Q]["reason"] == "override layers.0.*"
    loaded = load_quantized(tmp_path / "out")
    layer, weight = loaded[Q], open_tensors(source).get(f"{Q}.weight")
    assert isinstance(layer, QuantizedTensor)
    assert torch.equal(layer.codes, quantize_absmax(weight, LayerScheme(scheme="int8-channel", bits=8)).codes)
    kept = loaded["layers.1.attention.q_proj.weight"]
    assert isinstance(kept, torch.Tensor)
    assert torch.equal(kept, open_tensors(source).get("layers.1.attention.q_proj.weight"))
    with pytest.raises(ValueError, match="was trained for recipe 8da4w-g32: its recipe is 8da4w-g32, not 4w-channel"):
        quantize_checkpoint(source, tmp_path / "other", recipe="4w-channel")


def test_learned_scales_of_a_layer_that_departs_are_kept_when_training_says_so(write: Write, tmp_path: Path) -> None:
    scale = torch.rand(64, 1, generator=torch.Generator().manual_seed(2)) * 0.001 + 0.003

    def learn(tensors: dict[str, torch.Tensor]) -> None:
        for name, weight in list(tensors.items()):
            if weight.dim() == 2 and weight.shape[1] % 32 == 0:
                shape = (weight.shape[0], weight.shape[1] // 32)
                tensors[f"{name}_scale"] = torch.full(shape, 0.04)
        tensors[f"{DOWN}.weight_scale"] = scale

    source = write(learned=True, change=learn)
    trained_for(source, "8da4w-g32", {})
    quantize_checkpoint(source, tmp_path / "out")
    layer = load_quantized(tmp_path / "out")[DOWN]
    assert isinstance(layer, QuantizedTensor)
    assert layer.scheme.scheme == "int8-channel" and torch.equal(layer.scales, scale)


def test_overridden_layers_run_in_the_integer_model(write: Write, tmp_path: Path) -> None:
    source = write()
    overrides = read_overrides(["embedding=float", "layers.0.attention.*=int8-channel", "layers.1.*=float"])
    summary = quantize_checkpoint(source, tmp_path / "out", overrides=overrides)
    assert summary == plan_checkpoint(source, overrides=overrides)
    assert summary.exceptions[Q] == "override layers.0.attention.*"
    model = build_model(tmp_path / "out")
    plain = load_model(source)
    for name in ("head", "layers.1.feed_forward.up_proj"):
        module = model.get_submodule(name)
        assert type(module) is torch.nn.Linear and type(module.weight.data) is torch.Tensor
        assert torch.equal(module.weight, plain.get_submodule(name).weight)
    assert model.head.weight is model.embedding.weight
    assert model.get_submodule(Q).weight.target_dtype == torch.int8
    with torch.no_grad():
        assert torch.isfinite(model(TOKENS)).all()
