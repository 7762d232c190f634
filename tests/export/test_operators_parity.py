"""Single operators of the exported program, fed the same input as the eager reference. Bounds: docs/numerics.md.

The `llama::` operators run as the very C++ kernels of the phones, called through torch; the quantized ones run inside
one small lowered program, because torch has other kernels under their names.
"""

import logging
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from chat.ring import CacheShape
from export.program import ExportCache, Step, _quantize
from export.table import ExportTable
from model.cache import KVCache, RingKVCache
from model.int8 import dequantize_per_head, quantize_per_head, round_trip
from quant.embedding import QuantizedEmbedding
from quant.integers import QuantizedTensor, quantize_absmax
from quant.recipe import LayerScheme

_RELATIVE = 1e-5
VOCAB, DIM, MAX_TOKENS = 64, 96, 256
INT4 = LayerScheme(scheme="int4-group", bits=4, group_size=32)
HEADS = [pytest.param(h, g, d, id=f"{h}q-{g}kv-{d}") for h, g, d in ((4, 4, 32), (4, 2, 64), (20, 4, 64), (5, 1, 16))]


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def float64_attention(q: Tensor, k: Tensor, v: Tensor, visible_TS: Tensor) -> Tensor:
    """softmax(q k / sqrt(D)) v in float64, [T, H, D], from [1, T, H, D] and [1, S, G, D]."""
    group = q.shape[2] // k.shape[2]
    q, k, v = q[0].double(), k[0].double().repeat_interleave(group, 1), v[0].double().repeat_interleave(group, 1)
    scores = torch.einsum("thd,shd->hts", q, k) / q.shape[-1] ** 0.5
    return torch.einsum("hts,shd->thd", scores.masked_fill(~visible_TS, -torch.inf).softmax(-1), v)


def relative(got: Tensor, want: Tensor) -> float:
    return float((got - want).abs().max()) / max(1.0, float(want.abs().max()))


# --- attention and cache updates ---------------------------------------------------------------------------------


@pytest.mark.parametrize("heads, kv_heads, width", HEADS)
@pytest.mark.parametrize("start, count, slots", [(0, 1, 16), (0, 16, 16), (9, 7, 40), (255, 1, 256), (90, 33, 600)])
@pytest.mark.parametrize("is_int8", [False, True], ids=["float", "int8"])
def test_causal_attention_equals_float64(
    heads: int, kv_heads: int, width: int, start: int, count: int, slots: int, is_int8: bool
) -> None:
    """Slots past the last position hold numbers (an earlier chat's); none of them may count."""
    q = random(1, count, heads, width, seed=1)
    k, v = random(1, slots, kv_heads, width, seed=2) * 3, random(1, slots, kv_heads, width, seed=3)
    visible = torch.arange(slots) <= start + torch.arange(count).unsqueeze(1)
    got, (q, k, v) = attend(q, k, v, start=start, mask=None, is_int8=is_int8)
    assert relative(got[0], float64_attention(q, k, v, visible)) <= _RELATIVE


@pytest.mark.parametrize("heads, kv_heads, width", HEADS)
@pytest.mark.parametrize("count, slots", [(1, 16), (16, 79), (128, 256), (33, 600)])
@pytest.mark.parametrize("is_int8", [False, True], ids=["float", "int8"])
def test_masked_attention_equals_float64(
    heads: int, kv_heads: int, width: int, count: int, slots: int, is_int8: bool
) -> None:
    q = random(1, count, heads, width, seed=1)
    k, v = random(1, slots, kv_heads, width, seed=2) * 3, random(1, slots, kv_heads, width, seed=3)
    visible = random(count, slots, seed=4) < 0
    visible[torch.arange(count), torch.arange(count) % slots] = True  # a query always sees itself
    visible[0] = False
    visible[0, slots - 1] = True  # one slot alone, the last
    mask = torch.where(visible, 0.0, -torch.inf)
    got, (q, k, v) = attend(q, k, v, start=0, mask=mask, is_int8=is_int8)
    assert relative(got[0], float64_attention(q, k, v, visible)) <= _RELATIVE


