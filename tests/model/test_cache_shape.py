"""How many slots a layer keeps, against the rule in docs/architecture.md and the caches that are really made."""

import pytest

from chat.ring import CacheShape, cache_shape
from model.cache import RingKVCache, make_caches
from model.cache_shape import layer_cache
from model.config import PRESETS

PRO = PRESETS["mobilellm-pro"]


@pytest.mark.parametrize("bounded, global_slots", [(False, 8319), (True, 8192)])
def test_the_big_model_keeps_the_slots_of_the_rule(bounded: bool, global_slots: int) -> None:
    slots = [layer_cache(PRO, i, context=8192, chunk=128, bounded=bounded).slots for i in range(30)]
    assert slots == [global_slots if PRO.is_global(i) else 639 for i in range(30)]


def test_a_context_below_the_window_shortens_local_layers_too() -> None:
    endless = [layer_cache(PRO, i, context=300, chunk=16, bounded=False) for i in (0, 1)]
    bounded = [layer_cache(PRO, i, context=300, chunk=16, bounded=True) for i in (0, 1)]
    assert endless == [CacheShape(slots=315, window=300, wraps=True)] * 2
    assert bounded == [CacheShape(slots=300, window=300, wraps=False)] * 2  # nothing ever leaves the window


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("context, chunk", [(64, 1), (64, 16), (128, 128), (129, 16), (1000, 7)])
def test_the_caches_made_have_the_shapes_that_the_apps_compute(bounded: bool, context: int, chunk: int) -> None:
    config = PRESETS["nano"]
    for layer, cache in enumerate(make_caches(config, context=context, chunk=chunk, bounded=bounded)):
        is_local = not config.is_global(layer) and context > config.sliding_window
        shape = cache_shape(
            "local" if is_local else "global",
            window=config.sliding_window,
            chunk=chunk,
            context=context,
            is_endless=not bounded,
        )
        assert (cache.slots, cache.window, isinstance(cache, RingKVCache)) == (shape.slots, shape.window, shape.wraps)
