"""The learning rate at each step, against transformers' schedule of the same kind."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import get_cosine_with_min_lr_schedule_with_warmup

from train.schedule import learning_rate
from train.settings import OptimizerSettings


@pytest.mark.parametrize(("warmup", "steps"), [(0, 7), (1, 1), (3, 12), (60, 1200), (5, 5)])
def test_it_is_transformers_cosine_with_a_minimum(warmup, steps):
    settings = OptimizerSettings(lr=2e-3, min_lr=1e-4, warmup_steps=warmup)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=settings.lr)
    theirs = get_cosine_with_min_lr_schedule_with_warmup(optimizer, warmup, steps, min_lr=settings.min_lr)
    for step in range(1, steps + 1):
        optimizer.step()
        theirs.step()
        assert learning_rate(settings, step, steps) == pytest.approx(theirs.get_last_lr()[0], rel=1e-12)


@given(st.integers(0, 50), st.integers(1, 200), st.floats(0.0, 1.0))
def test_it_rises_to_the_rate_and_falls_to_the_minimum(warmup, after, share):
    settings = OptimizerSettings(lr=1e-2, min_lr=1e-2 * share, warmup_steps=warmup)
    rates = [learning_rate(settings, step, warmup + after) for step in range(1, warmup + after + 1)]
    for before, after_it, step in zip(rates, rates[1:], range(1, warmup + after), strict=False):
        assert (after_it - before) * (1 if step < warmup else -1) >= -1e-15  # float64's rounding
    assert all(0 <= rate <= settings.lr + 1e-15 for rate in rates)
    assert rates[-1] == pytest.approx(settings.min_lr, abs=1e-15)
    if warmup:
        assert rates[warmup - 1] == pytest.approx(settings.lr)
