"""From logits to the next id in plain doubles, with random numbers that every language repeats: xoshiro256**.

The arithmetic and its order are those of the native runner (runner/sampler.cpp), so a seed gives the same ids there,
here and in Swift. V vocabulary.
"""

import heapq
import math
import secrets
from collections.abc import Sequence

_WORD = (1 << 64) - 1  # arithmetic is modulo 2^64: `&+` and `&*` in Swift, plain ULong in Kotlin


class SplitMix64:
    """Fills the state of the other generator (Steele, Lea, Flood: Fast splittable pseudorandom number generators)."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def next(self) -> int:
        """The next 64 bits."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _WORD
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _WORD
        return z ^ (z >> 31)


class Xoshiro256:
    """xoshiro256** 1.0 (Blackman, Vigna: Scrambled linear pseudorandom number generators, arXiv 1805.01407)."""

    def __init__(self, state: Sequence[int]) -> None:
        self._a, self._b, self._c, self._d = state

    @classmethod
    def seeded(cls, seed: int) -> "Xoshiro256":
        """The generator whose state SplitMix64 makes of a seed."""
        filler = SplitMix64(seed)
        return cls([filler.next() for _ in range(4)])

    def next(self) -> int:
        """The next 64 bits."""
        result = (_rotated((self._b * 5) & _WORD, 7) * 9) & _WORD
        shifted = (self._b << 17) & _WORD
        self._c ^= self._a
        self._d ^= self._b
        self._b ^= self._c
        self._a ^= self._d
        self._c ^= shifted
        self._d = _rotated(self._d, 45)
        return result

    def uniform(self) -> float:
        """A double in [0, 1), a multiple of 2^-53."""
        return (self.next() >> 11) * 2.0**-53


def _rotated(word: int, by: int) -> int:
    return ((word << by) | (word >> (64 - by))) & _WORD


class SeededSampler:
    """Picks ids one at a time; holds the random state.

    Args:
        temperature: 0 always takes the likeliest.
        top_p: keep the smallest set of ids whose probability reaches it (Holtzman et al., arXiv 1904.09751).
        seed: None draws one from the system.

    Raises:
        ValueError: a temperature that is negative or not finite, a top_p outside (0, 1], or a seed that is no integer
            from 0 to 2**63 - 1.
    """

    def __init__(self, *, temperature: float = 0.0, top_p: float = 1.0, seed: int | None = None) -> None:
        if not 0 <= temperature < math.inf:
            raise ValueError(f"temperature is {temperature}; it must be 0 (greedy) or more, and finite")
        if not 0 < top_p <= 1:
            raise ValueError(f"top_p is {top_p}; it must lie in (0, 1]")
        if seed is not None and (type(seed) is not int or not 0 <= seed < 2**63):
            raise ValueError(f"seed is {seed!r}; it must be an integer from 0 to 2**63 - 1")
        self._temperature, self._top_p = temperature, top_p
        self._random = Xoshiro256.seeded(secrets.randbits(63) if seed is None else seed)

    def pick(self, logits_V: Sequence[float]) -> int:
        """The next id from one position's logits [V]: the first of the largest, or drawn.

        1. Weights are exp((logit - largest) / temperature), summed up in the order of the ids.
        2. Below a `top_p` of 1 ids are kept from the heaviest down (of equals the first id) while the weight kept is
           less than `top_p` times the sum; they are then gone through from the lightest kept one up.
        3. One random number in [0, 1), times the weight kept; each id's weight is taken off it in turn, and the id that
           makes it negative is drawn. Rounding alone can leave a rest: then the likeliest.

        Raises:
            ValueError: a logit is NaN, or the largest is infinite: the model's numbers have overflowed.
        """
        best = likeliest(logits_V)
        if self._temperature == 0:
            return best
        largest = logits_V[best]
        weights = [math.exp((logit - largest) / self._temperature) for logit in logits_V]
        total = 0.0
        for weight in weights:
            total += weight
        order: Sequence[int] = range(len(weights))
        kept = total
        if self._top_p < 1:
            order, kept = _nucleus(weights, self._top_p * total)
        left = self._random.uniform() * kept
        for token in order:
            left -= weights[token]
            if left < 0:
                return token
        return best


def likeliest(logits_V: Sequence[float]) -> int:
    """The id of the largest logit, the first of equals.

    Raises:
        ValueError: see `SeededSampler.pick`.
    """
    largest, best = -math.inf, 0
    has_nan = False
    for token, logit in enumerate(logits_V):
        has_nan = has_nan or math.isnan(logit)
        if logit > largest:
            largest, best = logit, token
    if has_nan or not math.isfinite(largest):
        shown = "nan" if has_nan else largest
        raise ValueError(
            f"the model's largest logit is {shown}: its numbers have overflowed; check the checkpoint's weights"
        )
    return best


def _nucleus(weights: Sequence[float], wanted: float) -> tuple[list[int], float]:
    """The ids kept, the lightest first, and the sum of their weights. A heap sorts no more of them than are kept."""
    heaviest = [(-weight, token) for token, weight in enumerate(weights)]
    heapq.heapify(heaviest)
    kept, total = [], 0.0
    while heaviest and total < wanted:
        _, token = heapq.heappop(heaviest)
        kept.append(token)
        total += weights[token]
    return kept[::-1], total
