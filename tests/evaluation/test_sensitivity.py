"""Each part of a model quantized alone: what it costs, that the whole is the converted model, that all is put back."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from evaluation.evaluate import evaluate_things
from evaluation.scorers import ModelScorer
from evaluation.sensitivity import CHART_FILE, JSON_FILE, measure_sensitivity, write_sensitivity
from evaluation.sensitivity_parts import (
    FloatStates,
    Part,
    PartScorer,
    activations_part,
    applied,
    weights_part,
    whole_part,
)
from evaluation.summary import summarize
from model.checkpoint import WEIGHTS_FILE, load_model, read_info
from model.checkpoint_info import QuantizationInfo
from model.files import dump_json
from model.transformer import Transformer
from quant.checkpoint import quantize_checkpoint, quantized_layers
from quant.integers import dequantize
from quant.recipe import RECIPES, LayerScheme
from tests.packages import OTHER, TINY, make_checkpoint

V = "layers.1.attention.v_proj"
RECIPE = RECIPES["8da4w-g32"]
INT4 = LayerScheme(scheme="int4-group", bits=4, group_size=32)
LINES = [
    "Once there was a cat.",
    "It sat on a mat, and the mat was red.",
    "Nobody knew why; the cat did not say.",
    "The end came soon.",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random checkpoints, tied and untied, and a text."""
    folder = tmp_path_factory.mktemp("sensitivity")
    make_checkpoint(TINY, folder / "tied", own_norms=True)
    make_checkpoint(OTHER, folder / "untied", own_norms=True)
    (folder / "text.txt").write_text("\n".join(LINES))
    return folder


def measure(folder: Path, checkpoint: str = "tied", **options: object):
    return measure_sensitivity(folder / checkpoint, text=str(folder / "text.txt"), **options)


def changed(folder: Path, name: str, change: Callable[[torch.Tensor], torch.Tensor], out: Path) -> Path:
    """A copy of the tied checkpoint with one layer's weights changed."""
    out.mkdir()
    for file in (folder / "tied").iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    tensors = load_file(out / WEIGHTS_FILE)
    tensors[f"{name}.weight"] = change(tensors[f"{name}.weight"])
    save_file(tensors, out / WEIGHTS_FILE)
    return out


def rows(scorer: PartScorer | ModelScorer, ids: list[int]) -> torch.Tensor:
    return torch.cat(list(scorer.rows(ids)))


def states(model: Transformer) -> FloatStates:
    return FloatStates(model, lambda tokens: None)


@pytest.mark.parametrize("name", ["tied", "untied"])
def test_a_part_computes_what_the_model_with_that_part_in_its_place_computes(folder: Path, name: str) -> None:
    model = load_model(folder / name).eval()
    tensors = dict(quantized_layers(folder / name, recipe="8da4w-g32"))
    parts = [weights_part(layer, model, {layer: tensor}) for layer, tensor in tensors.items()]
    parts += [
        activations_part("activations", model, list(tensors)),
        Part(name="cache", cache="int8"),
        whole_part("whole", model, tensors, RECIPE),
        Part(name="float"),
    ]
    shared = states(model)
    for ids in ([3, 1, 4, 1, 5, 9, 2, 6], [2, 7, 1, 8]):
        for part in parts:
            found = rows(PartScorer(shared, part), ids)
            with applied(model, part):
                assert torch.equal(found, rows(ModelScorer(model), ids)), part.name


def test_one_row_is_the_matrix_of_its_codes_and_nothing_else(folder: Path) -> None:
    plain = load_model(folder / "tied").eval()
    tensors = dict(quantized_layers(folder / "tied", recipe="8da4w-g32"))
    found = rows(PartScorer(states(plain), weights_part(V, plain, {V: tensors[V]})), [3, 1, 4, 1, 5])
    with torch.no_grad():
        plain.get_submodule(V).weight.copy_(dequantize(tensors[V]))
    assert torch.equal(found, rows(ModelScorer(plain), [3, 1, 4, 1, 5]))


