"""The trained model of the demo through the native runner, beside Python's runtime."""

import itertools

import pytest
from click.testing import CliRunner

from chat.window import Context
from cli.main import main
from export.manifest import read_manifest
from export.runner import PteRunner
from model.sampling import Sampler
from runner.build import runner_program
from runner.engine import CppRunner, CppSampler
from tests.runner.nano_package import nano_package  # noqa: F401 (a fixture)

pytestmark = pytest.mark.slow


def test_nano_says_the_same_by_both_runners_and_for_longer_than_its_window(nano_package):  # noqa: F811
    manifest = read_manifest((nano_package / "manifest.json").read_bytes())
    prompt, context = list(manifest.golden.prompt_ids), Context(kind="endless", tokens=1024)
    python = PteRunner(nano_package / "model.pte", chunk=64, context=context)
    with CppRunner([str(runner_program())], nano_package, context=context) as native:
        position, compared = 0, 0
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
        assert list(native.generate_ids(prompt, 0, 16, CppSampler()))[: manifest.golden.compared] == ids[:16]


def test_generate_and_chat_take_the_native_runner(nano_package):  # noqa: F811
    said = {}
    for runner in ("python", "cpp"):
        words = ["generate", str(nano_package), "Once upon a time", "--max-new-tokens", "16", "--runner", runner]
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
        said[runner] = done.stdout
    assert said["python"] == said["cpp"]
    sampled = [
        CliRunner().invoke(main, [*words, "--temperature", "1", "--top-p", "0.9", "--seed", "3"]).stdout for _ in "ab"
    ]
    assert sampled[0] == sampled[1] != said["cpp"]
    chat = CliRunner().invoke(
        main, ["chat", str(nano_package), "--runner", "cpp", "--max-new-tokens", "8"], "Hello\nMore\n"
    )
    assert chat.exit_code == 0, chat.output
    assert len(chat.stdout) > 10


def test_stock_kernels_are_refused_by_a_runner_that_has_none(nano_package):  # noqa: F811
    words = ["generate", str(nano_package), "Hello", "--runner", "cpp", "--kernels", "stock"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 1
    assert "use --runner python for stock ones" in done.stderr
