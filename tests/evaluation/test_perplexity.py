"""Perplexity against sums done by hand, and against the known figure of a real model."""

import itertools
import math
from pathlib import Path

import pytest
import torch

from evaluation.perplexity import evaluate_text, perplexity
from model.config import ModelConfig
from model.convert import convert
from model.transformer import Transformer
from quant.checkpoint import quantize_checkpoint

VOCAB = 11
TABLE = torch.randn(VOCAB, VOCAB, generator=torch.Generator().manual_seed(0))
DOCUMENTS = [[1, 2, 3], [1, 10, 4, 4, 9, 2], [1, 7], [1, 5, 6, 0, 0], [1, 3, 3, 3, 3, 3, 8]]


def bigram(tokens_BT: torch.Tensor) -> torch.Tensor:
    return TABLE[tokens_BT]


def nll_by_hand(documents: list[list[int]]) -> float:
    total = 0.0
    for ids in documents:
        for before, after in itertools.pairwise(ids):
            total -= float(TABLE[before].double().softmax(-1)[after].log())
    return total


@pytest.mark.parametrize("batch_tokens", [1, 7, 12, 1000])
def test_the_sum_is_the_one_done_by_hand_whatever_the_batches(batch_tokens: int) -> None:
    result = perplexity(bigram, DOCUMENTS, batch_tokens=batch_tokens)
    assert (result.documents, result.tokens) == (5, 18)
    assert result.nll == pytest.approx(nll_by_hand(DOCUMENTS), rel=1e-6)
    assert result.value == pytest.approx(math.exp(nll_by_hand(DOCUMENTS) / 18), rel=1e-6)


def test_a_model_that_knows_nothing_has_the_vocabulary_as_its_perplexity() -> None:
    result = perplexity(lambda tokens: torch.zeros(*tokens.shape, VOCAB), DOCUMENTS, batch_tokens=64)
    assert result.value == pytest.approx(VOCAB, rel=1e-6)


def test_batches_keep_their_bound_unless_one_document_is_longer() -> None:
    shapes = []

    def watch(tokens_BT: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(tokens_BT.shape))
        return bigram(tokens_BT)

    perplexity(watch, DOCUMENTS, batch_tokens=5)
    assert shapes == [(1, 6), (1, 5), (1, 4), (2, 2)]


def test_padding_does_not_reach_a_real_transformers_score() -> None:
    torch.manual_seed(0)
    model = Transformer(ModelConfig(
        vocab_size=VOCAB, dim=16, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=8, ffn_dim=24,
        global_layers=(1,), sliding_window=3, max_context=32,
    )).eval()  # fmt: skip
    alone = perplexity(model, DOCUMENTS, batch_tokens=1)
    together = perplexity(model, DOCUMENTS, batch_tokens=1000)
    assert together.nll == pytest.approx(alone.nll, rel=1e-6)


def test_documents_without_a_token_to_score_do_not_count() -> None:
    result = perplexity(bigram, [[], [1], [1, 2]], batch_tokens=8)
    assert (result.documents, result.tokens) == (1, 1)
    with pytest.raises(ValueError, match="no token to score"):
        perplexity(bigram, [[], [1]], batch_tokens=8)


def test_logits_that_are_not_finite_are_refused_by_document() -> None:
    def broken(tokens_BT: torch.Tensor) -> torch.Tensor:
        return torch.where((tokens_BT == 7).unsqueeze(-1), torch.nan, bigram(tokens_BT))

    with pytest.raises(ValueError, match="the logits of document 3 are not finite"):
        perplexity(broken, [[1, 2], [1, 3], [1, 7, 2]], batch_tokens=8)


def test_a_score_beyond_all_measure_is_refused() -> None:
    with pytest.raises(ValueError, match="loses 1000 nats a token"):
        perplexity(lambda tokens: torch.eye(VOCAB)[tokens] * 1000, [[1, 2]], batch_tokens=8)


def test_the_last_progress_line_tells_the_result() -> None:
    lines: list[str] = []
    result = perplexity(bigram, DOCUMENTS, batch_tokens=5, progress=lines.append)
    assert lines[-1] == f"scored 18 of 18 tokens, perplexity {result.value:.3f} so far"


def test_an_empty_batch_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_tokens is 0"):
        perplexity(bigram, DOCUMENTS, batch_tokens=0)


@pytest.fixture(scope="module")
def stories260k(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stories") / "float"
    convert(shared / "checkpoints" / "stories260K", folder)
    return folder


def test_stories260k_has_its_known_perplexity(stories260k: Path, shared: Path) -> None:
    valid = shared / "text" / "tinystories" / "valid.txt"
    report = evaluate_text(stories260k, valid, "stories", 512)
    assert (report["documents"], report["tokens"]) == (515, 156_873)
    assert report["perplexity"] == pytest.approx(3.841, abs=0.005)
    assert (report["recipe"], report["protocol"], report["max_tokens"]) == (None, "stories", 512)


def test_rounding_stories260k_to_int4_costs_about_a_seventh(stories260k: Path, shared: Path, tmp_path: Path) -> None:
    quantize_checkpoint(stories260k, tmp_path / "int4", recipe="8da4w-g32")
    stories = (shared / "text" / "tinystories" / "valid.txt").read_text().split("\n\n")[:120]
    (tmp_path / "some.txt").write_text("\n\n".join(stories))
    floats = evaluate_text(stories260k, tmp_path / "some.txt", "stories", 256)
    integers = evaluate_text(tmp_path / "int4", tmp_path / "some.txt", "stories", 256)
    assert integers["tokens"] == floats["tokens"] > 3000
    assert integers["recipe"] == "8da4w-g32"
    assert 1.05 < integers["perplexity"] / floats["perplexity"] < 1.25


def test_a_document_is_cut_at_max_tokens(stories260k: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Once upon a time there was a very little cat who slept all day.")
    assert evaluate_text(stories260k, tmp_path / "a.txt", "whole", 6)["tokens"] == 5
    with pytest.raises(ValueError, match="max_tokens is 1; at least 2"):
        evaluate_text(stories260k, tmp_path / "a.txt", "whole", 1)
