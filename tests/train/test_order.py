"""The order of the text: every window once an epoch, nothing outside, and the same for the same seed and step."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from train.order import DataOrder
from train.settings import LoopSettings


def settings(**given) -> LoopSettings:
    defaults = {"steps": 1000, "window": 8, "batch_tokens": 32}
    return LoopSettings(**(defaults | given))


def window(start: int, length: int) -> torch.Tensor:
    """A stream in which each token is its own place."""
    return torch.arange(start, start + length)


def order(tokens: int, **given) -> DataOrder:
    return DataOrder(settings(**given), tokens=tokens, window=window)


def starts(order: DataOrder, steps: range) -> list[int]:
    return [int(row[0]) for step in steps for row in order.batch(step)]


@given(tokens=st.integers(9, 500), seed=st.integers(0, 2**40))
def test_an_epoch_goes_through_every_window_exactly_once(tokens, seed):
    windows = max(1, (tokens - 1) // 8 - 1)
    for epoch in range(3):
        made = order(tokens, seed=seed, batch_tokens=8)  # a sequence a step: steps are sequences
        found = sorted(starts(made, range(epoch * windows + 1, (epoch + 1) * windows + 1)))
        assert found == [found[0] + 8 * i for i in range(windows)]
        assert found[0] >= 0 and found[-1] + 9 <= tokens


@given(
    tokens=st.integers(33, 5000),
    seed=st.integers(0, 2**31),
    step=st.integers(1, 1000),
    final=st.sampled_from([{}, {"final_window": 32, "final_steps": 400}]),
)
def test_a_batch_is_a_pure_function_of_seed_and_step_within_the_stream(tokens, seed, step, final):
    made = order(tokens, seed=seed, **final)
    made.batch(max(1, step - 7))  # what was asked before does not matter
    batch = made.batch(step)
    assert torch.equal(batch, order(tokens, seed=seed, **final).batch(step))
    length = made._settings.window_of(step)
    assert batch.shape == (32 // length, length + 1) and batch.dtype == torch.int64
    assert (batch[:, 1:] - batch[:, :-1] == 1).all()
    assert int(batch.min()) >= 0 and int(batch.max()) < tokens


def test_seeds_and_epochs_have_orders_and_offsets_of_their_own():
    tokens, windows = 8 * 101 + 1, 100
    epochs = {
        (seed, epoch): starts(
            order(tokens, seed=seed, batch_tokens=8), range(epoch * windows + 1, windows * (epoch + 1))
        )
        for seed in range(3)
        for epoch in range(3)
    }
    assert len({tuple(found) for found in epochs.values()}) == 9
    assert len({found[0] % 8 for found in epochs.values()}) > 2


def test_over_many_epochs_every_token_is_a_target_about_equally_often():
    tokens, windows = 8 * 11 + 1, 10
    seen = Counter()
    for start in starts(order(tokens, batch_tokens=8), range(1, 400 * windows + 1)):
        seen.update(range(start + 1, start + 9))
    inner = [seen[token] for token in range(9, tokens - 8)]
    assert min(inner) == max(inner) == 400
    # The offset cuts the two ends: each is seen in fewer epochs, and less than a window at the very end in none.
    assert all(0 < seen[token] < 400 for token in (*range(1, 8), *range(tokens - 8, tokens - 1)))


def test_the_long_windows_at_the_end_are_an_epoch_of_their_own():
    made = order(1000, window=8, final_window=32, final_steps=4, steps=10)
    assert [made.batch(step).shape for step in (6, 7)] == [(4, 9), (1, 33)]
    assert len(set(starts(made, range(7, 11)))) == 4


def test_the_order_is_frozen():
    """Numbers of a committed log depend on it."""
    first = [422, 558, 846, 550, 942, 166, 198, 478, 710, 670, 382, 102]
    assert starts(order(1000, seed=3), range(1, 4)) == first


def test_a_stream_shorter_than_the_longest_window_is_refused():
    with pytest.raises(ValueError, match="the training text has 32 tokens and a window needs 33"):
        order(32, final_window=32, final_steps=1)
    assert order(33, final_window=32, final_steps=1).batch(1000).tolist() == [[*range(33)]]
