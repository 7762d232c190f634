"""A package's program as a scorer: the order of its calls, and that what it keeps in the cache changes nothing."""

from pathlib import Path

import pytest
import torch

from evaluation.scorers import PackageScorer, block_rows
from evaluation.things import shipped_scorer
from export.package import open_package
from tests.packages import Made

VOCAB = 7


class Recorder:
    """Stands for a runner: notes its calls, and its logits tell which ids lie in the cache."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[int], int]] = []

    def prefill(self, ids, position):
        self.calls.append(("prefill", list(ids), position))

    def logits(self, ids, position):
        self.calls.append(("logits", list(ids), position))
        return torch.full((VOCAB,), float(ids[-1]))


@pytest.fixture
def runner() -> Recorder:
    return Recorder()


def scorer(runner, safe=100):
    return PackageScorer(runner, vocab_size=VOCAB, safe=safe)


def test_a_document_is_run_from_position_0_one_token_at_a_time(runner):
    rows = torch.cat(list(scorer(runner).rows([5, 6, 3])))
    assert runner.calls == [("logits", [5], 0), ("logits", [6], 1), ("logits", [3], 2)]
    assert rows[:, 0].tolist() == [5.0, 6.0, 3.0]


def test_a_prompt_is_one_call_and_choices_share_what_they_have_in_common(runner):
    made = scorer(runner)
    for ids in ([0, 1, 2, 4, 4], [0, 1, 2, 5], [0, 6, 2, 5]):
        list(made.rows(ids, 2))
    assert runner.calls == [
        ("prefill", [0, 1], 0), ("logits", [2], 2), ("logits", [4], 3), ("logits", [4], 4),
        ("logits", [2], 2), ("logits", [5], 3),
        ("prefill", [6], 1), ("logits", [2], 2), ("logits", [5], 3),
    ]  # fmt: skip


def test_nothing_is_shared_once_a_ring_has_gone_round_or_somebody_else_used_the_runner(runner):
    made = scorer(runner, safe=3)
    list(made.rows([0, 1, 2, 4], 3))
    runner.calls.clear()
    list(made.rows([0, 1, 2, 5], 3))
    assert runner.calls == [("prefill", [0, 1, 2], 0), ("logits", [5], 3)]
    made = scorer(runner)
    list(made.rows([0, 1], 1))
    made.forget()
    runner.calls.clear()
    list(made.rows([0, 1], 1))
    assert runner.calls == [("prefill", [0], 0), ("logits", [1], 1)]


def test_a_stream_that_is_left_early_does_not_mislead_the_next_one(runner):
    made = scorer(runner, safe=10_000)
    rows = block_rows(VOCAB)
    ids = [1] * (rows + 5)
    next(made.rows(ids))
    runner.calls.clear()
    list(made.rows([1, 1, 2], 2))
    assert runner.calls == [("logits", [2], 2)]


def test_blocks_bound_the_logits_in_memory_at_any_vocabulary():
    assert block_rows(202_048) * 202_048 * 8 < 64 << 20
    assert block_rows(512) == 512 and block_rows(1 << 30) == 1


def test_sharing_a_prompt_gives_the_logits_of_a_fresh_start(tiny_int4: Made, tmp_path: Path):
    with open_package(tiny_int4.package) as package:
        shared, fresh = shipped_scorer(package), shipped_scorer(package)
        generator = torch.Generator().manual_seed(0)
        prompt = torch.randint(300, (20,), generator=generator).tolist()
        for last in ([1, 2, 3], [4, 5], [6, 7, 8, 9]):
            ours = torch.cat(list(shared.rows([*prompt, *last], 20)))
            fresh.forget()
            theirs = torch.cat(list(fresh.rows([*prompt, *last], 20)))
            assert ours.shape == (len(last), 320)
            assert ours.equal(theirs)
