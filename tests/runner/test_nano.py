"""The trained model of the demo through the native runner, beside Python's runtime."""

import itertools
import subprocess
import sys

import pytest

from chat.window import Context
from export.manifest import read_manifest
from export.runner import PteRunner
from model.sampling import Sampler
from runner.build import runner_program
from runner.engine import CppRunner, CppSampler
from tests.packages import ROOT
from tests.runner.nano_package import nano_package  # noqa: F401 (a fixture)

pytestmark = pytest.mark.slow


def test_nano_says_the_same_by_both_runners_and_for_longer_than_its_window(nano_package):  # noqa: F811
    manifest = read_manifest((nano_package / "manifest.json").read_bytes())
    prompt, context = list(manifest.golden.prompt_ids), Context(kind="endless", tokens=1024)
    python = PteRunner(nano_package / "model.pte", chunk=64, context=context)
    with CppRunner([str(runner_program())], nano_package, context=context) as native:
        compared = 0
        ids = list(python.generate_ids(prompt, 0, 1300, Sampler()))
        native.prefill(prompt, 0)
        # Fed Python's ids, the native runner must choose each next one that noise cannot turn.
        for position, (token, following) in enumerate(itertools.pairwise(ids), start=len(prompt)):
            logits = native.logits([token], position)
            best, second = sorted(logits, reverse=True)[:2]
            if best - second > manifest.golden.noise_floor:
                assert logits.index(best) == following, position
                compared += 1
        assert compared > 1000
        same = manifest.golden.compared
        assert list(native.generate_ids(prompt, 0, same, CppSampler())) == ids[:same]


def pocketlm(*words, stdin="", code=0):
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from cli.main import main; sys.exit(main())", *map(str, words)],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == code, done.stderr
    return done


def test_generate_and_chat_take_the_native_runner(nano_package):  # noqa: F811
    words = ("generate", nano_package, "Once upon a time", "--max-new-tokens", 16, "--runner")
    greedy = pocketlm(*words, "cpp")
    assert greedy.stdout == pocketlm(*words, "python").stdout
    assert "own kernels" in greedy.stderr
    sampling = ("--temperature", 1, "--top-p", 0.9, "--seed", 3)
    sampled = [pocketlm(*words, "cpp", *sampling).stdout for _ in range(2)]
    assert sampled[0] == sampled[1] != greedy.stdout
    chat = pocketlm("chat", nano_package, "--runner", "cpp", "--max-new-tokens", 8, stdin="Hello\nMore\n")
    assert len(chat.stdout) > 10


def test_stock_kernels_are_refused_by_a_runner_that_has_none(nano_package):  # noqa: F811
    done = pocketlm("generate", nano_package, "Hello", "--runner", "cpp", "--kernels", "stock", code=1)
    assert "use --runner python for stock ones" in done.stderr
