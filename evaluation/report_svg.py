"""Pieces of the report's drawings: scales, ticks, marks and a picture with words for those who do not see it.

Colours come from the page's style by class, so a drawing follows light and dark. Every drawing is `WIDTH` units wide,
which is about a phone's width in CSS pixels, so its text keeps its size there. Loads no torch.
"""

import math
from collections.abc import Callable, Sequence
from html import escape

WIDTH = 340
LEFT, RIGHT = 8.0, 332.0  # where data may stand
_LETTER = 6.6  # average width of a letter of the style's 12 units, a little on the wide side

Scale = Callable[[float], float]
MARKS = ("square", "circle", "triangle", "diamond", "cross")
GLYPHS = {"square": "■", "circle": "●", "triangle": "▲", "diamond": "◆", "cross": "✚"}


def picture(name: str, title: str, description: str, parts: Sequence[str], height: float) -> str:
    """An `<svg>` with a title and a description.

    Args:
        name: makes the ids of title and description unique on the page.
        description: what the picture shows, with its figures.
    """
    return (
        f'<svg role="img" viewBox="0 0 {WIDTH} {number(height)}" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
        f"{''.join(parts)}</svg>"
    )


def linear(low: float, high: float, start: float = LEFT, end: float = RIGHT) -> Scale:
    """Values to places; a range without extent is widened."""
    if not high > low:
        low, high = low - 0.5, low + 0.5
    return lambda value: start + (min(max(value, low), high) - low) / (high - low) * (end - start)


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About that many round numbers from `low` to `high`."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_text(value: float, step: float) -> str:
    """A tick with the places that its step needs."""
    places = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0
    places += 1 if step > 0 and abs(round(step * 10**places) - step * 10**places) > 1e-6 else 0
    return f"{value + 0.0:,.{places}f}".replace("-", "−")


def axis(scale: Scale, values: Sequence[float], texts: Sequence[str], top: float, bottom: float) -> list[str]:
    """Grid lines with their numbers below."""
    parts = []
    for value, words in zip(values, texts, strict=True):
        x = scale(value)
        parts.append(line(x, top, x, bottom, "grid"))
        half = len(words) * _LETTER / 2
        parts.append(text(min(max(x, half), WIDTH - half), bottom + 14, words, "tick", anchor="middle"))
    return parts


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}" class="{style}"/>'


def text(x: float, y: float, words: str, style: str = "label", *, anchor: str = "start") -> str:
    return f'<text x="{number(x)}" y="{number(y)}" class="{style}" text-anchor="{anchor}">{escape(words)}</text>'


def bar(x: float, y: float, width: float, height: float, style: str) -> str:
    return (
        f'<rect x="{number(x)}" y="{number(y)}" width="{number(max(width, 1))}" height="{number(height)}" '
        f'class="{style}"/>'
    )


def path(points: Sequence[tuple[float, float]], style: str, *, closed: bool = False) -> str:
    steps = " ".join(f"{number(x)} {number(y)}" for x, y in points)
    return f'<path d="M{steps}{"Z" if closed else ""}" class="{style}"/>'


def mark(x: float, y: float, shape: str, style: str, *, radius: float = 5) -> str:
    """One of `MARKS`, told apart by its shape as well as by its colour."""
    if shape == "circle":
        return f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(radius)}" class="{style}"/>'
    r = radius
    corners = {
        "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        "triangle": [(0, -1.15), (1.1, 0.85), (-1.1, 0.85)],
        "diamond": [(0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)],
        "cross": [
            (-0.4, -1.1), (0.4, -1.1), (0.4, -0.4), (1.1, -0.4), (1.1, 0.4), (0.4, 0.4),
            (0.4, 1.1), (-0.4, 1.1), (-0.4, 0.4), (-1.1, 0.4), (-1.1, -0.4), (-0.4, -0.4),
        ],
    }[shape]  # fmt: skip
    return path([(x + dx * r, y + dy * r) for dx, dy in corners], style, closed=True)


def shortened(words: str, width: float = WIDTH - 2 * LEFT) -> str:
    """Words that fit into a width; what is left out of the middle becomes an ellipsis."""
    room = int(width / _LETTER)
    if len(words) <= room:
        return words
    head = room // 2
    return f"{words[:head]}…{words[len(words) - (room - head - 1) :]}"


def number(value: float) -> str:
    """A coordinate with two places at most."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
