"""The loop around a static-kv program: which method runs, what its inputs hold, which slots are written afterwards.

Such a program remembers nothing. Caches are inputs, new keys and values are outputs, and the app writes them into its
rings after each call. Integers and doubles only, no tensors: Kotlin and Swift repeat this file line by line, with
64-bit integers, for positions of an endless chat pass 2^31.

Shapes: T tokens that a call takes, S slots of a layer's cache, D head width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chat.ring import positions_held, slots_of
from chat.window import Context, context_end_sentence

MASKED = -10_000.0  # added to the score of what a query does not see; finite, because -inf gives NaN in float16
SEEN = 0.0
PADDING = 0  # the id behind the last real token
LARGEST_HALF = 65_504.0


@dataclass(frozen=True, kw_only=True)
class Rope:
    """Rotary positions; scaling as Llama 3.1 does it.

    Raises:
        ValueError: an odd or empty head, or a theta that is not positive.
    """

    theta: float
    head_dim: int
    factor: float = 0.0  # 0: no scaling, and the three below say nothing
    low_freq_factor: float = 0.0
    high_freq_factor: float = 0.0
    original_context: int = 0  # tokens

    def __post_init__(self) -> None:
        if self.head_dim < 2 or self.head_dim % 2:
            raise ValueError(f"head_dim is {self.head_dim}; rotary positions need pairs, so an even number from 2 on")
        if not self.theta > 0:
            raise ValueError(f"theta is {self.theta}; it must be above 0")


@dataclass(frozen=True, kw_only=True)
class StaticKv:
    """What the loop must know of a program; the manifest and the program's constant methods both say it.

    Raises:
        ValueError: no layer, lists of unequal length, a number below 1, kinds with several lengths, or a chunk that is
            longer than a cache.
    """

    context: Context
    vocab_size: int
    chunk: int  # T of `prefill`, or of `forward` where it is the only method
    has_prefill: bool  # two methods: `prefill` takes `chunk` tokens, `forward` takes one
    slots: tuple[int, ...]  # S of each layer
    is_global: tuple[bool, ...]  # for each layer: whether it attends over the whole context
    num_kv_heads: int
    rope: Rope
    temperature_floor: int = 0  # of layers without RoPE (Llama 4); 0: the program has no such input
    temperature_scale: float = 0.0

    def __post_init__(self) -> None:
        if not self.slots or len(self.slots) != len(self.is_global):
            raise ValueError(f"{len(self.slots)} caches and {len(self.is_global)} kinds; give one of each for a layer")
        for name, least in (("chunk", self.chunk), ("slots", min(self.slots)), ("num_kv_heads", self.num_kv_heads)):
            if least < 1:
                raise ValueError(f"{name} is {least}; it must be at least 1")
        if self.chunk > min(self.slots):
            raise ValueError(f"a chunk of {self.chunk} tokens does not fit a ring of {min(self.slots)} slots")
        for kind in (False, True):
            lengths = sorted({s for s, is_global in zip(self.slots, self.is_global, strict=True) if is_global is kind})
            if len(lengths) > 1:
                raise ValueError(f"layers of one kind have caches of {lengths} slots; one mask serves only one length")

    def kind_slots(self, *, is_global: bool) -> int | None:
        """S of the layers of a kind; None where there is no such layer."""
        return next((s for s, kind in zip(self.slots, self.is_global, strict=True) if kind is is_global), None)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of the program."""

    method: str
    length: int  # T
    position: int  # of its first token
    ids: tuple[int, ...]  # the real tokens, 1 to T of them

    @property
    def tokens(self) -> list[int]:
        """The input `tokens`: padding comes last, where causality hides it."""
        return [*self.ids, *[PADDING] * (self.length - len(self.ids))]

    @property
    def last(self) -> list[float]:
        """The input `last`: 1 at the last real token, whose logits the call gives, else 0."""
        return [1.0 if i == len(self.ids) - 1 else 0.0 for i in range(self.length)]

    def slots(self, slots: int) -> list[int]:
        """Where in a cache of `slots` slots the new keys and values of the real tokens go, AFTER the call."""
        return slots_of(self.position, len(self.ids), slots)


