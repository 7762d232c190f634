"""Figures as a reader sees them: three digits, a real minus, the interval behind the value. Loads no torch."""

import math

from evaluation.scores import Interval


def digits(value: float, count: int = 3) -> str:
    """A number with that many significant digits and no exponent between 1e-4 and 1e7."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞" if value < 0 else "?"
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude < -4 or magnitude >= 7:
        mantissa, _, exponent = f"{value:.{count - 1}e}".partition("e")
        return f"{mantissa}e{int(exponent)}".replace("-", "−")
    rounded = round(value, count - 1 - magnitude)
    places = max(0, count - 1 - math.floor(math.log10(abs(rounded))))  # 99.95 has become 100
    return f"{rounded:,.{places}f}".replace("-", "−")


def fixed(value: float, places: int) -> str:
    """A number with that many places behind the point."""
    if not math.isfinite(value):
        return digits(value)
    text = f"{value:,.{places}f}"
    if float(text.replace(",", "")) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "−")


def span(found: Interval, places: int | None = None) -> str:
    """`0.21 (0.20 to 0.22)`: as many places everywhere, by default as three digits of the value need."""
    if places is None:
        places = places_of(found.value)
    return f"{fixed(found.value, places)} ({bounds(found, places)})"


def bounds(found: Interval, places: int) -> str:
    """`0.20 to 0.22`; one document alone has no interval."""
    if math.isnan(found.low) or math.isnan(found.high):
        return "no interval"
    return f"{fixed(found.low, places)} to {fixed(found.high, places)}"


def places_of(value: float, count: int = 3) -> int:
    """Places behind the point that show a value with that many digits, at most six."""
    if value == 0 or not math.isfinite(value):
        return count - 1
    return min(6, max(0, count - 1 - math.floor(math.log10(abs(value)))))


def scaled(found: Interval, factor: float) -> Interval:
    """The same in another unit; a negative factor turns the bounds round."""
    low, high = sorted((found.low * factor, found.high * factor))
    return Interval(value=found.value * factor, low=low, high=high)


def percent(share: Interval, places: int = 1) -> str:
    """A share as `93.1 % (88.0 to 97.2)`."""
    found = scaled(share, 100)
    return f"{fixed(found.value, places)} % ({bounds(found, places)})"


def perplexity_change(nll: Interval) -> Interval:
    """A difference in nats a token as the per cent by which the first perplexity is higher."""
    low, high = (100 * math.expm1(min(bound, 700.0)) for bound in (nll.low, nll.high))
    return Interval(value=100 * math.expm1(min(nll.value, 700.0)), low=low, high=high)


def higher(nll: Interval) -> str:
    """`17.9 % (16.5 to 19.2) higher` or `lower`, of perplexities, from a difference in nats a token."""
    found = perplexity_change(nll)
    word = "higher"
    if found.value < 0:
        found, word = scaled(found, -1), "lower"
    places = 1 if found.value >= 1 else 2
    return f"{fixed(found.value, places)} % ({bounds(found, places)}) {word}"


def size(num_bytes: int) -> str:
    """Bytes for people: MB and kB are powers of ten."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if num_bytes >= unit:
            return f"{digits(num_bytes / unit)} {name}"
    return f"{num_bytes} bytes"
