"""The shape of each layer's cache, by the one rule of chat/ring.py. Loads no torch."""

from chat.ring import CacheShape, cache_shape
from model.config import ModelConfig


def layer_cache(config: ModelConfig, layer: int, *, context: int, chunk: int, bounded: bool) -> CacheShape:
    """Slots, window and whether it wraps; see docs/architecture.md, "The cache".

    A local layer whose window is no shorter than a bounded context is kept as a global one: nothing ever leaves it.
    """
    window = min(config.sliding_window, context)
    is_whole = config.is_global(layer) or (bounded and window == context)
    return cache_shape(
        "global" if is_whole else "local", window=window, chunk=chunk, context=context, is_endless=not bounded
    )
