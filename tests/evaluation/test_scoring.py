"""Figures of every token against sums done by hand, and against the known figure of a real model."""

import itertools
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.evaluate import evaluate_things
from evaluation.scorers import ModelScorer
from evaluation.scoring import Run, TokenDocument, score_continuations, score_documents
from model.config import ModelConfig
from model.convert import convert
from model.transformer import Transformer
from quant.checkpoint import quantize_checkpoint
from tests.evaluation.tables import VOCAB, TableScorer, random_table

TEACHER, STUDENT = random_table(0), random_table(1)
DOCUMENTS = [[1, 2, 3], [1, 10, 4, 4, 9, 2], [1, 7], [1, 5, 6, 0, 0], [1, 3, 3, 3, 3, 3, 8]]
STREAM = [TokenDocument(name=str(i), ids=tuple(ids), bytes=len(ids)) for i, ids in enumerate(DOCUMENTS, 1)]


def score(*scorers, documents=STREAM, reference=None, progress=None):
    runs = [Run(name=f"thing {i}", scorer=scorer) for i, scorer in enumerate(scorers)]
    score_documents(runs, documents, reference=reference, progress=progress)
    return runs


def by_hand(table):
    return [
        [-float(table[before].double().softmax(-1)[after].log()) for before, after in itertools.pairwise(ids)]
        for ids in DOCUMENTS
    ]


@pytest.mark.parametrize("rows", [1, 2, 5, 100])
def test_the_nats_of_every_token_are_those_done_by_hand_whatever_the_blocks(rows):
    (run,) = score(TableScorer(TEACHER, rows=rows))
    for found, wanted in zip(run.documents, by_hand(TEACHER), strict=True):
        assert found.nll == pytest.approx(wanted, rel=1e-12)
        assert found.kl is None and found.agree is None


def test_kl_is_that_of_the_definition_from_the_reference_to_the_thing():
    teacher, student = score(TableScorer(TEACHER), TableScorer(STUDENT), reference=0)
    assert teacher.documents[0].kl is None
    for ids, found in zip(DOCUMENTS, student.documents, strict=True):
        for t, before in enumerate(ids[:-1]):
            p, q = TEACHER[before].double().softmax(-1), STUDENT[before].double().softmax(-1)
            assert found.kl[t] == pytest.approx(float((p * (p / q).log()).sum()), rel=1e-10)
            assert found.agree[t] == (int(p.argmax()) == int(q.argmax()))
            assert found.best[t] == int(q.argmax())


def test_the_reference_may_stand_anywhere_and_changes_nobodys_nats():
    alone = score(TableScorer(STUDENT))[0]
    last = score(TableScorer(STUDENT), TableScorer(TEACHER), reference=1)[0]
    first = score(TableScorer(TEACHER), TableScorer(STUDENT), reference=0)[1]
    for a, b, c in zip(alone.documents, last.documents, first.documents, strict=True):
        assert (a.nll == b.nll).all() and (b.nll == c.nll).all() and (b.kl == c.kl).all()


def test_a_thing_that_is_the_reference_again_loses_nothing_and_agrees_everywhere():
    again = score(TableScorer(TEACHER), TableScorer(TEACHER), reference=0)[1]
    assert all((d.kl == 0).all() and d.agree.all() for d in again.documents)


def test_a_model_that_knows_nothing_loses_the_logarithm_of_its_vocabulary():
    (run,) = score(TableScorer(torch.zeros(VOCAB, VOCAB)))
    assert np.concatenate([d.nll for d in run.documents]) == pytest.approx(math.log(VOCAB), rel=1e-12)


def test_logits_that_are_not_finite_are_refused_by_thing_and_document():
    broken = STUDENT.clone()
    broken[7] = torch.nan
    stream = [TokenDocument(name=f"d{i}", ids=ids, bytes=1) for i, ids in enumerate([(1, 2), (1, 3), (1, 7, 2)], 1)]
    with pytest.raises(ValueError, match="thing 1: the logits of document d3 are not finite"):
        score(TableScorer(TEACHER), TableScorer(broken), documents=stream, reference=0)


def test_the_last_progress_line_tells_the_result():
    lines: list[str] = []
    score(TableScorer(TEACHER), progress=lines.append)
    nats = sum(map(sum, by_hand(TEACHER)))
    assert lines[-1] == f"scored 18 of 18 tokens, perplexity so far: thing 0 {math.exp(nats / 18):.4f}"