def attend(
    q: Tensor, k: Tensor, v: Tensor, *, start: int, mask: Tensor | None, is_int8: bool
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """The kernel's answer, and the values that it was given (what the codes stand for)."""
    ops = torch.ops.llama
    if not is_int8:
        return ops.custom_sdpa(q, k, v, start, mask, 0.0, mask is None, None), (q, k, v)
    (q_codes, q_scales, q_zeros), (k_codes, k_scales, k_zeros), (v_codes, v_scales, v_zeros) = (
        quantize_per_head(x) for x in (q, k, v)
    )
    got = ops.custom_quantized_sdpa(
        q_codes,
        k_codes,
        v_codes,
        start,
        mask,
        0.0,
        mask is None,
        None,
        q_zeros,
        q_scales,
        k_zeros,
        k_scales,
        v_zeros,
        v_scales,
    )
    return got, (round_trip(q), round_trip(k), round_trip(v))


@pytest.mark.parametrize("is_int8", [False, True], ids=["float", "int8"])
@pytest.mark.parametrize("sizes", [[1], [16], [5, 16, 1, 9]])
def test_the_programs_cache_attends_as_the_models_over_every_wrap(sizes: list[int], is_int8: bool) -> None:
    """`ExportCache` beside `RingKVCache`: the same tokens in the same chunks, through both branches, five rounds."""
    heads, kv_heads, width, window, chunk = 4, 2, 32, 24, 16
    shape = CacheShape(slots=window + chunk - 1, window=window, wraps=True)
    dtype = "int8" if is_int8 else "float"
    exported = ExportCache(shape, num_kv_heads=kv_heads, head_dim=width, dtype=dtype)
    eager = RingKVCache(slots=shape.slots, window=window, num_kv_heads=kv_heads, head_dim=width, dtype=dtype)
    at, worst, flips = 0, 0.0, 0
    while at < 5 * shape.slots:
        count = sizes[at % len(sizes)]
        q = random(1, count, heads, width, seed=at)
        k, v = random(1, count, kv_heads, width, seed=-at - 1), random(1, count, kv_heads, width, seed=at + 10_000)
        want = eager.attend(q, k, v, at + torch.arange(count))
        worst = max(worst, relative(exported.attend(q, k, v, step_at(at, count, shape)), want))
        at += count
    for side in ("k", "v"):
        flips += int((exported.get_buffer(f"{side}_cache").int() - eager.get_buffer(f"{side}_cache").int()).abs().sum())
    print(f"\nworst {worst:.2g}, {flips} codes in the caches differ")
    if flips == 0:
        assert worst <= _RELATIVE
    assert flips <= 2 and worst <= 1e-2  # torch's own rounding of exact halves, see tests/model/test_int8.py


def step_at(position: int, count: int, shape: CacheShape) -> Step:
    """What Program._steps computes, from the definition."""
    positions = position + torch.arange(count)
    held = torch.tensor(
        [max((p for p in range(slot, position + count, shape.slots)), default=-1) for slot in range(shape.slots)]
    )
    distance = positions.unsqueeze(1) - held
    visible = (held >= 0) & (distance >= 0) & (distance < shape.window)
    return Step(
        indices=(positions % shape.slots).unsqueeze(0),
        position=torch.tensor([position]),
        wrapped=torch.tensor([position + count - 1 >= shape.window]),
        mask=torch.where(visible, 0.0, -torch.inf),
    )


@pytest.mark.parametrize("dtype, inner", [(torch.float32, 32), (torch.int8, 32), (torch.float32, 1), (torch.int8, 1)])
def test_updates_land_in_their_slots_and_nowhere_else(dtype: torch.dtype, inner: int) -> None:
    cache = (random(1, 20, 2, inner, seed=1) * 50).to(dtype)
    for slots in ([0], [19, 0, 1], [7, 8, 9, 10], list(range(20))):
        new = (random(1, len(slots), 2, inner, seed=len(slots)) * 50).to(dtype)
        expected = cache.clone()
        expected[:, slots] = new
        torch.ops.llama.update_cache_with_indices(new, cache, 0, torch.tensor([slots]))
        assert torch.equal(cache, expected)


def test_the_bounded_cache_attends_as_the_models_to_its_last_slot() -> None:
    shape = CacheShape(slots=20, window=20, wraps=False)
    exported = ExportCache(shape, num_kv_heads=2, head_dim=32, dtype="float")
    eager = KVCache(slots=20, window=20, num_kv_heads=2, head_dim=32, dtype="float")
    for start, end in pairwise((0, 7, 8, 19, 20)):
        count = end - start
        q, k, v = random(1, count, 4, 32, seed=1), random(1, count, 2, 32, seed=2), random(1, count, 2, 32, seed=3)
        positions = torch.arange(start, end)
        step = Step(indices=positions.unsqueeze(0), position=torch.tensor([start]), wrapped=None, mask=None)
        assert relative(exported.attend(q, k, v, step), eager.attend(q, k, v, positions)) <= _RELATIVE


# --- quantized operators, lowered ----------------------------------------------------------------------------------


class Quantized(nn.Module):
    """The quantization of keys, values and queries, and the two tables, as the exported program has them."""

    def __init__(self, *tables: ExportTable) -> None:
        super().__init__()
        self.tables = nn.ModuleList(tables)

    def forward(self, x: Tensor, tokens: Tensor) -> tuple[Tensor, ...]:
        return *_quantize(x), *(table(tokens) for table in self.tables)


def table_with(scale_of_row_3: float | None) -> QuantizedEmbedding:
    tensor = quantize_absmax(random(VOCAB, DIM, seed=5) * 0.1, INT4)
    scales = tensor.scales.clone()
    if scale_of_row_3 is not None:
        scales[3, 1] = scale_of_row_3
    return QuantizedEmbedding(QuantizedTensor(codes=tensor.codes, scales=scales, scheme=INT4))


# bf16 numbers that float16 has not: below its smallest, and above its largest
UNUSUAL = {"tiny": 1e-12, "huge": 1e6}
Lowered = Callable[[Tensor, Tensor], list[Tensor]]


@pytest.fixture(scope="module")
def lowered() -> Lowered:
    """One program: the quantization, a float16-scaled table, two float32-scaled ones, and an 8-bit one."""
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower
    from executorch.runtime import Runtime

    length = torch.export.Dim("T", min=1, max=MAX_TOKENS)
    traced = torch.export.export(
        Quantized(*(ExportTable(table) for table in tables())).eval(),
        (torch.zeros(1, 4, 3, 32), torch.zeros(1, 4, dtype=torch.int64)),
        dynamic_shapes=({1: length}, {1: length}),
        strict=False,
    )
    edge = to_edge_transform_and_lower(traced, compile_config=EdgeCompileConfig(_check_ir_validity=False))
    buffer = edge.to_executorch().buffer  # the runtime reads it in place
    program = Runtime.get().load_program(buffer)
    method = program.load_method("forward")
    assert method is not None

    def run(x: Tensor, tokens: Tensor, keep: object = (buffer, program)) -> list[Tensor]:
        return [out.clone() for out in method.execute((x, tokens))]

    return run


def tables() -> list[QuantizedEmbedding]:
    channel = quantize_absmax(random(VOCAB, DIM, seed=6), LayerScheme(scheme="int8-channel", bits=8))
    return [table_with(None), *(table_with(scale) for scale in UNUSUAL.values()), QuantizedEmbedding(channel)]


ROWS = {
    "normal": random(1, MAX_TOKENS, 3, 32, seed=1),
    "positive": random(1, MAX_TOKENS, 3, 32, seed=2).abs() + 1,
    "negative": -random(1, MAX_TOKENS, 3, 32, seed=3).abs() - 1,
    "exact halves": torch.randint(-510, 511, (1, MAX_TOKENS, 3, 32), generator=torch.Generator().manual_seed(4)) * 0.25,
    "zero": torch.zeros(1, 3, 3, 32),
    "huge": random(1, MAX_TOKENS, 3, 32, seed=5) * 1e37,
    "the largest": torch.finfo(torch.float32).max * torch.tensor([1.0, -1.0, 0.5]).repeat(32).view(1, 1, 3, 32),
    "small": random(1, MAX_TOKENS, 3, 32, seed=6) * 1e-3,
    "smaller": random(1, MAX_TOKENS, 3, 32, seed=7) * 10.0 ** -torch.arange(1, MAX_TOKENS + 1).div(6).view(1, -1, 1, 1),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_kernels_quantization_is_the_models_bit_for_bit(lowered: Lowered, name: str) -> None:
    x = ROWS[name]
    codes, scales, zeros = lowered(x, torch.zeros(1, 1, dtype=torch.int64))[:3]
    own_codes, own_scales, own_zeros = quantize_per_head(x)
    print(f"\n{name}: {int((codes != own_codes).sum())} of {codes.numel()} codes differ")
    assert torch.equal(scales, own_scales) and torch.equal(zeros, own_zeros) and torch.equal(codes, own_codes)
    assert torch.equal(dequantize_per_head(codes, scales, zeros), round_trip(x))


def test_rows_of_a_table_come_out_of_the_kernel_exactly(lowered: Lowered) -> None:
    tokens = torch.cat([torch.arange(VOCAB), torch.tensor([3, 3, 0])]).unsqueeze(0)
    for table, rows in zip(tables(), lowered(torch.zeros(1, 1, 3, 32), tokens)[3:], strict=True):
        assert torch.equal(rows, table(tokens))


@pytest.mark.parametrize("name", UNUSUAL)
def test_scales_that_float16_cannot_hold_stay_float32_with_a_warning(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="pocketlm"):
        assert ExportTable(table_with(UNUSUAL[name])).scales.dtype == torch.float32
    assert f"1 of {VOCAB * DIM // 32} scales are not exact in float16" in caplog.text


def test_usual_scales_are_stored_as_float16_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    table = table_with(None)
    with caplog.at_level(logging.WARNING, logger="pocketlm"):
        stored = ExportTable(table)
    assert stored.scales.dtype == torch.float16 and not caplog.text
    assert torch.equal(stored.scales.float(), table.scales.float())
    assert stored.codes.data_ptr() == table.codes_packed.data_ptr()  # XNNPACK's own bytes, not a second copy
