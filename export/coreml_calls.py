"""Which calls `verify` makes of a CoreML program, and with which ids: enough to overwrite every ring, or a few."""

import itertools
from collections.abc import Iterator

import torch

from export.manifest import Manifest

SMALL = 100_000_000  # parameters up to which every ring is crossed when nobody says how many calls to make
_AROUND = 2  # decodes before the slot that a ring overwrites first, and after it
_SEED = 6


def call_sizes(manifest: Manifest, steps: int | None = None) -> list[int]:
    """Tokens of each call of a prompt that begins at position 0.

    A small model fills each ring in chunks, decodes one by one over the slot that is overwritten first, and takes a
    chunk across it. A large one, or fewer calls than that takes, decodes a token, takes one padded chunk (if the
    program has chunks), and decodes again.

    Args:
        steps: so many calls at most; more than the plan has repeat its last chunk and decodes.
    """
    chunk, context = manifest.chunk, manifest.context
    room = context.tokens if context.kind == "bounded" else None
    few, whole = [1, max(1, chunk - 1), 1], list(_across_rings(manifest))
    if steps is None:
        plan = whole if manifest.model.parameters <= SMALL else few
    else:
        plan = list(
            itertools.islice(itertools.chain(whole if steps >= len(whole) else [], itertools.cycle(few)), steps)
        )
    sizes: list[int] = []
    for size in plan:
        left = size if room is None else min(size, room - sum(sizes))
        if left < 1:
            break
        sizes.append(left)
    return sizes


def _across_rings(manifest: Manifest) -> Iterator[int]:
    chunk, at = manifest.chunk, 0
    yield 1
    at += 1
    for slots in ring_lengths(manifest):
        while at < slots - _AROUND:
            size = min(chunk, slots - _AROUND - at)
            yield size
            at += size
        for size in (*[1] * (2 * _AROUND), max(1, chunk - 1), chunk, 1, 1):
            yield size
            at += size
    if not ring_lengths(manifest):
        for size in (chunk, max(1, chunk - 1), 1, 1):
            yield size


def ring_lengths(manifest: Manifest) -> list[int]:
    return sorted({layer.slots for layer in manifest.cache.layers if layer.ring})


def token_ids(manifest: Manifest, count: int) -> list[int]:
    """The golden prompt and its reply, which the model is at home with, then ids by chance."""
    golden = [*manifest.golden.prompt_ids, *manifest.golden.ids][:count]
    generator = torch.Generator().manual_seed(_SEED)
    rest = torch.randint(manifest.model.config.vocab_size, (count - len(golden),), generator=generator)
    return golden + [int(token) for token in rest]