def test_the_model_is_float_again_to_the_last_bit_and_the_same_objects(folder: Path) -> None:
    model = load_model(folder / "tied").eval()
    before, modules = {k: v.clone() for k, v in model.state_dict().items()}, dict(model.named_modules())
    tensors = dict(quantized_layers(folder / "tied", recipe="8da4w-g32"))
    whole = whole_part("whole", model, tensors, RECIPE)

    def is_untouched() -> bool:
        after = model.state_dict()
        return (
            model.cache_dtype == "float"
            and model.head.weight is model.embedding.weight
            and all(module is modules[name] for name, module in model.named_modules())
            and list(after) == list(before)
            and all(torch.equal(after[name], before[name]) for name in before)
        )

    rows(PartScorer(states(model), whole), [1, 2, 3])
    assert is_untouched()
    abandoned = PartScorer(states(model), whole).rows([1, 2, 3])
    next(abandoned)
    assert is_untouched()  # also between two blocks
    with pytest.raises(KeyboardInterrupt), applied(model, whole):
        raise KeyboardInterrupt
    assert is_untouched()


@pytest.mark.parametrize("name", ["tied", "untied"])
@pytest.mark.parametrize("recipe", ["8da4w-g32", "4w-channel"])
def test_everything_together_is_what_evaluate_says_of_the_converted_model(
    folder: Path, tmp_path: Path, name: str, recipe: str
) -> None:
    found = measure(folder, name, recipe=recipe)
    quantize_checkpoint(folder / name, tmp_path / "quantized", recipe=recipe)
    evaluation = evaluate_things([folder / name, tmp_path / "quantized"], text=str(folder / "text.txt"))
    want = summarize(evaluation.things[1], evaluation.resamples())
    assert found.everything.kl == want.kl_mean and found.everything.agreement == want.agreement
    assert found.everything.kl.value > 0
    assert found.text == evaluation.text
    if recipe == "4w-channel":  # its activations and cache are floats
        assert found.activations is None and found.cache is None and found.weights == found.everything
    else:
        assert 0 < found.activations.kl.value < found.everything.kl.value and found.cache.kl.value > 0


@pytest.mark.parametrize("name", ["tied", "untied"])
def test_the_bytes_are_those_of_the_quantized_checkpoint_with_and_without_the_overrides(
    folder: Path, tmp_path: Path, name: str
) -> None:
    found = measure(folder, name)
    plain = quantize_checkpoint(folder / name, tmp_path / "plain")
    assert sum(row.bytes for row in found.rows) == found.everything.bytes == plain.codes_bytes + plain.scales_bytes
    assert found.everything.float_bytes == sum(row.float_bytes for row in found.rows)
    overrides = found.suggestion.overrides
    wider = quantize_checkpoint(folder / name, tmp_path / "wider", overrides=overrides)
    assert wider.total_bytes - plain.total_bytes == found.suggestion.more_bytes > 0
    want = evaluate_things([folder / name, tmp_path / "wider"], text=str(folder / "text.txt"))
    assert summarize(want.things[1], want.resamples()).kl_mean == found.suggestion.kl


