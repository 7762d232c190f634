"""A feed-forward block and a whole layer, lowered with integer weights, fed the same input as the eager ones.

Bounds: docs/numerics.md. A value that lies on a rounding edge may take the neighbouring code (a flip); flips are
counted, and what one may do is bounded by one quantization step.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from chat.window import Context
from export.program import Program
from export.runner import PteRunner
from export.xnnpack import lower, write_pte
from model.cache import CacheDtype, make_caches
from model.config import ModelConfig
from model.transformer import FeedForward, Transformer
from quant.embedding import QuantizedEmbedding
from quant.integers import QuantizedTensor, dequantize, quantize_absmax
from quant.linear import build_linear
from quant.recipe import LayerScheme

INT4 = LayerScheme(scheme="int4-group", bits=4, group_size=32)
CONFIG = ModelConfig(
    vocab_size=64,
    dim=64,
    num_layers=1,
    num_heads=4,
    num_kv_heads=2,
    head_dim=32,
    ffn_dim=96,
    global_layers=(),
    sliding_window=24,
    max_context=512,
    rope_theta=10_000.0,
    rope_layout="interleaved",
    qk_norm=True,
)
CONTEXT, CHUNK = 100, 16
_RELATIVE = 1e-5  # of max(1, the largest output)
_MOST_FLIPPED = 0.01  # of the tokens through one block
_MOST_FLIPPED_OUTPUTS = 0.1  # of a layer's outputs, each of which depends on 24 tokens' keys and values


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def integers(rows: int, columns: int, seed: int) -> QuantizedTensor:
    return quantize_absmax(random(rows, columns, seed=seed) * columns**-0.5, INT4)


@pytest.fixture(scope="module")
def feed_forward() -> tuple[FeedForward, QuantizedTensor, Callable[[Tensor], Tensor]]:
    """The eager block, its last matrix, and the lowered block."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower
    from executorch.runtime import Runtime

    block, down = FeedForward(CONFIG).eval(), integers(CONFIG.dim, CONFIG.ffn_dim, seed=3)
    block.gate_proj = build_linear(integers(CONFIG.ffn_dim, CONFIG.dim, seed=1))
    block.up_proj = build_linear(integers(CONFIG.ffn_dim, CONFIG.dim, seed=2))
    block.down_proj = build_linear(down)
    length = torch.export.Dim("T", min=1, max=CHUNK)
    traced = torch.export.export(block, (torch.zeros(1, 4, CONFIG.dim),), dynamic_shapes=({1: length},), strict=False)
    edge = to_edge_transform_and_lower(
        traced, partitioner=[XnnpackPartitioner()], compile_config=EdgeCompileConfig(_check_ir_validity=False)
    )
    buffer = edge.to_executorch().buffer  # the runtime reads it in place
    program = Runtime.get().load_program(buffer)
    method = program.load_method("forward")
    assert method is not None

    def run(x: Tensor, keep: object = (buffer, program)) -> Tensor:
        return method.execute([x])[0].clone()

    return block, down, run


