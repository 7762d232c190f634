"""Our checkpoint folder: its description is read strictly, its weights stream, random ones repeat themselves."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from model.checkpoint import (
    float_shapes,
    load_model,
    open_tensors,
    random_checkpoint,
    read_info,
    write_checkpoint,
)
from model.checkpoint_info import CheckpointInfo, QuantizationInfo, is_licence
from model.config import PRESETS, ModelConfig
from model.transformer import Transformer

CONFIG = ModelConfig(
    vocab_size=300,
    dim=32,
    num_layers=2,
    num_heads=2,
    num_kv_heads=1,
    head_dim=16,
    ffn_dim=48,
    global_layers=(1,),
    sliding_window=8,
    max_context=64,
)
UNTIED = dataclasses.replace(CONFIG, tied=False)
INFO = CheckpointInfo(config=CONFIG, family="llama", source_sha256="ab" * 32, licences=("LICENSE",))
LAYER = {"scheme": "int4-group", "bits": 4, "group_size": 32, "reason": None}
QUANTIZED = dataclasses.replace(
    INFO, quantization=QuantizationInfo(recipe="8da4w-g32", group_size=32, layers={"embedding": LAYER})
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random_checkpoint(CONFIG, tmp_path / "ckpt", seed=0, tokenizer="none")
    return tmp_path / "ckpt"


@pytest.mark.parametrize("info", [INFO, QUANTIZED, dataclasses.replace(INFO, preset="nano", learned_scales=True)])
def test_a_description_survives_the_trip_through_json(info):
    assert CheckpointInfo.from_json(json.loads(json.dumps(info.to_json()))) == info


def test_a_tokenizer_survives_the_trip_through_json(tmp_path):
    info = random_checkpoint(CONFIG, tmp_path / "ckpt", seed=0)
    assert info.tokenizer is not None
    assert read_info(tmp_path / "ckpt") == info


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "gguf"}, "no pocketlm checkpoint"),
        ({"version": 2}, r"version 2 is not supported \(this pocketlm reads 1\); update pocketlm"),
        ({"version": "1"}, "version '1' is not supported .* convert the checkpoint again"),
        ({"famly": "llama"}, "unknown checkpoint key 'famly'; did you mean 'family'"),
        ({"family": "gpt"}, "unknown model family 'gpt'; known: llama4_text, llama, pocketlm, random"),
        ({"learned_scales": 1}, "'learned_scales' is 1; it must be bool"),
        ({"preset": 3}, "'preset' is 3; it must be str or null"),
        ({"licences": ["../../etc/passwd"]}, r"names '\.\./\.\./etc/passwd', which is no licence"),
        ({"licences": ["LICENSE/../x"]}, "which is no licence"),
        ({"tokenizer": {"file": "tokenizer.json"}}, "the tokenizer entry has file"),
        (
            {"quantization": {"recipe": "x", "group_size": 32, "layers": {}, "bits": 4}},
            "unknown quantization key 'bits'",
        ),
        ({"quantization": {"recipe": "x", "group_size": 32}}, "quantization keys are missing: layers"),
        ({"quantization": {"recipe": "x", "group_size": 32, "layers": []}}, "'layers' is"),
        ({"quantization": {"recipe": "x", "group_size": "32", "layers": {}}}, "'group_size' is '32'"),
        (
            {"quantization": {"recipe": "x", "group_size": 32, "layers": {"head": {"bits": 4}}}},
            "layer 'head' must have",
        ),
        ({"config": CONFIG.to_json() | {"dim": "wide"}}, "dim is 'wide'; it must be an integer"),
        ({"config": CONFIG.to_json() | {"widht": 3}}, "unknown model setting 'widht'"),
    ],
)
def test_a_description_that_is_not_ours_is_refused_by_key(folder, change, message):
    path = folder / "checkpoint.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message) as caught:
        read_info(folder)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", sorted(set(INFO.to_json()) - {"format", "version"}))
def test_a_missing_key_is_named(key):
    data = {name: value for name, value in INFO.to_json().items() if name != key}
    with pytest.raises(ValueError, match=f"checkpoint keys are missing: {key}"):
        CheckpointInfo.from_json(data)


def test_a_folder_without_a_description_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"checkpoint\.json is missing; give a folder that `pocketlm convert` made"):
        read_info(tmp_path)
    (tmp_path / "config.json").touch()
    with pytest.raises(ValueError, match="looks like a Hugging Face folder: run `pocketlm convert`"):
        read_info(tmp_path)
    (tmp_path / "checkpoint.json").write_text("{")
    with pytest.raises(ValueError, match=r"checkpoint\.json is not valid JSON"):
        read_info(tmp_path)


def test_reading_a_description_does_not_load_torch(tmp_path):
    folder = tmp_path / "with-tokenizer"
    random_checkpoint(CONFIG, folder, seed=0)
    code = (
        "import sys; from pathlib import Path; from model.checkpoint import read_info; "
        f"read_info(Path({str(folder)!r})); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[2])


@pytest.mark.parametrize("config", [CONFIG, UNTIED])
def test_the_expected_tensors_are_exactly_the_models(config):
    state = Transformer(config).state_dict()
    if config.tied:
        del state["head.weight"]
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == float_shapes(config)
    assert sum(tensor.numel() for tensor in state.values()) == config.num_parameters


@pytest.mark.parametrize("config", [CONFIG, UNTIED])
def test_a_loaded_model_computes_with_the_stored_weights(tmp_path, config):
    model = Transformer(config)
    state = {name: tensor for name, tensor in model.state_dict().items() if name in float_shapes(config)}
    (tmp_path / "ckpt").mkdir()
    write_checkpoint(tmp_path / "ckpt", dataclasses.replace(INFO, config=config), state.items())
    loaded = load_model(tmp_path / "ckpt")
    tokens = torch.arange(20).reshape(2, 10)
    with torch.no_grad():
        assert torch.equal(loaded(tokens), model(tokens))
    assert (loaded.head.weight is loaded.embedding.weight) is config.tied
    assert all(weight.requires_grad for weight in loaded.parameters())


def test_a_loaded_model_has_the_type_that_was_asked_for(tmp_path):
    random_checkpoint(CONFIG, tmp_path / "ckpt", seed=0, dtype="bfloat16", tokenizer="none")
    assert open_tensors(tmp_path / "ckpt").dtype("norm.weight") == torch.bfloat16
    assert {weight.dtype for weight in load_model(tmp_path / "ckpt").parameters()} == {torch.float32}
    assert {weight.dtype for weight in load_model(tmp_path / "ckpt", torch.bfloat16).parameters()} == {torch.bfloat16}


def rewrite(folder: Path, change: Any) -> None:
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}  # no map
    change(tensors)
    write_checkpoint(folder, read_info(folder), tensors.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("norm.weight"), r"missing tensors: norm\.weight"),
        (lambda t: t.update({"bias": torch.ones(1)}), "unexpected tensors: bias"),
        (
            lambda t: t.update({"norm.weight": torch.ones(31)}),
            r"'norm.weight' has the shape \[31\], its config asks for",
        ),
        (lambda t: t["norm.weight"].fill_(float("inf")), r"'norm.weight' holds 0 NaN and 32 infinite"),
    ],
)
def test_weights_that_do_not_fit_the_description_are_refused(folder, change, message):
    rewrite(folder, change)
    with pytest.raises(ValueError, match=message):
        load_model(folder)


def test_damaged_or_quantized_weights_are_not_loaded_as_floats(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-1])
    with pytest.raises(ValueError, match="truncated"):
        load_model(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model\.safetensors is missing"):
        load_model(folder)
    (folder / "checkpoint.json").write_text(json.dumps(QUANTIZED.to_json()))
    with pytest.raises(ValueError, match=r"is quantized \(8da4w-g32\); give the float checkpoint"):
        load_model(folder)


def test_random_weights_are_the_same_for_a_seed_and_differ_for_another(tmp_path):
    infos = [random_checkpoint(CONFIG, tmp_path / str(i), seed=seed) for i, seed in enumerate((3, 3, 4))]
    same, again, other = ({p.name: p.read_bytes() for p in (tmp_path / str(i)).iterdir()} for i in range(3))
    assert same == again
    assert same["model.safetensors"] != other["model.safetensors"]
    assert infos[0].source_sha256 == infos[1].source_sha256 != infos[2].source_sha256
    assert set(same) == {"checkpoint.json", "model.safetensors", "tokenizer.json", "chat_template.json"}


def test_random_weights_are_normal_with_norms_of_one(folder):
    reader = open_tensors(folder)
    table = reader.get("embedding.weight")
    assert abs(float(table.std()) - 0.02) < 0.001
    assert abs(float(table.mean())) < 0.001
    assert torch.equal(reader.get("layers.0.attention_norm.weight"), torch.ones(32))


def test_a_random_preset_knows_its_name(tmp_path):
    info = random_checkpoint(PRESETS["nano"], tmp_path / "nano", seed=0, tokenizer="none")
    assert (info.preset, info.family) == ("nano", "random")
    assert (tmp_path / "nano" / "model.safetensors").stat().st_size < 4 * 5_770_496 + 50_000


def test_a_random_checkpoint_takes_tokenizer_and_licences_of_a_given_folder(tmp_path):
    from model.byte_tokenizer import write_byte_tokenizer

    given = tmp_path / "given"
    given.mkdir()
    write_byte_tokenizer(given, 290)
    (given / "LICENSE").write_text("terms")
    info = random_checkpoint(CONFIG, tmp_path / "ckpt", seed=0, tokenizer=given)
    assert (tmp_path / "ckpt" / "tokenizer.json").read_bytes() == (given / "tokenizer.json").read_bytes()
    assert (tmp_path / "ckpt" / "LICENSE").read_text() == "terms"
    assert info.licences == ("LICENSE",)


def test_a_random_checkpoint_does_not_replace_what_is_there(folder):
    with pytest.raises(ValueError, match="exists already; pass --overwrite"):
        random_checkpoint(CONFIG, folder, seed=1, tokenizer="none")
    random_checkpoint(CONFIG, folder, seed=1, tokenizer="none", overwrite=True)
    assert read_info(folder).family == "random"


@pytest.mark.parametrize("name", ["LICENSE", "license.md", "Licence", "NOTICE.txt", "USE_POLICY.md", "LICENSE-MODEL"])
def test_licence_files_are_known_by_name(name):
    assert is_licence(name)
    assert not is_licence(f"my-{name}")
