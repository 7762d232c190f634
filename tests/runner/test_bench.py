"""What a bench asks of the runner and makes of its answer; then the real runner on a small package."""

import json
import math
import os
import time

import pytest

from export.package import open_package
from kernels.toolchain import host_toolchain
from model.errors import GateError
from runner.bench import BenchOptions, bench, built_runner, check, read_answer
from runner.bench_result import Spread
from tests.runner.bench_answers import make_answer

MACHINE = {"processor": "a processor", "cores": 2}


@pytest.fixture
def package(tiny_int4):
    with open_package(tiny_int4.package) as package:
        yield package


def answered(package, answer=None, **options):
    work = check(package, BenchOptions(**options), cores=2)
    return read_answer(answer or make_answer(), package, work, shown=package.folder, machine=MACHINE)


def test_the_runner_is_asked_exactly_what_the_user_asked(package):
    options = BenchOptions(prompt_tokens=32, new_tokens=8, depths=(0, 16), threads=(1, 2), repeats=5, kernels="avx2")
    words = check(package, options, cores=2).arguments("/there/weights")
    assert words == [
        "-p", "32", "-n", "8", "-r", "5", "--depth", "0,16", "--threads", "1,2", "--kernels", "avx2",
        "--weights-cache", "/there/weights",
    ]  # fmt: skip


def test_what_nobody_said_fits_the_context(package, tiny_bounded):
    work = check(package, BenchOptions(), cores=2)
    assert (work.prompt_tokens, work.new_tokens) == (241, 64)
    assert "--threads" not in work.arguments()
    with open_package(tiny_bounded.package) as bounded:
        work = check(bounded, BenchOptions(depths=(0, 80)), cores=2)
        assert (work.prompt_tokens, work.new_tokens) == (16, 16)


def test_a_bounded_package_is_not_asked_past_its_end(tiny_bounded):
    with open_package(tiny_bounded.package) as package:
        check(package, BenchOptions(prompt_tokens=16, new_tokens=16, depths=(80,)), cores=2)
        with pytest.raises(
            ValueError, match=r"depth 80 and 17 tokens more pass the end.*96 tokens; give at most -p 16"
        ):
            check(package, BenchOptions(prompt_tokens=8, new_tokens=17, depths=(0, 80)), cores=2)
        with pytest.raises(ValueError, match=r"depth 96 is past the end of this bounded package, 96 tokens"):
            check(package, BenchOptions(depths=(96,)), cores=2)


def test_an_endless_package_is_asked_at_any_depth(package):
    assert check(package, BenchOptions(depths=(0, 100_000)), cores=2).prompt_tokens == 241


def test_nothing_to_measure_is_said(package):
    with pytest.raises(ValueError, match="-p 0 and -n 0 leave nothing to measure"):
        check(package, BenchOptions(prompt_tokens=0, new_tokens=0), cores=2)


def test_more_threads_than_cores_are_warned_of_and_noted(package, caplog):
    work = check(package, BenchOptions(threads=(1, 3)), cores=2)
    assert "3 threads share 2 cores" in caplog.text and "3 threads share 2 cores" in work.notes[0]
    assert check(package, BenchOptions(threads=(2,)), cores=2).notes == ()


def test_speeds_are_medians_with_quartiles(package):
    decode = next(speed for speed in answered(package).series[0].speeds if speed.kind == "decode")
    assert decode.tokens_per_s == Spread(median=1000, low=750, high=1500)
    assert Spread.of([7.0]) == Spread(median=7, low=7, high=7)


def test_shares_are_of_what_was_measured_in_the_same_run(package):
    result = answered(package)
    prefill, _, decode, _ = result.series[1].speeds
    assert decode.share == pytest.approx(decode.work * 1000 / 15e9)
    assert prefill.share == pytest.approx(prefill.work * 1600 / 200e9)
    assert decode.work > result.matrix_bytes


