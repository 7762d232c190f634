"""The demo as `make demo` runs it: the committed model, a process of its own, minutes."""

import json
import resource
import subprocess
import sys

import pytest

from model.config import PRESETS


@pytest.mark.slow
def test_the_demo_makes_proves_and_runs_a_package_of_the_committed_model(root, tmp_path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "cli", "demo", str(tmp_path / "demo"), "--json"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    data, nano = json.loads(done.stdout), PRESETS["nano"]
    matrices = nano.vocab_size * nano.dim + nano.num_layers * sum(n * k for n, k in nano.layer_matrices.values())
    assert data["verified"] == {"matrices": 1 + 7 * nano.num_layers, "codes": matrices, "scales": matrices // 32}
    assert data["golden"]["repeated"] == data["golden"]["compared"] > 0
    assert data["parameters"] == nano.num_parameters
    assert data["package_bytes"] < data["checkpoint_bytes"] / 3
    words = data["text"].split()
    assert {"return", "if", "for", "def", "self", "in", "with", "try:", "class"} & set(words), data["text"]
    assert data["new_tokens"] > 16 and data["decode_tokens_per_s"] > 0
    # Under three minutes after the installation on two idle cores; a busy machine stretches the clock, not the work.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 180
