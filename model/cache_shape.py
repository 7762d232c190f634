"""How many slots each layer's cache needs. Loads no torch."""

from model.config import ModelConfig


def cache_window(config: ModelConfig, layer: int, context: int) -> int:
    """How many positions a layer sees when global layers keep `context` of them."""
    return context if config.is_global(layer) else min(config.sliding_window, context)


def cache_slots(config: ModelConfig, layer: int, *, context: int, chunk: int, bounded: bool) -> int:
    """Slots of a layer's cache; see docs/architecture.md, "The cache"."""
    window = cache_window(config, layer, context)
    if bounded and window >= context:
        return context
    return window + chunk - 1
