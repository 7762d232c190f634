"""The command `train`: what it prints, where it writes, and how a run stops and goes on."""

import json
import sys
from pathlib import Path

import pytest

from cli.main import main
from model.checkpoint import load_model, read_info
from tests.train.small_run import STEPS, result, write_run_file
from train.metrics import read_metrics


@pytest.fixture
def run_file(tmp_path) -> Path:
    return write_run_file(tmp_path)


def run(capfd, *argv: object, code: int = 0) -> tuple[str, str]:
    assert main(["train", *map(str, argv)]) == code
    return capfd.readouterr()


def test_a_dry_run_prints_every_setting_and_what_the_run_needs_and_writes_nothing(run_file, tmp_path, capfd):
    before = sorted(tmp_path.rglob("*"))
    out, err = run(capfd, run_file, tmp_path / "out", "--dry-run", "--set", "train.seed=7")
    assert err == ""
    assert sorted(tmp_path.rglob("*")) == before
    assert "would train in" in out and "nothing was written" in out
    for line in ("train.seed = 7", 'data.sources = ["text"]', "data.tokens = (not set)", "model.config.dim = 32"):
        assert f"  {line}\n" in out
    for line in (
        "parameters: 28,192\n",
        f"tokens: {128 * STEPS:,} in {STEPS} steps\n",
        "memory: about ",
        "time: about ",
    ):
        assert line in out


def test_a_dry_run_as_json_has_the_whole_run(run_file, tmp_path, capfd):
    data = json.loads(run(capfd, run_file, tmp_path / "out", "--dry-run", "--json")[0])
    assert data["dry_run"] is True and data["output"] == str(tmp_path / "out")
    assert data["settings"]["optimizer"]["beta2"] == 0.95  # a default
    estimate = data["estimate"]
    assert estimate["parameters"] == 28_192 and estimate["tokens"] == 128 * STEPS
    assert estimate["memory_bytes"] > 100 << 20 and estimate["seconds"] > 0


def test_a_run_ends_with_a_checkpoint_its_figures_metrics_and_a_plot(run_file, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out, err = run(capfd, run_file, "--json")
    data = json.loads(out)
    folder = Path("runs/small")
    assert data["output"] == str(folder) and data["checkpoint"] == str(folder / "checkpoint")
    assert data["step"] == data["steps"] == STEPS
    figures = data["figures"]
    assert 0 < figures["held_out_bits_per_byte"] < 8
    assert figures["xz_together_bits_per_byte"] < figures["xz_each_bits_per_byte"] < 8
    assert "step 1/12  loss 5." in err and "step 12: held-out loss" in err and "state saved in" in err
    records = read_metrics(folder / "metrics.jsonl")
    assert records[0]["event"] == "start" and records[-1] == figures
    assert (folder / "loss.svg").read_bytes().startswith(b"<?xml")
    info = read_info(folder / "checkpoint")
    assert info.tokenizer is not None and info.tokenizer.vocab_size == 300
    assert sum(p.numel() for p in load_model(folder / "checkpoint").parameters()) == 28_192


def test_max_steps_stops_there_and_resume_ends_as_if_it_had_not(run_file, tmp_path, capfd):
    out, _ = run(capfd, run_file, tmp_path / "a", "--max-steps", 4)
    assert out == f"{tmp_path / 'a'}: stopped after step 4 of {STEPS}\ngo on with the same command and --resume\n"
    assert not (tmp_path / "a" / "checkpoint").exists()
    again = json.loads(run(capfd, run_file, tmp_path / "a", "--resume", "--max-steps", 4, "--json")[0])
    assert again["step"] == 4 and again["checkpoint"] is again["figures"] is None
    out, err = run(capfd, run_file, tmp_path / "a", "--resume")
    assert "next: pocketlm quantize" in out and "xz -9e of the same bytes" in out
    assert "step 5/12" in err and "step 4/12" not in err
    run(capfd, run_file, tmp_path / "b")
    assert result(tmp_path / "a") == result(tmp_path / "b")


def test_a_finished_run_is_left_as_it_is(run_file, tmp_path, capfd):
    first = json.loads(run(capfd, run_file, tmp_path / "out", "--json")[0])
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    out, err = run(capfd, run_file, tmp_path / "out", "--resume", "--json")
    assert json.loads(out) == first
    assert err == "this run is finished already\n"
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_a_finished_run_whose_checkpoint_was_removed_writes_it_again(run_file, tmp_path, capfd):
    run(capfd, run_file, tmp_path / "out")
    before = result(tmp_path / "out")["checkpoint"]
    for path in (tmp_path / "out" / "checkpoint").iterdir():
        path.unlink()
    (tmp_path / "out" / "checkpoint").rmdir()
    run(capfd, run_file, tmp_path / "out", "--resume")
    assert result(tmp_path / "out")["checkpoint"] == before


def test_without_matplotlib_a_run_ends_without_a_plot_and_says_so(run_file, tmp_path, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out, err = run(capfd, run_file, tmp_path / "out", "--max-steps", 1)
    assert "no plot: " in err and "matplotlib" in err
    assert "stopped after step 1" in out
    assert not (tmp_path / "out" / "loss.svg").exists()


def test_nothing_held_out_and_no_evaluation_is_a_run_too(run_file, tmp_path, capfd):
    options = ("--set", "data.held_out_every=0", "--set", "train.evaluate_every=0")
    data = json.loads(run(capfd, run_file, tmp_path / "out", *options, "--json")[0])
    assert data["figures"] == {"event": "done", "after_step": STEPS}
    assert not [r for r in read_metrics(tmp_path / "out" / "metrics.jsonl") if "held_out_loss" in r]


def test_the_help_names_the_options_and_an_example(capfd):
    out, _ = run(capfd, "--help")
    for words in (
        "RUN.toml [OUT]",
        "--resume",
        "--set A.B=C",
        "--max-steps",
        "--dry-run",
        "--json",
        "train/runs/nano.toml",
    ):
        assert words in out
