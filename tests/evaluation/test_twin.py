"""A twin is trusted only after a proof: other integers, another program or a stranger's folder are refused."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from evaluation import twin
from evaluation.evaluate import evaluate_things
from evaluation.scorers import PackageScorer
from evaluation.things import shipped_scorer
from export.package import open_package
from model.checkpoint import WEIGHTS_FILE
from model.errors import EnvironmentFault, GateError
from quant.checkpoint import quantize_checkpoint
from tests.evaluation.test_evaluate import TEXT, floats
from tests.packages import Made

LINES = TEXT + "word " * 60 + "\n"  # past the rings of 79 and 256 slots


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(LINES)
    return path


def refused(made: Made, checkpoint: Path, text: Path, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        evaluate_things([made.package], text=text, twins=[checkpoint])


def test_one_scale_of_another_value_in_the_checkpoint_is_refused_by_its_layer(tiny_int4, text, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_int4.checkpoint, copy)
    tensors = load_file(copy / WEIGHTS_FILE)
    tensors["layers.1.feed_forward.up_proj.scales"][3, 0] *= 2
    save_file(tensors, copy / WEIGHTS_FILE)
    refused(tiny_int4, copy, text, GateError, r"not made of .*layers.1.feed_forward.up_proj: 1 of \d+ scales differ")


def test_a_checkpoint_that_cannot_be_the_packages_is_refused(tiny_int4, text, tmp_path):
    refused(tiny_int4, floats(tiny_int4), text, ValueError, "is not quantized; a twin is made from")
    quantize_checkpoint(floats(tiny_int4), tmp_path / "other", recipe="float")
    refused(tiny_int4, tmp_path / "other", text, ValueError, "another shape or recipe than the package")
    with pytest.raises(ValueError, match="none of the 0 packages was made of"):
        evaluate_things([tiny_int4.checkpoint], text=text, twins=[tiny_int4.checkpoint])


class OtherProgram:
    """A twin whose logits are those of the shipped file, but for one."""

    def __init__(self, shipped: PackageScorer, error: float) -> None:
        self._shipped, self._error = shipped, error

    def rows(self, ids, start=0):
        for block in self._shipped.rows(ids, start):
            block = block.clone()
            block[-1, 5] += self._error
            yield block


def test_logits_further_away_than_the_shipped_files_own_noise_are_refused(tiny_int4):
    with open_package(tiny_int4.package) as package:
        shipped = shipped_scorer(package)
        ids = torch.randint(300, (20,), generator=torch.Generator().manual_seed(0)).tolist()
        same = twin.check_spots(OtherProgram(shipped, 0.0), shipped, ids, package.manifest)
        assert (same.positions, same.largest) == (20, 0.0)
        with pytest.raises(GateError, match="the twin's logits differ by 50 from the shipped file's"):
            twin.check_spots(OtherProgram(shipped, 50.0), shipped, ids, package.manifest)


def test_a_folder_that_others_may_write_to_is_not_run_from(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = twin._own_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(EnvironmentFault, match="not a folder of yours alone; set TMPDIR"):
        twin._own_folder()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tiny_int4", "tiny_bounded"])
def test_a_twin_gives_the_figures_of_the_shipped_file_and_says_what_it_is(kind, request, text, tmp_path, monkeypatch):
    made = request.getfixturevalue(kind)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said: list[str] = []
    shipped = evaluate_things([made.package], text=text)
    fast = evaluate_things([made.package], text=text, twins=[made.checkpoint], progress=said.append)
    assert fast.text == shipped.text
    assert "lowering a twin of the program with all positions' logits" in said
    assert fast.things[0].how == twin.TWIN != shipped.things[0].how
    assert fast.things[0].method == "rtn"
    assert "is run by a twin of its program: codes and scales equal, logits at" in fast.notes[0]
    for ours, theirs in zip(fast.things[0].documents, shipped.things[0].documents, strict=True):
        assert abs(ours.nll - theirs.nll).mean() < 0.01
    said.clear()
    evaluate_things([made.package], text=text, twins=[made.checkpoint], progress=said.append)
    assert not any(line.startswith("lowering") for line in said)  # it lies there from before
