"""Exports for Core ML through the command line: dry runs, refusals with their exit codes, both phones in one call."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cli.main import main
from model.checkpoint import WEIGHTS_FILE
from tests.packages import Made

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Say:
    def run(*argv: object) -> tuple[int, str, str]:
        code = main([*map(str, argv)])
        out, err = capfd.readouterr()
        return code, out, err

    return run


def test_a_dry_run_says_what_each_target_will_get(tiny_ane: Made, tmp_path: Path, say: Say) -> None:
    argv = (
        "export",
        tiny_ane.checkpoint,
        tmp_path / "out",
        "--target",
        "coreml-ane,coreml-stateful",
        "--methods",
        "one",
    )
    code, out, err = say(*argv, "--dry-run", "--json")
    assert code == 0, err
    static, stateful = json.loads(out)["packages"]
    assert (static["methods"], static["chunk"], static["compute_unit"]) == ("one", 32, "CPU_AND_NE")
    assert (stateful["methods"], stateful["chunk"], stateful["context"]["kind"]) == (None, 1, "bounded")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("coreml-gpu", (), ("coreml-gpu cannot hold the recipe 4w-channel", "coreml-ane")),
        ("coreml-ane", ("--max-context", "16384"), ("16384 at most", "--max-context 16320 or less")),
        ("coreml-ane", ("--prefill-chunk", "65"), ("window of 64 tokens", "give 64 or less")),
        ("coreml-stateful", ("--prefill-chunk", "2"), ("takes a token at a time",)),
        ("coreml-stateful", ("--methods", "two"), ("--methods two does not fit target coreml-stateful",)),
        ("coreml-ane", ("--allow-lint", "ranks"), ("did you mean 'rank'?",)),
        ("coreml-gpu", ("--allow-lint", "rank"), ("belongs to targets for the Neural Engine",)),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    tiny_ane: Made, tmp_path: Path, say: Say, target: str, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    code, out, err = say("export", tiny_ane.checkpoint, tmp_path / "out", "--target", target, *options)
    assert code == 1 and not out and len(err.splitlines()) == 1
    assert all(word in err for word in words), err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("scale", "becomes"), [(1e-9, "becomes 0"), (1e6, "becomes infinite")])
def test_a_scale_that_float16_loses_fails_the_export_with_the_layer_s_name(
    tiny_ane: Made, tmp_path: Path, say: Say, scale: float, becomes: str
) -> None:
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(tiny_ane.checkpoint, checkpoint)
    tensors = load_file(checkpoint / WEIGHTS_FILE)
    tensors["layers.1.feed_forward.up_proj.scales"][3] = torch.tensor(scale)
    save_file(tensors, checkpoint / WEIGHTS_FILE)
    code, _, err = say("export", checkpoint, tmp_path / "out", "--target", "coreml-ane")
    assert code == 3
    assert "layer layers.1.feed_forward.up_proj" in err and becomes in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint"]


def test_without_its_converter_an_export_says_where_there_is_one(
    tiny_ane: Made, tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, err = say("export", tiny_ane.checkpoint, tmp_path / "out", "--target", "coreml-ane")
    assert code == 4 and "coremltools is not installed" in err and "macOS" in err


def test_a_finding_of_the_lint_fails_the_export_unless_its_rule_is_allowed(
    tiny_ane: Made, tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    from export.mil.lint import Finding

    found = (Finding("rank", "matmul_7", "operation matmul_7 (matmul) has 5 dimensions"),)
    monkeypatch.setattr("export.export_coreml.lint_neural_engine", lambda program: found)
    program = (tiny_ane.package / "model.pte").read_bytes()
    monkeypatch.setattr("export.export._lower_to", lambda path, *_: path.write_bytes(program))
    argv = ("export", tiny_ane.checkpoint, tmp_path / "out", "--target", "coreml-ane", "--max-context", "96")
    code, _, err = say(*argv, "--prefill-chunk", "16")
    assert code == 3 and "rule rank" in err and "matmul_7" in err and "--allow-lint rank" in err
    code, _, err = say(*argv, "--prefill-chunk", "16", "--allow-lint", "rank")
    assert code == 0 and "allowed by --allow-lint rank" in err


@pytest.mark.slow
def test_one_call_makes_both_phones_packages_from_one_checkpoint(tiny_gpu: Made, tmp_path: Path, say: Say) -> None:
    out = tmp_path / "out"
    argv = ("export", tiny_gpu.checkpoint, out, "--target", "xnnpack,coreml-gpu", "--max-context", "96")
    code, text, err = say(*argv, "--prefill-chunk", "16", "--json")
    assert code == 0, err
    assert [package["target"] for package in json.loads(text)["packages"]] == ["xnnpack", "coreml-gpu"]
    assert (out / "coreml-gpu" / "model.pte").read_bytes() == (tiny_gpu.package / "model.pte").read_bytes()
    for target in ("xnnpack", "coreml-gpu"):
        code, _, err = say("verify", out / target, "--against", tiny_gpu.checkpoint)
        assert code == 0, err
