"""The exported module run eagerly: masks, slots and predicates against the rule that the apps follow, near and far."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from chat.ring import CacheShape, slots_of, visible_positions, visible_slots
from export.plan import plan_package
from export.program import Program, _hidden_builder, _nothing_hidden
from export.target import find_target
from model.cache import KVCache, RingKVCache, make_caches
from model.config import ModelConfig
from model.transformer import Transformer
from tests.packages import OTHER, TINY

Branch = Callable[..., Tensor]
FAR = 10_000_000
SMALL = dataclasses.replace(TINY, vocab_size=64, dim=32, head_dim=8, ffn_dim=32, sliding_window=5)
CONFIGS = {
    "mobilellm-pro": SMALL,
    "llama 3": dataclasses.replace(SMALL, rope_layout="halves", qk_norm=False, tied=False),
    "no rope": dataclasses.replace(
        SMALL, no_rope_layers=(0,), temperature_floor=OTHER.temperature_floor, temperature_scale=0.1
    ),
    "three layers, two shapes": dataclasses.replace(SMALL, num_layers=3, global_layers=(1,)),
}


@pytest.fixture(autouse=True)
def plain_branches(monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.cond` as what it means; outside of an export torch would compile it first."""

    def cond(predicate: Tensor, when_true: Branch, when_false: Branch, operands: tuple[Tensor, ...]) -> Tensor:
        return (when_true if bool(predicate) else when_false)(*operands)

    monkeypatch.setattr(torch, "cond", cond)


def program_of(config: ModelConfig, *, context: int, chunk: int, bounded: bool = False) -> Program:
    torch.manual_seed(0)
    model = Transformer(config).requires_grad_(False).eval()
    for parameter in model.parameters():
        if parameter.dim() == 2:
            parameter.normal_(std=parameter.shape[1] ** -0.5)
    model.embedding.weight.normal_()
    return Program(model, context=context, chunk=chunk, bounded=bounded, cache_dtype="float")


def hidden_by_the_builder(shape: CacheShape, position: int, count: int) -> list[list[bool]]:
    rows = _hidden_builder(shape)(torch.tensor([position]), torch.arange(count))
    assert rows.shape == (count, shape.slots) and rows.dtype == torch.float32
    assert set(rows.unique().tolist()) <= {0.0, float("inf")}
    return (rows > 0).tolist()


def hidden_by_the_rule(shape: CacheShape, position: int, count: int) -> list[list[bool]]:
    return [[not sees for sees in row] for row in visible_slots(position, count, shape)]


@settings(deadline=None, max_examples=200)
@given(
    st.integers(1, 24),
    st.integers(1, 9),
    st.integers(0, 3),
    st.one_of(st.integers(0, 120), st.integers(0, 2**50), st.sampled_from([FAR, 2**24, 2**31 - 3, 2**31, 2**32])),
    st.data(),
)
def test_the_mask_hides_what_the_rule_hides(
    window: int, chunk: int, spare: int, position: int, data: st.DataObject
) -> None:
    shape = CacheShape(slots=window + chunk - 1 + spare, window=window, wraps=True)
    count = data.draw(st.integers(1, chunk))
    assert hidden_by_the_builder(shape, position, count) == hidden_by_the_rule(shape, position, count)


@pytest.mark.parametrize("window, chunk", [(64, 16), (241, 16), (512, 128)])
def test_the_mask_is_right_around_every_edge_of_a_real_ring(window: int, chunk: int) -> None:
    shape = CacheShape(slots=window + chunk - 1, window=window, wraps=True)
    edges = (0, window - chunk, window, shape.slots - chunk, shape.slots, 3 * shape.slots, FAR, 2**31)
    for position in {max(0, edge + offset) for edge in edges for offset in (-1, 0, 1)}:
        for count in (1, chunk - 1, chunk):
            assert hidden_by_the_builder(shape, position, count) == hidden_by_the_rule(shape, position, count)


