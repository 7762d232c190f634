"""`pocketlm quantize`: methods, calibration text and overrides through the command line."""

import json
from pathlib import Path

import pytest

from cli.main import main
from model.checkpoint import random_checkpoint, read_info
from model.config import ModelConfig
from quant.methods import METHODS
from quant.recipe import RECIPES, SCHEME_BITS

CONFIG = ModelConfig(
    vocab_size=288, dim=32, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=16, ffn_dim=64,
    global_layers=(1,), sliding_window=16, max_context=64,
)  # fmt: skip
TEXT = "One day a cat sat.\n\nThe dog ran to the tree, and the cat ran with it.\nThey were glad.\n"


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    random_checkpoint(CONFIG, tmp_path / "checkpoint", seed=0)
    return tmp_path / "checkpoint"


@pytest.fixture
def text(tmp_path) -> Path:
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path / "text.txt"


@pytest.fixture
def quantize(checkpoint, tmp_path, capfd):
    """Runs `quantize` on the checkpoint; gives the exit code and both streams."""

    def run(*options: object) -> tuple[int, str, str]:
        code = main(["quantize", str(checkpoint), str(tmp_path / "out"), *map(str, options)])
        return code, *capfd.readouterr()

    return run


def test_the_help_names_every_recipe_method_and_scheme(capfd):
    assert main(["quantize", "--help"]) == 0
    words = " ".join(capfd.readouterr().out.split())
    for name in (*RECIPES, *METHODS, *SCHEME_BITS):
        assert name in words


def test_gptq_reads_its_text_and_is_recorded(quantize, text, tmp_path):
    code, out, err = quantize("--method", "gptq", "--calibrate", text, "--calibrate-tokens", 60, "--json")
    assert code == 0
    assert json.loads(out)["method"] == "gptq"
    assert "calibrating on 60 tokens of 2 documents" in err and "layer 2 of 2" in err
    assert read_info(tmp_path / "out").quantization.method == "gptq"


def test_a_dry_run_says_the_same_and_writes_nothing(quantize, text, tmp_path):
    options = ("--method", "gptq", "--calibrate", text, "--override", "layers.0.*=int8-channel")
    _, planned, _ = quantize(*options, "--dry-run", "--json")
    assert not (tmp_path / "out").exists()
    _, made, _ = quantize(*options, "--json")
    assert json.loads(planned) | {"dry_run": False} == json.loads(made)


def test_overrides_are_repeatable_and_the_output_names_their_layers(quantize, tmp_path):
    code, out, _ = quantize("--override", "layers.0.*=int8-channel", "--override", "embedding=float")
    assert code == 0
    assert "recipe 8da4w-g32, method rtn, " in out
    assert "not as the recipe says, because override layers.0.*: layers.0.attention.q_proj, " in out
    assert "not as the recipe says, because override embedding: embedding" in out
    layers = read_info(tmp_path / "out").quantization.layers
    assert layers["embedding"]["scheme"] == "float" and layers["layers.0.attention.q_proj"]["bits"] == 8


def test_the_accelerator_recipe_is_quantized_and_the_cpus_target_names_those_that_hold_it(quantize, tmp_path, capfd):
    assert quantize("--recipe", "4w-channel", "--method", "mse")[0] == 0
    for more in ([], ["--dry-run"]):
        assert main(["export", str(tmp_path / "out"), str(tmp_path / "package"), *more]) == 1
        line = capfd.readouterr().err
        assert "target xnnpack cannot hold the recipe 4w-channel; it holds 8da4w-g32, float" in line
        assert "export to coreml-ane or coreml-stateful, which holds 4w-channel" in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "gptq"], "method gptq needs calibration text; give a text file"),
        (["--method", "gtpq"], "unknown method 'gtpq'; did you mean 'gptq'?"),
        (["--method", "trained"], "was not trained for a recipe"),
        (["--override", "head=float"], "this model's head is its table; name 'embedding' for both"),
        (["--override", "layers.0.*"], "is not PATTERN=SCHEME"),
        (["--override", "embedding=int8"], "did you mean 'int8-channel'?"),
        (["--recipe", "4w-chanel"], "unknown recipe '4w-chanel'; did you mean '4w-channel'?"),
        (["--recipe", "float", "--override", "embedding=int8-channel"], "quantizes nothing, so no layer can depart"),
        (["--calibrate", "TEXT"], "method rtn takes no calibration text"),
        (["--method", "gptq", "--calibrate", "nowhere.txt"], "nowhere.txt is missing"),
        (["--method", "gptq", "--calibrate", "TEXT", "--calibrate-protocol", "line"], "did you mean 'lines'?"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_what_cannot_be_is_refused_in_one_line_and_nothing_is_written(quantize, text, tmp_path, options, words, more):
    options = [str(text) if option == "TEXT" else option for option in options]
    code, out, err = quantize(*options, *more)
    assert (code, out) == (1, "")
    assert words in err and len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