def test_a_model_scores_what_its_own_forward_gives_from_any_place():
    torch.manual_seed(0)
    model = Transformer(ModelConfig(
        vocab_size=VOCAB, dim=16, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=8, ffn_dim=24,
        global_layers=(1,), sliding_window=3, max_context=32,
    )).eval()  # fmt: skip
    ids = [1, 5, 6, 0, 9, 2, 2, 3]
    with torch.inference_mode():
        wanted = model(torch.tensor([ids]))[0]
    assert torch.cat(list(ModelScorer(model).rows(ids))).equal(wanted)
    torch.testing.assert_close(torch.cat(list(ModelScorer(model).rows(ids, 5))), wanted[5:])
    assert not torch.is_inference_mode_enabled()
    next(ModelScorer(model).rows(ids))
    assert not torch.is_inference_mode_enabled()  # also while the caller holds a block


def test_a_continuation_is_the_sum_of_its_tokens_and_greedy_only_if_all_are():
    log_probs = TEACHER.double().log_softmax(-1)
    likeliest = int(TEACHER[4].argmax())
    chain = [4, likeliest, int(TEACHER[likeliest].argmax())]
    other = [4, likeliest, (chain[2] + 1) % VOCAB]
    found = list(score_continuations(TableScorer(TEACHER, rows=1), [([1, *chain], 2), ([1, *other], 2)]))
    assert found[0] == (pytest.approx(float(log_probs[4, chain[1]] + log_probs[chain[1], chain[2]])), True)
    assert found[1] == (pytest.approx(float(log_probs[4, other[1]] + log_probs[other[1], other[2]])), False)


@pytest.fixture(scope="module")
def stories260k(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stories") / "float"
    convert(shared / "checkpoints" / "stories260K", folder)
    return folder


def test_stories260k_has_its_known_perplexity(stories260k: Path, shared: Path) -> None:
    valid = shared / "text" / "tinystories" / "valid.txt"
    found = evaluate_things([stories260k], text=valid, protocol="stories").to_json()
    assert (found["documents"], found["tokens"]) == (515, 156_873)
    assert found["perplexity"] == pytest.approx(3.841, abs=0.005)
    assert (found["recipe"], found["protocol"], found["max_tokens"]) == (None, "stories", 512)


def test_rounding_stories260k_to_int4_costs_about_a_seventh(stories260k: Path, shared: Path, tmp_path: Path) -> None:
    quantize_checkpoint(stories260k, tmp_path / "int4", recipe="8da4w-g32")
    valid = shared / "text" / "tinystories" / "valid.txt"
    found = evaluate_things(
        [stories260k, tmp_path / "int4"], text=valid, protocol="stories", max_tokens=256, limit_documents=24
    )
    floats, integers = found.to_json()["things"]
    assert found.things[0].num_tokens == found.things[1].num_tokens > 3000
    assert (integers["kind"], integers["recipe"], integers["method"]) == ("quantized checkpoint", "8da4w-g32", "rtn")
    assert 1.05 < integers["perplexity"]["value"] / floats["perplexity"]["value"] < 1.25
    assert 0.1 < integers["kl_mean"]["value"] < 0.2 < integers["kl_p99"]["value"]
    assert 0.75 < integers["agreement"]["value"] < 0.9
    assert floats["kl_mean"] is None and found.reference == "float"


PEAK = """
import resource, sys, torch
from evaluation.scorers import block_rows
from evaluation.scoring import Run, TokenDocument, score_documents

VOCAB = 202_048


class Lazy:
    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)

    def rows(self, ids, start=0):
        for at in range(start, len(ids), block_rows(VOCAB)):
            yield torch.randn(min(block_rows(VOCAB), len(ids) - at), VOCAB, generator=self.generator)


runs = [Run(name=str(seed), scorer=Lazy(seed)) for seed in range(2)]
score_documents(runs, [TokenDocument(name="d", ids=tuple(range(int(sys.argv[1]))), bytes=1)], reference=0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_document_at_a_vocabulary_of_200_thousand(root):
    def peak_mib(tokens: int) -> int:
        argv = [sys.executable, "-c", PEAK, str(tokens)]
        return int(subprocess.run(argv, cwd=root, capture_output=True, text=True, check=True).stdout)

    short, long = peak_mib(41), peak_mib(241)
    print(f"\n{short} MiB for 40 tokens, {long} MiB for 240")
    assert long < short + 120  # a few blocks of 31 MiB; whole logits of 200 more tokens would be 308, of two things