def calls(ids: Sequence[int], position: int, program: StaticKv) -> list[Call]:
    """The calls that write the ids from `position` on: whole chunks, then the rest.

    A single token goes through `forward` where it is the shorter method; two or more go through the chunk, padded,
    because one call costs little more than a token.

    Raises:
        ValueError: no ids, one that is none of the vocabulary, a negative position, or a bounded context that ends
            before they are written; the sentence is for the user.
    """
    if not ids:
        raise ValueError("there is nothing to run: no token ids were given")
    if position < 0:
        raise ValueError(f"position {position} is negative")
    for token in ids:
        if not 0 <= token < program.vocab_size:
            raise ValueError(f"id {token} is none of the vocabulary; ids go from 0 to {program.vocab_size - 1}")
    if program.context.kind == "bounded" and position + len(ids) > program.context.tokens:
        raise ValueError(context_end_sentence(program.context))
    result = []
    for start in range(0, len(ids), program.chunk):
        part = tuple(ids[start : start + program.chunk])
        is_single = program.has_prefill and len(part) == 1
        result.append(
            Call(
                method="prefill" if program.has_prefill and not is_single else "forward",
                length=1 if is_single else program.chunk,
                position=position + start,
                ids=part,
            )
        )
    return result


def mask(position: int, length: int, slots: int) -> list[list[bool]]:
    """What each of T queries sees: S columns for the cache as it is before the call, then T for the new tokens.

    Slot s holds the newest position c < `position` with c mod S = s, if there is one. The query at position q sees it
    if c > q - S, and new token j if it is no later than itself. As many positions as slots are visible, since a
    static-kv cache is as long as its layer's window; a chunk is no longer than that, so no new token is out of sight.
    How many tokens are real does not matter.

    Returns:
        [T][S + T]; True becomes 0 in the input, False becomes `MASKED`.
    """
    held = positions_held(position, slots)
    rows = []
    for i in range(length):
        first = position + i - slots + 1  # the oldest position that this query sees
        rows.append([p >= 0 and p >= first for p in held] + [j <= i for j in range(length)])
    return rows


def inverse_frequencies(rope: Rope) -> list[float]:
    """The D/2 angular frequencies in radians a token, doubles."""
    frequencies = []
    for i in range(rope.head_dim // 2):
        frequency = math.pow(rope.theta, -(2 * i / rope.head_dim))
        if rope.factor != 0:
            frequency = _scaled(frequency, rope)
        frequencies.append(frequency)
    return frequencies


def _scaled(frequency: float, rope: Rope) -> float:
    """Llama 3.1: low frequencies divided by the factor, high ones kept, those between blended."""
    wavelength = 2 * math.pi / frequency
    if wavelength > rope.original_context / rope.low_freq_factor:
        return frequency / rope.factor
    if wavelength < rope.original_context / rope.high_freq_factor:
        return frequency
    span = rope.high_freq_factor - rope.low_freq_factor
    smooth = (rope.original_context / wavelength - rope.low_freq_factor) / span
    return (1 - smooth) * frequency / rope.factor + smooth * frequency


def rope_rows(position: int, length: int, frequencies: Sequence[float]) -> tuple[list[list[float]], list[list[float]]]:
    """Cosines and sines of positions `position` to `position + T - 1`, doubles [T][D/2] each.

    The angle is the position times the frequency, both doubles: positions are exact up to 2^53, and there is no table.
    The rows of padding are computed like all others.
    """
    angles = [[float(position + i) * frequency for frequency in frequencies] for i in range(length)]
    return [[math.cos(a) for a in row] for row in angles], [[math.sin(a) for a in row] for row in angles]


def temperatures(position: int, length: int, *, floor: int, scale: float) -> list[float]:
    """Llama 4's factor of queries on layers without RoPE, for each of T positions; doubles."""
    return [math.log1p((position + i + 1) // floor) * scale + 1.0 for i in range(length)]


def half_bits(value: float) -> int:
    """The float16 nearest to a double, as its 16 bits; of two that are equally near the even one.

    It goes from the double at once: by way of a float32 it would be rounded twice. Swift's `Float16(value).bitPattern`
    does the same. Every step before the rounding is exact, because it scales by powers of two.

    Raises:
        ValueError: not a number, or too large for float16.
    """
    if not math.isfinite(value):
        raise ValueError(f"{value} has no float16; the settings of positions or temperature have overflowed")
    sign = 0x8000 if math.copysign(1.0, value) < 0 else 0
    if value == 0:
        return sign
    exponent = max(math.frexp(value)[1] - 1, -14)  # |value| lies in [2^exponent, 2^(exponent + 1)), or is subnormal
    units = round(math.ldexp(abs(value), 10 - exponent))  # ties to even; 1024 to 2048, or below 1024 if subnormal
    bits = units + (exponent + 14) * 1024  # the leading one of `units` raises the exponent's field by one
    if bits >= 0x7C00:
        raise ValueError(f"{value} is too large for float16, which ends at {LARGEST_HALF:.0f}")
    return sign + bits
