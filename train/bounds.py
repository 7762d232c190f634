"""Checks of a run file's numbers, whose errors name the key. Loads no torch."""

import math
from typing import Any


def at_least(name: str, value: Any, least: int) -> None:
    if type(value) is not int:
        raise ValueError(f"{name} is {value!r}; it must be an integer")
    if value < least:
        raise ValueError(f"{name} is {value}; it must be at least {least}")


def number(name: str, value: Any, *, above: float | None = None, below: float = math.inf) -> None:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}; it must be a finite number")
    least = 0.0 if above is None else above
    if value < least or (above is not None and value == above) or value >= below:
        bound = f"above {above:g}" if above is not None else "at least 0"
        raise ValueError(
            f"{name} is {value}; it must be {bound}" + (f" and below {below:g}" if below < math.inf else "")
        )
