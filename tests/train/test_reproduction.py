"""The first losses of the committed run come again from the committed run file (docs/numerics.md has the bounds)."""

import sys
from typing import Any

import pytest

from cli.main import main
from train.metrics import read_metrics

STEPS = 50
SAME_PLATFORM = 1e-4  # nats a token
CALM_STEPS, OTHER_PLATFORM = 20, 0.05  # elsewhere: the first steps as above, all of them within this


def losses(metrics: list[dict[str, Any]]) -> dict[int, float]:
    return {record["step"]: record["loss"] for record in metrics if "loss" in record}


def platform_of(start: dict[str, Any]) -> dict[str, Any]:
    """What decides the last bits of a loss, from the first line of a log."""
    return {key: start[key] for key in ("machine", "cpu_capability", "device", "threads")} | {
        "torch": start["versions"]["torch"]
    }


@pytest.mark.slow
def test_the_first_losses_of_the_committed_log_come_again(root, tmp_path):
    """Needs the text of the committed run, that is, the same Python; minutes of all cores."""
    committed = read_metrics(root / "assets" / "nano" / "metrics.jsonl")
    here, out = sys.version.split()[0], tmp_path / "out"
    if here != committed[0]["python"]:
        pytest.skip(f"this Python's standard library is another version: {here}, not {committed[0]['python']}")
    command = ["train", str(root / "train" / "runs" / "nano.toml"), str(out)]
    assert main([*command, "--max-steps", "1"]) == 0
    if (out / "tokens" / "documents.jsonl").read_bytes() != (root / "assets/nano/documents.jsonl").read_bytes():
        pytest.skip(f"this Python's standard library is another version: a patched {here}")
    start = read_metrics(out / "metrics.jsonl")[0]
    assert start["tokens_sha256"] == committed[0]["tokens_sha256"], "the same text became other tokens"
    assert main([*command, "--resume", "--max-steps", str(STEPS)]) == 0
    found, expected = losses(read_metrics(out / "metrics.jsonl")), losses(committed)
    assert list(found) == [*range(1, STEPS + 1)]
    is_same = platform_of(start) == platform_of(committed[0])
    differences = [abs(found[step] - expected[step]) for step in found]
    calm, all_ = max(differences[:CALM_STEPS]), max(differences)
    print(f"largest difference in {CALM_STEPS} steps {calm:.1e}, in {STEPS} {all_:.1e}; same platform: {is_same}")
    assert calm <= SAME_PLATFORM and all_ <= (SAME_PLATFORM if is_same else OTHER_PLATFORM)
