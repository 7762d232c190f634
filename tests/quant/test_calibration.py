"""Calibration text: what of it is read, and how documents become batches."""

from pathlib import Path

import pytest
import torch

from model.checkpoint import random_checkpoint
from model.config import ModelConfig
from quant.calibration import batches, encode_documents

CONFIG = ModelConfig(
    vocab_size=320, dim=64, num_layers=1, num_heads=4, num_kv_heads=2, head_dim=16, ffn_dim=96,
    global_layers=(), sliding_window=8, max_context=40,
)  # fmt: skip


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    random_checkpoint(CONFIG, tmp_path / "checkpoint", seed=0)
    return tmp_path / "checkpoint"


def test_documents_are_cut_at_the_context_and_all_together_at_the_tokens_asked_for(checkpoint: Path) -> None:
    texts = ["a" * 100, "b" * 10, "c" * 100, "d" * 100]
    made = encode_documents(checkpoint, texts, 75)
    assert [len(ids) for ids in made] == [40, len(made[1]), 75 - 40 - len(made[1])]
    assert made[1] == encode_documents(checkpoint, ["b" * 10])[0]
    assert 10 <= len(made[1]) <= 11  # a byte each, and perhaps a begin-of-text id


def test_a_text_that_is_shorter_than_asked_for_is_taken_whole(checkpoint: Path) -> None:
    assert len(encode_documents(checkpoint, ["one", "two"], 10_000)) == 2


def test_no_text_no_tokens_and_no_tokenizer_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="calibration text is empty"):
        encode_documents(checkpoint, [])
    with pytest.raises(ValueError, match="0 calibration tokens were asked for; give at least 1"):
        encode_documents(checkpoint, ["a"], 0)
    random_checkpoint(CONFIG, tmp_path / "mute", seed=0, tokenizer="none")
    with pytest.raises(ValueError, match="mute has no tokenizer, so no text can calibrate it"):
        encode_documents(tmp_path / "mute", ["a"])


def test_batches_hold_every_token_once_and_mark_the_padding() -> None:
    documents = [[3, 4], [], [5], list(range(10, 2010)), list(range(3000, 6000))]
    found = []
    for tokens, keep in batches(documents):
        assert tokens.shape == keep.shape and tokens.dtype == torch.int64 and tokens.numel() <= 4096
        assert not tokens[~keep].any()
        found += [row[kept].tolist() for row, kept in zip(tokens, keep, strict=True)]
    assert sorted(found) == sorted(ids for ids in documents if ids)


def test_a_document_longer_than_a_batch_is_a_batch_by_itself() -> None:
    assert [tuple(tokens.shape) for tokens, _ in batches([[1] * 5000, [2] * 10])] == [(1, 5000), (1, 10)]
