"""How many slots a layer keeps, against the rule in docs/architecture.md and the caches that are really made."""

import pytest

from chat.ring import cache_shape
from model.cache import RingKVCache, make_caches
from model.cache_shape import cache_slots, cache_window
from model.config import PRESETS

PRO = PRESETS["mobilellm-pro"]


@pytest.mark.parametrize("bounded, global_slots", [(False, 8319), (True, 8192)])
def test_the_big_model_keeps_the_slots_of_the_rule(bounded: bool, global_slots: int) -> None:
    slots = [cache_slots(PRO, i, context=8192, chunk=128, bounded=bounded) for i in range(30)]
    assert slots == [global_slots if PRO.is_global(i) else 639 for i in range(30)]


def test_a_context_below_the_window_shortens_local_layers_too() -> None:
    assert cache_window(PRO, 1, 300) == 300 and cache_window(PRO, 0, 300) == 300
    assert cache_slots(PRO, 1, context=300, chunk=16, bounded=False) == 315
    assert cache_slots(PRO, 1, context=300, chunk=16, bounded=True) == 300  # nothing ever leaves the window


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
