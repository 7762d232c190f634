"""The order of rows: a permutation within each head, after which rotation in halves is rotation in pairs."""

import dataclasses

import pytest
import torch

from export.coreml.arithmetic import rotate as rotate_halves
from export.coreml.row_order import row_order
from model.rope import cos_sin, inverse_frequencies, rotate
from tests.packages import OTHER, TINY


@pytest.mark.parametrize("name", ["attention.q_proj", "attention.k_proj"])
def test_rows_stay_in_their_head_and_none_is_lost(name: str) -> None:
    order = row_order(TINY, f"layers.0.{name}")
    assert order is not None
    rows, _ = TINY.layer_matrices[name]
    assert sorted(order) == list(range(rows))
    assert all(row // TINY.head_dim == place // TINY.head_dim for place, row in enumerate(order))


@pytest.mark.parametrize("name", ["layers.0.attention.v_proj", "layers.0.feed_forward.up_proj", "embedding", "head"])
def test_other_matrices_stand_as_they_are(name: str) -> None:
    assert row_order(TINY, name) is None


def test_nothing_moves_where_the_model_rotates_halves_or_not_at_all() -> None:
    assert row_order(OTHER, "layers.0.attention.q_proj") is None
    without = dataclasses.replace(TINY, no_rope_layers=(1,))
    assert row_order(without, "layers.1.attention.q_proj") is None
    assert row_order(without, "layers.0.attention.q_proj") is not None


def test_moved_rows_rotated_in_halves_are_the_pairs_of_the_model_moved() -> None:
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(1, 5, TINY.num_heads, TINY.head_dim, generator=generator)
    order = row_order(TINY, "layers.0.attention.q_proj")
    cos, sin = (part.unsqueeze(1) for part in cos_sin(torch.arange(100, 105), inverse_frequencies(TINY)))
    moved = q.flatten(-2)[..., order].view_as(q)
    expected = rotate(q, cos, sin, "interleaved").flatten(-2)[..., order].view_as(q)
    assert torch.equal(rotate_halves(moved[0], cos, sin), expected[0])