def test_people_read_every_figure_that_programs_get(package):
    result = answered(package, threads=(1, 2))
    text, data = "\n".join(result.lines()), json.loads(json.dumps(result.to_json()))
    for words in (
        "own kernels, AVX2", "ExecuTorch 1.5.1", "3.0 MiB steady", "2.0 MiB its own", "4.0 MiB at its peak",
        "1.5 ms to map", "first token after 21 (16 to 31) ms", "15.0 GB/s", "200 Gop/s", "1,000.0 (750.0 to 1,500.0)",
        "% of bandwidth", "% of integer peak", "1 thread,", "2 threads,",
    ):  # fmt: skip
        assert words in text, words
    assert data["results"][0]["decode"][1]["depth"] == 16
    assert data["results"][0]["decode"][0]["tokens_per_s"] == {"median": 1000, "q1": 750, "q3": 1500}
    assert data["sha256"] == package.sha256 and data["runner"]["kernels"] == "own kernels, AVX2"
    assert "can stay in a processor's caches" in data["notes"][0]


def test_a_bench_without_a_prefill_or_a_decode_is_whole(package):
    answer = make_answer(threads=(1,))
    answer["results"][0] |= {"prefill": [], "first_token_ms": []}
    text = "\n".join(answered(package, answer).lines())
    assert "first token" not in text and "prefill" not in text and "decode" in text


@pytest.mark.parametrize("part", ["runner", "load_ms", "results", "memory"])
def test_an_answer_of_another_version_is_named(package, part):
    answer = make_answer()
    del answer[part]
    with pytest.raises(ValueError, match="of different versions: build it again"):
        answered(package, answer)


def test_a_build_that_takes_long_is_announced_and_a_quick_one_is_not(monkeypatch, tmp_path):
    said = []
    monkeypatch.setattr("runner.bench._PATIENCE_S", 0.01)
    monkeypatch.setattr("runner.bench.runner_program", lambda: time.sleep(0.3) or tmp_path)
    assert built_runner(said.append) == tmp_path and said == [
        "building the native runner; it is kept for the next time"
    ]
    monkeypatch.setattr("runner.bench._PATIENCE_S", 30)
    monkeypatch.setattr("runner.bench.runner_program", lambda: tmp_path)
    assert built_runner(said.append) == tmp_path and len(said) == 1


@pytest.mark.timeout(300)
def test_the_real_runner_measures_a_package(tiny_int4, tmp_path):
    if host_toolchain() is None:
        pytest.skip("no C++ compiler, or no executorch SDK for this system")
    said = []
    cache = tmp_path / "weights"
    options = BenchOptions(
        prompt_tokens=20, new_tokens=4, depths=(0, 40), threads=(1, 2), repeats=2, weights_cache=cache
    )
    result = bench(tiny_int4.package, options, progress=said.append)
    assert [series.threads for series in result.series] == [1, 2]
    for series in result.series:
        assert [(s.kind, s.depth, s.tokens, len(s.ms)) for s in series.speeds] == [
            ("prefill", 0, 20, 2), ("prefill", 40, 20, 2), ("decode", 0, 4, 2), ("decode", 40, 4, 2),
        ]  # fmt: skip
        assert all(math.isfinite(s.share) and s.share > 0 for s in series.speeds)
        assert len(series.first_token_ms) == len(series.bandwidth_gb_s) == len(series.int8_peak_gops) == 2
    memory = result.memory
    assert memory["peak_bytes"] >= memory["steady_bytes"] >= memory["anonymous_bytes"] > 0 < memory["file_bytes"]
    assert min(result.load_ms.values()) > 0
    assert "kernels" in result.runner["kernels"]
    assert any("repeat 2 of 2" in line for line in said)
    assert cache.is_file() and result.weights_cache in ("made", "mapped")


def test_a_package_is_verified_before_it_runs(tiny_int4, tmp_path):
    import shutil

    copy = tmp_path / "package"
    shutil.copytree(tiny_int4.package, copy)
    with (copy / "model.pte").open("r+b") as file:
        file.seek(-5, os.SEEK_END)
        file.write(b"x")
    with pytest.raises(GateError, match=r"model\.pte"):
        bench(copy, BenchOptions(), progress=lambda _: None)
