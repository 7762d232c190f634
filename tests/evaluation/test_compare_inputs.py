import dataclasses
import json
import shutil

import pytest

from evaluation.compare_inputs import read_inputs
from model.checkpoint import random_checkpoint
from quant.checkpoint import quantize_checkpoint
from tests.packages import TINY


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A float checkpoint, two quantized ones, one of which says that its codes were trained, and a wider model."""
    folder = tmp_path_factory.mktemp("inputs")
    random_checkpoint(TINY, folder / "float", seed=0)
    quantize_checkpoint(folder / "float", folder / "rtn", recipe="8da4w-g32")
    shutil.copytree(folder / "rtn", folder / "trained")
    info = json.loads((folder / "trained" / "checkpoint.json").read_text())
    info["quantization"]["method"] = "trained"
    (folder / "trained" / "checkpoint.json").write_text(json.dumps(info))
    random_checkpoint(dataclasses.replace(TINY, ffn_dim=128), folder / "wide-float", seed=0)
    quantize_checkpoint(folder / "wide-float", folder / "wide", recipe="8da4w-g32")
    return folder


def test_the_things_come_in_the_order_float_ptq_qat(folder):
    found = read_inputs(folder / "float", [folder / "rtn"], [folder / "trained"])
    assert [(one.role, one.path.name, one.is_float) for one in found] == [
        ("float", "float", True), ("ptq", "rtn", False), ("qat", "trained", False)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("float_", "ptq", "qat", "message"),
    [
        ("nowhere", ["rtn"], [], "nowhere does not exist; give a checkpoint or a package as --float"),
        ("rtn", [], ["trained"], "rtn is quantized; give the float model that it was made from"),
        ("float", ["wide-float"], [], "wide-float is a float model, so as --ptq it shows no cost"),
        ("float", ["rtn"], ["wide"], r"wide has another shape than .*float: ffn_dim 128, not 96"),
        ("float", ["trained"], [], "trained holds codes that were trained; give it as --qat"),
        ("float", ["rtn"], ["rtn"], "rtn is given twice, as --ptq and as --qat"),
        ("float", ["float"], [], "float is given twice, as --float and as --ptq"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_line(folder, float_, ptq, qat, message):
    with pytest.raises(ValueError, match=message):
        read_inputs(folder / float_, [folder / name for name in ptq], [folder / name for name in qat])


def test_a_model_trained_under_fake_quantization_is_not_the_float_model(folder, tmp_path):
    shutil.copytree(folder / "float", tmp_path / "qat")
    info = json.loads((tmp_path / "qat" / "checkpoint.json").read_text())
    info["trained_for"] = json.loads((folder / "rtn" / "checkpoint.json").read_text())["quantization"]
    (tmp_path / "qat" / "checkpoint.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match="was trained under fake quantization for 8da4w-g32"):
        read_inputs(tmp_path / "qat", [folder / "rtn"], [])
    with pytest.raises(ValueError, match=r"is a float model, so as --qat .* quantize it"):
        read_inputs(folder / "float", [], [tmp_path / "qat"])
