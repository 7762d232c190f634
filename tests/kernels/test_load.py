"""Stock kernels and our own in one process on the same file: chosen, named, swapped, and equal by the golden rule."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from chat.window import Context
from evaluation.kernels import package_kernels
from export.golden import repeat_golden
from export.package import open_package
from export.runner import PteRunner, open_runner
from kernels import load
from kernels.load import STOCK, Wanted, choose, in_use, library_of
from model.errors import EnvironmentFault
from tests.packages import CHUNK, CONTEXT, Made
from tests.runner.nano_package import nano_package  # noqa: F401 (a fixture)

IDS = torch.randint(0, 320, (3 * CONTEXT,), generator=torch.Generator().manual_seed(3)).tolist()


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("POCKETLM_KERNELS", raising=False)
    load._say_once.cache_clear()
    yield
    monkeypatch.undo()
    choose(None)


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")


def logits(made: Made, kernels: Wanted) -> torch.Tensor:
    """Of each chunk's last token, over several rounds of the rings: chunks of all sizes, wrapped and not."""
    context = Context(kind="endless", tokens=CONTEXT)
    runner = PteRunner(made.package / "model.pte", chunk=CHUNK, context=context, kernels=kernels)
    rows, at = [], 0
    while at < len(IDS):
        count = (1, CHUNK, 3, 1, 7)[len(rows) % 5]
        rows.append(runner.logits(IDS[at : at + count], at).clone())
        at += len(IDS[at : at + count])
    return torch.stack(rows)


def test_a_float_program_computes_the_same_with_own_and_stock_kernels_over_every_wrap(tiny_float):
    """1e-5 of the largest logit: the bound of the float recipe (docs/numerics.md)."""
    stock, own, again = (logits(tiny_float, kernels) for kernels in ("stock", "own", "stock"))
    assert not torch.equal(own, stock), "the same kernels ran twice"
    assert float((own - stock).abs().max()) <= 1e-5 * float(stock.abs().max())
    assert torch.equal(again, stock)


def test_an_integer_program_differs_by_no_more_than_its_own_noise(tiny_int4):
    """One rounding edge in the integers may flip; most positions have none."""
    with open_package(tiny_int4.package) as package:
        noise = package.manifest.golden.noise_floor
    stock, own = (logits(tiny_int4, kernels) for kernels in ("stock", "own"))
    differences = (own - stock).abs().amax(dim=-1)
    assert float(differences.median()) <= 1e-5 * float(stock.abs().max())
    assert float(differences.max()) <= max(noise, 0.3)


@pytest.mark.parametrize("kernels", ["stock", "own"])
def test_the_golden_prompt_is_repeated_with_either(tiny_int4, monkeypatch, kernels):
    monkeypatch.setenv("POCKETLM_KERNELS", kernels)
    with open_package(tiny_int4.package) as package:
        assert repeat_golden(open_runner(package), package.manifest.golden) > 0
    assert (in_use() == STOCK) == (kernels == "stock")


@pytest.mark.slow
def test_nano_chooses_the_same_ids_with_either_wherever_noise_cannot_turn_them(nano_package):  # noqa: F811
    """Past the local layers' windows; fed the same ids, by the golden rule at each step."""
    with open_package(nano_package) as package:
        manifest = package.manifest
        context = Context(kind=manifest.context.kind, tokens=manifest.context.tokens)
        runners = [
            PteRunner(package.path("program"), chunk=manifest.chunk, context=context, kernels=kernels)
            for kernels in ("stock", "own")
        ]
        ids, compared = list(manifest.golden.prompt_ids), 0
        stock, own = (runner.logits(ids, 0) for runner in runners)
        for position in range(len(ids), len(ids) + 700):
            best, second = stock.topk(2).values.tolist()
            if best - second > manifest.golden.noise_floor:
                assert int(own.argmax()) == int(stock.argmax()), position
                compared += 1
            token = int(stock.argmax())
            stock, own = (runner.logits([token], position) for runner in runners)
        assert compared > 350


def test_what_runs_is_named(tiny_int4):
    program = tiny_int4.package / "model.pte"
    choose("own")
    assert in_use().startswith("own kernels, ")
    assert f"{in_use()} (llama::custom_quantized_sdpa), stock kernels (quantized_decomposed::" in package_kernels(
        program
    )
    choose("stock")
    assert "stock kernels (llama::custom_quantized_sdpa, quantized_decomposed::" in package_kernels(program)


@pytest.mark.parametrize("isa", ["portable", "avx2", "avx512vnni", "neondot"])
def test_the_environment_forces_a_path_and_a_wrong_one_is_refused(monkeypatch, library, isa):
    titles = {"portable": "portable", "avx2": "AVX2", "avx512vnni": "AVX-512 VNNI", "neondot": "NEON with dot product"}
    choose("own")
    before = in_use()
    monkeypatch.setenv("POCKETLM_ISA", isa)
    if isa in library.paths():
        assert choose("own") == f"own kernels, {titles[isa]}"
    else:
        with pytest.raises(ValueError, match=f"POCKETLM_ISA is {isa}, which this processor cannot run"):
            choose("own")
        assert in_use() == before


def test_a_wrong_wish_is_refused_with_what_is_allowed(monkeypatch):
    monkeypatch.setenv("POCKETLM_KERNELS", "fast")
    with pytest.raises(ValueError, match="POCKETLM_KERNELS is 'fast'; it must be auto, own or stock"):
        choose()


def test_without_a_compiler_stock_kernels_run_and_one_line_says_so(no_compiler, caplog):
    with caplog.at_level(logging.WARNING, logger="pocketlm"):
        assert choose("auto") == STOCK
        assert choose("auto") == STOCK and library_of(None) is None
    assert [record.message for record in caplog.records] == [
        "no C++ compiler or no SDK here, so attention runs with ExecuTorch's stock kernels, slowly on x86; install g++"
    ]
    with pytest.raises(EnvironmentFault, match="need a C\\+\\+ compiler"):
        choose("own")


def test_a_compiler_that_fails_leaves_the_stock_kernels_and_says_why(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("POCKETLM_CACHE", str(tmp_path))
    broken = tmp_path / "c++"
    broken.write_text('#!/bin/sh\n[ "$1" = --version ] && echo broken 1.0 && exit 0\necho "disk on fire" >&2; exit 1\n')
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    with caplog.at_level(logging.WARNING, logger="pocketlm"):
        assert choose("auto") == STOCK
    assert len(caplog.records) == 1 and "disk on fire" in caplog.records[0].message
    with pytest.raises(EnvironmentFault, match="disk on fire"):
        choose("own")


def test_generate_says_which_kernels_ran_and_both_write_the_same_text(tiny_int4, root):
    texts = {}
    for kernels, runner in (("stock", "python"), ("own", "native")):
        done = subprocess.run(
            [sys.executable, "-m", "cli", "generate", str(tiny_int4.package), "a", "--max-new-tokens", "4"]
            + ["--kernels", kernels, "--runner", runner],
            cwd=root,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr.rstrip().endswith("; stock kernels]") == (kernels == "stock"), done.stderr
        texts[kernels, runner] = done.stdout
    assert len(set(texts.values())) == 1
