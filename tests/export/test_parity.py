"""The exported file computes what the checkpoint's eager model computes. Bounds and their reasons: docs/numerics.md."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from chat.window import Context
from export.runner import PteRunner
from model.cache import make_caches
from model.transformer import Transformer
from quant.checkpoint import build_model
from tests.packages import CHUNK, CONTEXT, TINY, Made

_RELATIVE = 1e-5  # of max(1, max |logit|): float32 in another order of summation
_PROMPTS = 100
_NOISE_DRAWS = 10  # perturbed runs a prompt that make the noise floor


def runner_of(made: Made) -> PteRunner:
    return PteRunner(made.package / "model.pte", chunk=CHUNK, context=Context(kind="endless", tokens=CONTEXT))


def eager_rows(model: Transformer, ids: list[int], cache_dtype: str) -> Tensor:
    """Logits [T, V] of every position, token by token over eager caches."""
    caches = make_caches(model.config, context=CONTEXT, chunk=CHUNK, dtype=cache_dtype)  # type: ignore[arg-type]
    with torch.no_grad():
        return torch.cat([model.step(torch.tensor([[token]]), at, caches)[0] for at, token in enumerate(ids)])


def prompts(count: int, longest: int) -> Iterator[list[int]]:
    generator = torch.Generator().manual_seed(1)
    for index in range(count):
        yield torch.randint(0, TINY.vocab_size, (1 + index % longest,), generator=generator).tolist()


def bound(logits: Tensor) -> float:
    return _RELATIVE * max(1.0, float(logits.abs().max()))


def test_the_float_file_equals_the_eager_model_token_by_token(tiny_float: Made) -> None:
    runner, model = runner_of(tiny_float), build_model(tiny_float.checkpoint)
    for ids in prompts(12, 40):
        rows = eager_rows(model, ids, "float")
        for at, token in enumerate(ids):
            assert (runner.logits([token], at) - rows[at]).abs().max() <= bound(rows)


def test_the_float_file_prefilled_in_chunks_equals_itself_token_by_token(tiny_float: Made) -> None:
    runner = runner_of(tiny_float)
    for ids in prompts(12, 40):
        single = torch.stack([runner.logits([token], at) for at, token in enumerate(ids)])
        assert (runner.logits(ids, 0) - single[-1]).abs().max() <= bound(single)
        half = len(ids) // 2
        if half:
            runner.logits(ids[:half], 0)
            assert (runner.logits(ids[half:], half) - single[-1]).abs().max() <= bound(single)


def test_the_float_file_equals_the_cache_free_forward(tiny_float: Made) -> None:
    runner, model = runner_of(tiny_float), build_model(tiny_float.checkpoint)
    ids = next(iter(p for p in prompts(200, 200) if len(p) == 200))  # past the local window of 64
    with torch.no_grad():
        whole = model(torch.tensor([ids]))[0]
    assert (runner.logits(ids, 0) - whole[-1]).abs().max() <= bound(whole)


def perturbed(model: Transformer, ids: list[int], seed: int) -> Tensor:
    """The integer model's last logits with its embedding rows off by 1e-6 of their size."""
    generator = torch.Generator().manual_seed(seed)

    def shake(_: object, __: object, rows: Tensor) -> Tensor:
        return rows * (1 + 1e-6 * torch.randn(rows.shape, generator=generator))

    handle = model.embedding.register_forward_hook(shake)
    try:
        return eager_rows(model, ids, "int8")[-1]
    finally:
        handle.remove()


@pytest.mark.parametrize("name", ["tiny_int4", "other_int4"])
def test_the_integer_file_equals_the_converted_model_up_to_its_own_rounding_noise(
    name: str, request: pytest.FixtureRequest
) -> None:
    made: Made = request.getfixturevalue(name)
    runner, model = runner_of(made), build_model(made.checkpoint)
    asked = list(prompts(_PROMPTS, 8))
    eager = [eager_rows(model, ids, "int8")[-1] for ids in asked]
    limit = _RELATIVE * max(1.0, max(float(row.abs().max()) for row in eager))
    errors = [float((runner.logits(ids, 0) - row).abs().max()) for ids, row in zip(asked, eager, strict=True)]
    noise = 0.0
    for draw in range(_NOISE_DRAWS * _PROMPTS):  # until the floor is seen to be higher than the worst error
        ids, row = asked[draw % _PROMPTS], eager[draw % _PROMPTS]
        noise = max(noise, float((perturbed(model, ids, draw) - row).abs().max()))
        if noise >= max(errors):
            break
    exact = sum(error <= limit for error in errors)
    print(
        f"\n{name}: {exact} of {_PROMPTS} prompts within {limit:.2g}, worst {max(errors):.2g}; "
        f"eager against itself perturbed by 1e-6: at least {noise:.2g}"
    )
    assert sorted(errors)[_PROMPTS // 2] <= limit
    assert max(errors) <= max(noise, limit)


def test_a_wrong_checkpoint_is_noticed_by_the_same_comparison(tiny_float: Made) -> None:
    """The comparison can fail: one weight off by one part in a thousand is far outside of the bound."""
    runner, model = runner_of(tiny_float), build_model(tiny_float.checkpoint)
    with torch.no_grad():
        model.layers[1].attention.v_proj.weight *= 1.001  # type: ignore[union-attr, operator]
    ids = next(prompts(1, 1)) + [5, 6, 7]
    rows = eager_rows(model, ids, "float")
    assert (runner.logits(ids, 0) - rows[-1]).abs().max() > 3 * bound(rows)


def test_the_bounded_file_equals_the_endless_one_within_its_context(tiny_bounded: Made, tiny_int4: Made) -> None:
    bounded = PteRunner(tiny_bounded.package / "model.pte", chunk=CHUNK, context=Context(kind="bounded", tokens=96))
    endless = runner_of(tiny_int4)
    ids = next(iter(p for p in prompts(96, 96) if len(p) == 96))
    for at, token in enumerate(ids):
        left, right = bounded.logits([token], at), endless.logits([token], at)
        assert torch.equal(left, right)  # the same kernels on the same numbers
    with pytest.raises(ValueError, match="96"):
        bounded.logits([1], 96)
