"""Bits per byte of held-out documents: the definition, parity with `evaluate`, and xz by its own command line."""

import dataclasses
import math
import shutil
import subprocess

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from evaluation.scorers import ModelScorer
from evaluation.scoring import Run, TokenDocument
from evaluation.scoring import score_documents as evaluate
from model.config import ModelConfig
from train.engine import new_model
from train.held_out import _windows, score_documents, xz_bits_per_byte

CPU = torch.device("cpu")
CONFIG = ModelConfig(
    vocab_size=600,  # more than the rows of logits that are made at once
    dim=32,
    num_layers=2,
    num_heads=2,
    num_kv_heads=1,
    head_dim=16,
    ffn_dim=48,
    global_layers=(1,),
    sliding_window=8,
    max_context=1024,
    qk_norm=True,
)


@pytest.fixture(scope="module")
def model():
    made = new_model(CONFIG, seed=0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(8.0 if parameter.dim() > 1 else 1.0)  # so that predictions differ from token to token
    return made


def document(length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(CONFIG.vocab_size, (length,), generator=torch.Generator().manual_seed(seed))


def score(model, documents, *, context=1024, num_bytes=100, progress=lambda _: None):
    return score_documents(model, documents, context=context, num_bytes=num_bytes, device=CPU, progress=progress)


def test_documents_within_the_context_score_as_evaluate_scores_them(model):
    documents = [document(length, seed) for seed, length in enumerate((2, 3, 50, 300, 700))]
    ours = score(model, documents)
    run = Run(name="model", scorer=ModelScorer(model))
    evaluate([run], [TokenDocument(name="", ids=tuple(d.tolist()), bytes=1) for d in documents], reference=None)
    assert (ours.documents, ours.tokens) == (5, sum(len(theirs.nll) for theirs in run.documents)) == (5, 1050)
    assert ours.nats == pytest.approx(sum(theirs.nll.sum() for theirs in run.documents), rel=1e-6)


def test_bits_per_byte_is_what_it_is_called(model):
    found = score(model, [document(20)], num_bytes=77)
    with torch.no_grad():
        logits = model(document(20)[:-1].unsqueeze(0))[0]
        nats = nn.functional.cross_entropy(logits, document(20)[1:], reduction="sum")
    assert found.bits_per_byte == pytest.approx(float(nats) / math.log(2) / 77, rel=1e-5)


@given(tokens=st.integers(2, 5000), context=st.integers(2, 700))
def test_each_token_is_predicted_once_and_after_the_first_window_from_half_the_context(tokens, context):
    predicted = []
    for start, skip in _windows(tokens, context):
        end = min(start + context, tokens - 1)  # the last input of this window is token end - 1
        for place in range(start + skip, end):
            predicted.append(place + 1)
            seen = place - start + 1
            assert seen == place + 1 or seen >= context // 2
            assert seen <= context
    assert predicted == [*range(1, tokens)]


@settings(max_examples=10)
@given(length=st.integers(2, 200), context=st.sampled_from([2, 7, 16, 64]))
def test_a_long_document_scores_as_its_windows_one_by_one(model, length, context):
    text, nats = document(length, length), 0.0
    with torch.no_grad():
        for start, skip in _windows(length, context):
            piece = text[start : start + context + 1]
            each = nn.functional.cross_entropy(model(piece[:-1].unsqueeze(0))[0], piece[1:], reduction="none")
            nats += float(each[skip:].double().sum())
    found = score(model, [text], context=context)
    assert found.tokens == length - 1
    assert found.nats == pytest.approx(nats, rel=1e-5)


def test_a_model_that_knows_nothing_needs_the_logarithm_of_its_vocabulary():
    model = new_model(dataclasses.replace(CONFIG, vocab_size=256), seed=0)
    found = score(model, [document(400) % 256], num_bytes=399)  # a token a byte
    assert found.bits_per_byte == pytest.approx(8.0, abs=0.05)


def test_the_last_document_is_said(model):
    said: list[str] = []
    score(model, [document(3), document(4)], progress=said.append)
    assert said[-1] == "scored 2 of 2 held-out documents"


def test_xz_figures_are_those_of_its_command_line(tmp_path):
    if shutil.which("xz") is None:
        pytest.skip("no xz here: its command line is what the figures are compared with")
    texts = [b"def f(x):\n    return x + 1\n" * 40, b"import os\n" + bytes(range(256)) * 9, b"x"]
    each, together = xz_bits_per_byte(texts)

    def size(text: bytes) -> int:
        return len(subprocess.run(["xz", "-9e", "-c"], input=text, capture_output=True, check=True, timeout=60).stdout)

    total = sum(map(len, texts))
    assert each == 8 * sum(map(size, texts)) / total
    assert together == 8 * size(b"".join(texts)) / total
