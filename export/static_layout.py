"""What a static-kv program takes and gives: every method's tensors in calling order. One source for all who need it.

The lowering builds its example inputs from it, the manifest records it, the host loop fills it. Loads no torch.

Shapes: T tokens of one call, S slots of a layer's ring, G key-value heads, D head width, R rows of a head's chunk.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from export.manifest_parts import CacheLayer, Method, TensorSpec
from model.config import ModelConfig

Methods = Literal["two", "one"]  # `prefill` (T = chunk) beside `forward` (T = 1), or one `forward` with T = chunk

MAX_ROWS = 16_384  # of a matrix on the Neural Engine; the table and the head are cut into chunks of at most so many


def row_chunks(vocab_size: int) -> tuple[int, ...]:
    """Rows of each chunk of the table and the head: as few and as equal as they can be."""
    count = -(-vocab_size // MAX_ROWS)
    size, longer = divmod(vocab_size, count)
    return tuple(size + (i < longer) for i in range(count))


def static_methods(
    config: ModelConfig, layers: Sequence[CacheLayer], *, chunk: int, methods: Methods
) -> dict[str, Method]:
    """The methods of a static-kv program.

    Args:
        layers: the manifest's caches.
        chunk: tokens of a prefill step; of the only method, if there is one.
    """
    lengths = {"prefill": chunk, "forward": 1} if methods == "two" and chunk > 1 else {"forward": chunk}
    return {
        name: Method(inputs=tuple(_inputs(config, layers, length)), outputs=tuple(_outputs(config, layers, length)))
        for name, length in lengths.items()
    }


def _inputs(config: ModelConfig, layers: Sequence[CacheLayer], length: int) -> Iterator[TensorSpec]:
    """Tokens, which of them is the last, their rows, a mask a kind of layer, then keys and values layer by layer."""
    yield _spec("tokens", "int32", (1, length))
    yield _spec("last", "float16", (1, length))  # 1 at the token whose logits are wanted, else 0
    for name in ("cos", "sin"):
        yield _spec(name, "float16", (length, config.head_dim // 2))
    if config.temperature_floor and config.no_rope_layers:
        yield _spec("temperature", "float16", (length, 1))
    for kind in ("local", "global"):
        slots = next((layer.slots for layer in layers if layer.kind == kind), None)
        if slots is not None:
            yield _spec(f"mask_{kind}", "float16", (length, slots + length))  # the ring's slots, then the new tokens
    for layer in layers:
        for side in ("k", "v"):
            shape = (1, config.num_kv_heads, layer.slots, config.head_dim)
            yield _spec(f"{side}_cache_{layer.layer}", "float16", shape)


def _outputs(config: ModelConfig, layers: Sequence[CacheLayer], length: int) -> Iterator[TensorSpec]:
    """Logits, in as many pieces as the head has chunks, then the new tokens' keys and values layer by layer."""
    rows = row_chunks(config.vocab_size)
    for i, count in enumerate(rows):
        yield _spec(f"logits_{i}" if len(rows) > 1 else "logits", "float16", (1, count))
    for layer in layers:
        for side in ("k", "v"):
            yield _spec(f"{side}_new_{layer.layer}", "float16", (1, config.num_kv_heads, length, config.head_dim))


def _spec(name: str, dtype: Literal["int32", "float16"], shape: tuple[int, ...]) -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape, dynamic=())