def test_a_feed_forward_block_equals_the_eager_one(
    feed_forward: tuple[FeedForward, QuantizedTensor, Callable[[Tensor], Tensor]],
) -> None:
    block, down, run = feed_forward
    worst, flipped, tokens = 0.0, 0, 0
    for seed in range(60):
        x = random(1, 1 + seed % CHUNK, CONFIG.dim, seed=seed)
        want = block(x)
        hidden = nn.functional.silu(block.gate_proj(x)) * block.up_proj(x)
        step = float((hidden.amax(-1) - hidden.amin(-1)).max()) / 255 * float(dequantize(down).abs().max())
        for error in (run(x) - want).abs().amax(-1)[0].tolist():
            tokens += 1
            if error > _RELATIVE * max(1.0, float(want.abs().max())):
                flipped += 1
                assert error <= 1.01 * step  # one code of the hidden state, times the largest weight
            else:
                worst = max(worst, error / max(1.0, float(want.abs().max())))
    print(f"\nfeed-forward: {flipped} of {tokens} tokens hold a flip; the others' worst relative error is {worst:.2g}")
    assert flipped <= _MOST_FLIPPED * tokens


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Transformer, PteRunner]:
    """One layer without a head: eagerly and as a file, both give the normed hidden state of the last token."""
    model = Transformer(CONFIG, cache_dtype="int8").requires_grad_(False).eval()
    matrices = [name for name, module in model.layers.named_modules() if isinstance(module, nn.Linear)]
    for seed, name in enumerate(matrices):
        rows, columns = model.layers.get_submodule(name).weight.shape  # type: ignore[misc, union-attr]
        model.layers.set_submodule(name, build_linear(integers(rows, columns, seed=seed)))
    # Weights of exactly 1 would leave rows of the INT4 table symmetric, whose zero point is a tie: -128 + 127.5.
    for norm in (model.layers[0].attention_norm, model.layers[0].feed_forward_norm, model.norm):  # type: ignore[union-attr]
        norm.weight.uniform_(0.8, 1.2, generator=torch.Generator().manual_seed(0))  # type: ignore[union-attr, operator]
    model.embedding = QuantizedEmbedding(quantize_absmax(random(CONFIG.vocab_size, CONFIG.dim, seed=9), INT4))  # type: ignore[assignment]
    model.head = nn.Identity()  # type: ignore[assignment]
    path = tmp_path_factory.mktemp("layer") / "model.pte"
    program = Program(model, context=CONTEXT, chunk=CHUNK, bounded=False, cache_dtype="int8")
    write_pte(lower(program, {}), Path(path))
    return model, PteRunner(path, chunk=CHUNK, context=Context(kind="endless", tokens=CONTEXT))


def hidden(model: Transformer, ids: list[int], sizes: list[int], dtype: CacheDtype = "int8") -> list[Tensor]:
    """The eager layer's output after each chunk, [C] each."""
    caches = make_caches(CONFIG, context=CONTEXT, chunk=CHUNK, dtype=dtype)
    rows, at = [], 0
    for size in sizes:
        rows.append(model.step(torch.tensor([ids[at : at + size]]), at, caches)[0, -1])
        at += size
    return rows


@pytest.mark.parametrize("sizes", [[1] * 120, [16] * 20, [5, 16, 1, 9, 3] * 8], ids=["one by one", "chunks", "mixed"])
def test_a_layer_equals_the_eager_one_before_and_past_its_wraps(
    layer: tuple[Transformer, PteRunner], sizes: list[int]
) -> None:
    """The window is full after 24 tokens, the ring of 39 slots wraps after 39."""
    model, runner = layer
    ids = torch.randint(0, CONFIG.vocab_size, (sum(sizes),), generator=torch.Generator().manual_seed(4)).tolist()
    want, worst, flips, at = hidden(model, ids, sizes), 0.0, [], 0
    for size, row in zip(sizes, want, strict=True):
        error = float((runner.logits(ids[at : at + size], at) - row).abs().max())
        at += size
        if error <= _RELATIVE * max(1.0, float(row.abs().max())):
            worst = max(worst, error / max(1.0, float(row.abs().max())))
        else:
            flips.append(error)
    # One code off by one step costs less than rounding all codes of the cache by up to half a step.
    limit = max(float((a - b).abs().max()) for a, b in zip(hidden(model, ids, sizes, "float"), want, strict=True))
    print(
        f"\nlayer: {len(flips)} of {len(sizes)} outputs hold a flip (worst {max(flips, default=0):.2g}, the INT8 "
        f"cache as a whole {limit:.2g}); the others' worst relative error is {worst:.2g}"
    )
    assert len(flips) <= _MOST_FLIPPED_OUTPUTS * len(sizes)
    assert max(flips, default=0.0) <= limit


def test_the_comparison_notices_a_window_that_is_one_off(layer: tuple[Transformer, PteRunner]) -> None:
    """The bound means something: a reference that sees one position fewer misses it everywhere past the window."""
    model, runner = layer
    ids = torch.randint(0, CONFIG.vocab_size, (60,), generator=torch.Generator().manual_seed(5)).tolist()
    caches = make_caches(CONFIG, context=CONTEXT, chunk=CHUNK, dtype="int8")
    caches[0].window -= 1
    errors = [
        float((runner.logits([token], at) - model.step(torch.tensor([[token]]), at, caches)[0, -1]).abs().max())
        for at, token in enumerate(ids)
    ]
    assert sorted(errors[:23])[12] <= _RELATIVE and min(errors[23:]) > 10 * _RELATIVE
