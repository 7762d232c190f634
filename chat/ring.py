"""Which slot of a cache holds which position, and what a query sees: integers only, no tensors.

The token at position p lies in slot `p mod slots`. A cache that never wraps is the case where positions stay below
`slots`. Every dividend below is non-negative, so a remainder that truncates like C's gives the same numbers; Kotlin
and Swift must use 64-bit integers, for positions of an endless chat pass 2^31.
"""

from dataclasses import dataclass
from typing import Literal

EMPTY = -1  # in `positions_held`: nothing was written to this slot yet


@dataclass(frozen=True, kw_only=True)
class CacheShape:
    """One layer's cache.

    Raises:
        ValueError: a number below 1, or fewer slots than the window.
    """

    slots: int  # positions that it stores
    window: int  # positions that a query sees, its own included
    wraps: bool  # whether it is a ring

    def __post_init__(self) -> None:
        for name, value in (("slots", self.slots), ("window", self.window)):
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        if self.window > self.slots:
            raise ValueError(f"a window of {self.window} does not fit into {self.slots} slots; give it that many slots")

    @property
    def max_chunk(self) -> int:
        """The most tokens that may be written at once without hiding a position that one of them sees."""
        return self.slots - self.window + 1 if self.wraps else self.slots


def cache_shape(
    kind: Literal["local", "global"], *, window: int, chunk: int, context: int, is_endless: bool
) -> CacheShape:
    """The cache of a layer, by the rule in docs/architecture.md.

    Args:
        kind: a local layer sees `window` positions, a global one `context`.
        window: positions that a local layer sees.
        chunk: the most tokens written in one step.
        context: positions that a global layer sees.
        is_endless: whether global layers are rings.

    Raises:
        ValueError: a number below 1, or an unknown kind.
    """
    if chunk < 1:
        raise ValueError(f"chunk is {chunk}; it must be at least 1")
    if kind == "local":
        return CacheShape(slots=window + chunk - 1, window=window, wraps=True)
    if kind != "global":
        raise ValueError(f"unknown layer kind {kind!r}; it is 'local' or 'global'")
    if is_endless:
        return CacheShape(slots=context + chunk - 1, window=context, wraps=True)
    return CacheShape(slots=context, window=context, wraps=False)


def slots_of(position: int, count: int, slots: int) -> list[int]:
    """The slots that the tokens at `position .. position + count - 1` are written to.

    Raises:
        ValueError: a negative number, or more tokens than slots (they would overwrite each other).
    """
    if position < 0 or count < 0 or slots < 1:
        raise ValueError(f"position {position}, count {count} and slots {slots} must be >= 0, >= 0 and >= 1")
    if count > slots:
        raise ValueError(f"{count} tokens do not fit into {slots} slots at once; write them in smaller chunks")
    return [(position + i) % slots for i in range(count)]


def positions_held(end: int, slots: int) -> list[int]:
    """For each slot the position that it holds once positions `0 .. end - 1` were written, or EMPTY.

    Raises:
        ValueError: a negative number of positions, or no slot.
    """
    if end < 0 or slots < 1:
        raise ValueError(f"end {end} and slots {slots} must be >= 0 and >= 1")
    if end == 0:
        return [EMPTY] * slots
    last = end - 1
    newest = last % slots
    held = [last - (newest - slot + slots) % slots for slot in range(slots)]
    return [position if position >= 0 else EMPTY for position in held]


def visible_positions(position: int, window: int) -> range:
    """The positions that a query at `position` sees, its own included.

    Raises:
        ValueError: a negative position, or a window below 1.
    """
    if position < 0 or window < 1:
        raise ValueError(f"position {position} and window {window} must be >= 0 and >= 1")
    return range(max(0, position - window + 1), position + 1)


def visible_slots(position: int, count: int, shape: CacheShape) -> list[list[bool]]:
    """The attention mask of a chunk, read after the chunk was written: one row a query, one column a slot.

    Raises:
        ValueError: the chunk is larger than the cache allows, or it passes the end of a cache that does not wrap.
    """
    if count > shape.max_chunk:
        raise ValueError(
            f"a chunk of {count} tokens needs {shape.window + count - 1} slots for a window of "
            f"{shape.window}, but there are {shape.slots}; write at most {shape.max_chunk} tokens at once"
        )
    if not shape.wraps and position + count > shape.slots:
        raise ValueError(
            f"positions {position} to {position + count - 1} pass the end of a cache of {shape.slots} "
            "positions that does not wrap; start a new chat"
        )
    held = positions_held(position + count, shape.slots)
    return [[p in visible_positions(q, shape.window) for p in held] for q in range(position, position + count)]
