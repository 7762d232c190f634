"""Collecting a finished run: its weights and texts in less room, with licence and figures; others are refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from assets.collect import PLOT, collect
from model.checkpoint import random_checkpoint, read_info
from quant.checkpoint import quantize_checkpoint
from tests.packages import TINY

START = {
    "event": "start",
    "after_step": 0,
    "parameters": 1,
    "train_bytes": 2,
    "train_tokens": 3,
    "device": "cpu",
    "threads": 2,
}
STEPS = [{"step": n, "loss": 1.5, "lr": 1e-3, "tokens": 512 * n, "seconds": 900.0} for n in (1, 2)]
DONE = {
    "event": "done",
    "after_step": 2,
    "held_out_documents": 3,
    "held_out_bytes": 45_678,
    "held_out_bits_per_byte": 1.23456,
    "xz_each_bits_per_byte": 2.5,
    "xz_together_bits_per_byte": 1.75,
}


@pytest.fixture
def run(tmp_path) -> Path:
    """What `pocketlm train` leaves, as far as collecting reads it."""
    folder = tmp_path / "run"
    random_checkpoint(TINY, folder / "checkpoint", seed=0, dtype="bfloat16")
    tokenizer = folder / "checkpoint" / "tokenizer.json"
    tokenizer.write_text(json.dumps(json.loads(tokenizer.read_text()), indent=2))
    (folder / "tokens").mkdir()
    (folder / "tokens" / "documents.jsonl").write_text('{"name": "a.py"}\n')
    (folder / "run.json").write_text("{}")
    (folder / "loss.svg").write_text("<svg/>")
    records = [START | {"python": "3.11.7"}, *STEPS, DONE]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


@pytest.fixture
def out(tmp_path, root) -> Path:
    (tmp_path / "assets" / "nano").mkdir(parents=True)
    shutil.copyfile(root / "assets" / "nano" / "README.md", tmp_path / "assets" / "nano" / "README.md")
    return tmp_path / "assets" / "nano"


def test_weights_tokenizer_and_log_are_the_runs_and_quantize_takes_them(run, out, tmp_path):
    total = collect(run, out)
    assert total == sum(path.stat().st_size for path in out.iterdir())
    before, after = (load_file(folder / "model.safetensors") for folder in (run / "checkpoint", out))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) and after[name].dtype == torch.bfloat16 for name in before)
    small, large = ((folder / "tokenizer.json") for folder in (out, run / "checkpoint"))
    assert json.loads(small.read_text()) == json.loads(large.read_text())
    assert small.stat().st_size < 0.8 * large.stat().st_size
    for name in ("metrics.jsonl", "run.json"):
        assert (out / name).read_bytes() == (run / name).read_bytes()
    assert (out / "documents.jsonl").read_bytes() == (run / "tokens" / "documents.jsonl").read_bytes()
    assert (out.parent / PLOT).is_file()
    quantize_checkpoint(out, tmp_path / "quantized", recipe="8da4w-g32")
    assert read_info(tmp_path / "quantized").licences == ("LICENSE",)


def test_the_readme_gets_the_figures_and_the_newer_ones_when_done_again(run, out):
    for bits in ("1.235", "1.100"):
        collect(run, out)
        text = (out / "README.md").read_text()
        assert f"| **bits per held-out byte** | **{bits}** |" in text and text.count("bits per held-out byte") == 1
        assert "| steps | 2 of 512 tokens each |" in text and "| hours | 0.5 on cpu, 2 threads |" in text
        assert text.startswith("# nano\n") and "## Licence" in text
        log = (run / "metrics.jsonl").read_text()
        (run / "metrics.jsonl").write_text(log.replace("1.23456", "1.1"))


def test_an_unfinished_run_is_refused_and_nothing_is_written(run, out):
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(ValueError, match="not a finished run"):
        collect(run, out)
    assert [path.name for path in out.iterdir()] == ["README.md"]


def test_what_outgrows_the_repository_is_refused_with_both_numbers(run, out, monkeypatch):
    monkeypatch.setattr("assets.collect.MOST_BYTES", 1000)
    with pytest.raises(ValueError, match=r"holds \d{3},\d{3} bytes; at most 1,000"):
        collect(run, out)