def test_a_layer_that_is_on_the_grid_already_costs_nothing(folder: Path, tmp_path: Path) -> None:
    def on_grid(weight: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        codes = torch.randint(-7, 8, weight.shape, generator=generator).float()
        codes[:, ::32] = 7.0  # the largest of each group: rtn7's scale is this over 7
        scales = (0.01 * torch.rand(weight.shape[0], weight.shape[1] // 32, generator=generator) + 0.01).bfloat16()
        return (codes.unflatten(1, (-1, 32)) * scales.float()[..., None]).flatten(1)

    changed(folder, V, on_grid, tmp_path / "checkpoint")
    (tmp_path / "text.txt").write_text("\n".join(LINES))
    found = measure(tmp_path, "checkpoint", method="rtn7")
    assert found.rows[-1].name == V and found.rows[-1].kl.value == 0 and found.rows[-1].agreement.value == 1
    assert found.rows[-2].kl.value > 0
    assert V not in found.suggestion.overrides


def test_a_damaged_layer_ranks_first_and_is_what_to_keep_wider(folder: Path, tmp_path: Path) -> None:
    def outlier(weight: torch.Tensor) -> torch.Tensor:
        weight = weight.clone()
        weight[:, ::32] *= 8  # one weight of each group leaves a coarse grid to the others
        return weight

    changed(folder, V, outlier, tmp_path / "checkpoint")
    (tmp_path / "text.txt").write_text("\n".join(LINES))
    for by, name, pattern in (("layer", V, V), ("kind", "attention.v_proj", "layers.*.attention.v_proj")):
        found = measure(tmp_path, "checkpoint", by=by)
        costs = {row.name: row.kl.value for row in found.rows}
        weights_only = {k: v for k, v in costs.items() if k != "embedding"}
        assert max(weights_only, key=weights_only.get) == name
        assert [row.kl.value for row in found.rows] == sorted(costs.values(), reverse=True)
        assert next(iter(found.suggestion.overrides.items())) == (pattern, "int8-channel")
        assert found.suggestion.kl.value < found.everything.kl.value


@pytest.mark.parametrize(("by", "name", "rest"), [
    ("block", "layers.0", {"embedding": "float", "layers.1.*": "float"}),
    ("kind", "attention.v_proj", {"*": "float", "layers.*.attention.v_proj": "int4-channel"}),
    ("layer", "embedding", {"layers.*": "float"}),
])  # fmt: skip
def test_a_row_is_what_evaluate_says_of_a_checkpoint_with_all_else_left_float(
    folder: Path, tmp_path: Path, by: str, name: str, rest: dict
) -> None:
    found = measure(folder, recipe="4w-channel", by=by)
    row = next(row for row in found.rows if row.name == name)
    quantize_checkpoint(folder / "tied", tmp_path / "quantized", recipe="4w-channel", overrides=rest)
    want = evaluate_things([folder / "tied", tmp_path / "quantized"], text=str(folder / "text.txt"))
    assert summarize(want.things[1], want.resamples()).kl_mean == row.kl
    assert len(row.layers) == {"block": 7, "kind": 2, "layer": 1}[by]


def test_the_json_holds_every_figure_and_the_files_are_written_both(folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    found = measure(folder, limit_documents=3, progress=said.append)
    write_sensitivity(found, tmp_path / "out")
    data = json.loads((tmp_path / "out" / JSON_FILE).read_text())
    assert data == json.loads(dump_json(found.to_json()))
    assert data["format"] == "pocketlm-sensitivity" and data["version"] == 1
    assert set(data) == {
        "format", "version", "checkpoint", "recipe", "group_size", "method", "by", "text", "rows", "activations",
        "cache", "weights", "everything", "sum_of_rows", "suggestion", "seconds", "notes", "versions",
    }  # fmt: skip
    assert data["text"]["documents"] == 3 and len(data["rows"]) == 15
    keys = {
        "name", "kl", "agreement", "pattern", "layers", "schemes", "float_bytes", "bytes", "saved_bytes", "more_bytes",
    }  # fmt: skip
    for row in (*data["rows"], data["activations"], data["cache"], data["weights"], data["everything"]):
        assert set(row) == keys
        assert row["kl"]["low"] <= row["kl"]["value"] <= row["kl"]["high"] and 0 <= row["agreement"]["value"] <= 1
    for row in data["rows"]:
        assert row["saved_bytes"] == row["float_bytes"] - row["bytes"] > 0
    total = sum(row["kl"]["value"] for row in data["rows"])
    assert data["sum_of_rows"]["value"] == pytest.approx(total, rel=1e-9)
    assert set(data["suggestion"]) == {"overrides", "more_bytes", "kl", "agreement", "arguments"}
    assert (tmp_path / "out" / CHART_FILE).read_text().startswith("<svg ")
    with pytest.raises(ValueError, match="--overwrite"):
        write_sensitivity(found, tmp_path / "out")
    write_sensitivity(found, tmp_path / "out", overwrite=True)


def test_one_document_has_no_interval_and_says_so(folder: Path) -> None:
    said: list[str] = []
    found = measure(folder, limit_documents=1, by="block", progress=said.append)
    assert found.to_json()["rows"][0]["kl"]["low"] is None
    assert any("no interval" in line for line in said) and any("no interval" in note for note in found.notes)


def test_text_that_the_model_was_trained_on_is_warned_of(folder: Path, tmp_path: Path) -> None:
    changed(folder, V, lambda weight: weight, tmp_path / "checkpoint")
    (tmp_path / "text.txt").write_text("\n".join(LINES))
    entry = {"name": "cat", "split": "train", "sha256": hashlib.sha256(LINES[1].encode()).hexdigest()}
    (tmp_path / "checkpoint" / "documents.jsonl").write_text(json.dumps(entry) + "\n")
    said: list[str] = []
    measure(tmp_path, "checkpoint", by="block", progress=said.append)
    assert "trained on 1 of the 4 documents" in said[0]


def test_weights_that_were_trained_for_a_recipe_are_measured_with_a_warning_and_without_overrides(
    folder: Path, tmp_path: Path
) -> None:
    changed(folder, V, lambda weight: weight, tmp_path / "checkpoint")
    (tmp_path / "text.txt").write_text("\n".join(LINES))
    info = read_info(tmp_path / "checkpoint")
    quantized = quantize_checkpoint(folder / "tied", tmp_path / "quantized", recipe="8da4w-g32")
    layers = read_info(tmp_path / "quantized").quantization.layers
    trained = QuantizationInfo(recipe=quantized.recipe, group_size=32, layers=layers, method="trained")
    described = dataclasses.replace(info, trained_for=trained).to_json()
    (tmp_path / "checkpoint" / "checkpoint.json").write_text(dump_json(described))
    found = measure(tmp_path, "checkpoint", by="block")
    assert found.method == "trained" and found.suggestion is None
    assert "trained under fake quantization" in found.notes[0]
    assert "--override" not in "\n".join(found.lines())


@pytest.mark.parametrize(("options", "message"), [
    ({"recipe": "float"}, "quantizes nothing"),
    ({"recipe": "8da4w"}, "8da4w-g32"),
    ({"recipe": "4w-channel", "group_size": 32}, "no groups"),
    ({"group_size": 48}, "multiples of 32"),
    ({"method": "gptk"}, "gptq"),
    ({"method": "gptq"}, "calibration text"),
    ({"method": "rtn", "calibration": [[1, 2]]}, "takes no calibration"),
    ({"max_tokens": 1}, "at least 2"),
    ({"protocol": "poems"}, "protocol"),
])  # fmt: skip
def test_impossible_wishes_are_refused_with_the_cure(folder: Path, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure(folder, **options)


def test_a_quantized_checkpoint_and_one_without_a_tokenizer_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\n".join(LINES))
    quantize_checkpoint(folder / "tied", tmp_path / "quantized")
    with pytest.raises(ValueError, match=r"quantized already .*give the float checkpoint"):
        measure(tmp_path, "quantized")
    changed(folder, V, lambda weight: weight, tmp_path / "mute")
    info = dataclasses.replace(read_info(tmp_path / "mute"), tokenizer=None)
    (tmp_path / "mute" / "checkpoint.json").write_text(dump_json(info.to_json()))
    with pytest.raises(ValueError, match="no tokenizer"):
        measure(tmp_path, "mute")
    with pytest.raises(ValueError, match=r"missing"):
        measure(tmp_path, "nowhere")


def test_a_method_that_needs_text_gets_it(folder: Path) -> None:
    found = measure(folder, by="block", method="gptq", calibration=[[1, 2, 3, 4, 5, 6, 7, 8] * 8])
    assert found.method == "gptq" and found.everything.kl.value > 0