def test_the_mask_that_is_not_read_hides_nothing() -> None:
    shape = CacheShape(slots=9, window=5, wraps=True)
    assert torch.equal(_nothing_hidden(shape)(torch.tensor([0]), torch.arange(3)), torch.zeros(3, 9))


@pytest.mark.parametrize("position", [0, 1, 3, 4, 5, 6, 40, FAR])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_slots_and_predicates_are_those_of_the_rule(position: int, count: int) -> None:
    program = program_of(SMALL, context=11, chunk=4)
    with torch.no_grad():
        steps = program._steps(torch.tensor([position]), torch.arange(count))
    assert {(shape.slots, shape.window, shape.wraps) for shape in steps} == {(8, 5, True), (14, 11, True)}
    for shape, step in steps.items():
        assert step.indices.tolist() == [slots_of(position, count, shape.slots)]
        # Causal attention from slot 0 is right exactly while every query still sees position 0.
        is_causal = visible_positions(position + count - 1, shape.window).start == 0
        assert step.wrapped is not None and step.wrapped.tolist() == [not is_causal]
        if not is_causal:
            assert step.mask is not None
            assert (step.mask < 0).tolist() == hidden_by_the_rule(shape, position, count)


def test_a_bounded_global_layer_needs_no_mask_and_no_branch() -> None:
    program = program_of(SMALL, context=11, chunk=4, bounded=True)
    with torch.no_grad():
        steps = program._steps(torch.tensor([7]), torch.arange(4))
    (bounded,) = [step for shape, step in steps.items() if not shape.wraps]
    assert bounded.wrapped is None and bounded.mask is None and bounded.indices.tolist() == [[7, 8, 9, 10]]


def test_layers_of_one_shape_share_a_step() -> None:
    program = program_of(CONFIGS["three layers, two shapes"], context=11, chunk=4)
    assert len(program.caches) == 3
    assert len(program._steps(torch.tensor([0]), torch.arange(2))) == 2


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("context, chunk", [(11, 4), (30, 1)])
def test_the_programs_caches_are_the_models_and_the_plans(name: str, bounded: bool, context: int, chunk: int) -> None:
    config = CONFIGS[name]
    program = program_of(config, context=context, chunk=chunk, bounded=bounded)
    eager = make_caches(config, context=context, chunk=chunk, bounded=bounded)
    shapes = [cache.shape for cache in program.caches]  # type: ignore[union-attr]
    assert [(s.slots, s.window, s.wraps) for s in shapes] == [  # type: ignore[union-attr]
        (cache.slots, cache.window, isinstance(cache, RingKVCache)) for cache in eager
    ]
    plan = plan_package(
        config, find_target("xnnpack"), max_context=context, prefill_chunk=chunk, bounded=bounded, cache_dtype="float"
    )
    assert sum(b.numel() * b.element_size() for b in program.caches.buffers()) == plan.cache.bytes


def eager_row(model: Transformer, caches: list[KVCache], tokens: Tensor, position: int) -> Tensor:
    return model.step(tokens, position, caches)[0, -1]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("start", [0, FAR], ids=["from the start", "at ten million"])
def test_the_program_computes_what_the_model_computes_over_its_wraps(name: str, start: int) -> None:
    program = program_of(CONFIGS[name], context=11, chunk=4)
    caches = make_caches(CONFIGS[name], context=11, chunk=4)
    tokens = torch.randint(0, 64, (1, 40), generator=torch.Generator().manual_seed(1))
    at, worst = 0, 0.0
    with torch.no_grad():
        for count in (4, 3, 1, 1, 4, 2, 4, 1, 4, 4, 4, 4, 4):
            part = tokens[:, at : at + count]
            want = eager_row(program.model, caches, part, start + at)
            got = program(part, torch.tensor([start + at]))[0]
            worst = max(worst, float((got - want).abs().max()) / max(1.0, float(want.abs().max())))
            at += count
    print(f"\n{name}: worst relative error {worst:.2g}")
    assert at == 40 and worst <= 1e-5  # docs/numerics.md
