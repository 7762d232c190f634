"""The drawings of a comparison: figures with their intervals, KL by token, layers, sizes. Loads no torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from evaluation.comparison import HISTOGRAM_EDGES, Role
from evaluation.report import Comparison, LayerNoise, Row
from evaluation.report_svg import (
    LEFT,
    MARKS,
    RIGHT,
    Scale,
    axis,
    bar,
    line,
    linear,
    mark,
    path,
    picture,
    shortened,
    text,
    tick_text,
    ticks,
)
from evaluation.report_words import digits, fixed, places_of, size, span
from evaluation.scores import Interval

MOST_SERIES = len(MARKS)
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_ROW = 40.0  # height of a labelled row
_SHAPES: dict[Role, str] = {"float": "diamond", "ptq": "square", "qat": "circle"}


@dataclass(frozen=True, kw_only=True)
class Series:
    """A thing that is drawn with others in one picture: its colour and shape on the whole page."""

    name: str
    shape: str
    style: str  # "s0" ...


def series_of(found: Comparison) -> list[Series]:
    """The best PTQ and every QAT thing, as many as can be told apart; without a PTQ or QAT whatever else there is."""
    names = [name for name in (found.selection.best_ptq,) if name] + [r.name for r in found.rows if r.role == "qat"]
    names += [row.name for row in found.rows if row.role == "ptq" and row.name not in names and len(names) < 2]
    return [Series(name=n, shape=MARKS[i], style=f"s{i}") for i, n in enumerate(names[:MOST_SERIES])]


def interval_chart(
    name: str, title: str, rows: Sequence[tuple[Row, Interval]], *, unit: str = "", reference: float | None = None
) -> str:
    """A row a thing: its value as a mark, its interval as a line.

    Args:
        reference: where the float model stands, as a line through all rows.
    """
    values = [value for _, found in rows for value in _finite(found)] + ([] if reference is None else [reference])
    low, high = min(values), max(values)
    if 0 < low < 0.35 * high:
        low = 0.0
    margin = 0.04 * (high - low)
    scale, bottom = linear(low - (margin if low else 0), high + margin), _ROW * len(rows) + 4
    marks = ticks(low, high)
    step = marks[1] - marks[0] if len(marks) > 1 else abs(low)
    places = max(1, *(places_of(found.value, 2) for _, found in rows))
    parts = axis(scale, marks, [tick_text(value, step) for value in marks], 2, bottom)
    if reference is not None:
        parts.append(line(scale(reference), 2, scale(reference), bottom, "reference"))
    words = []
    for number, (row, found) in enumerate(rows):
        y, bounds = _ROW * number + 32, _finite(found)
        parts.append(text(LEFT, y - 14, shortened(row.name, 250)))
        parts.append(text(RIGHT, y - 14, f"{fixed(found.value, places)}{unit}", anchor="end"))
        parts.append(line(scale(bounds[0]), y, scale(bounds[-1]), y, f"whisker {row.role}"))
        parts.append(mark(scale(found.value), y, _SHAPES[row.role], f"mark {row.role}"))
        words.append(f"{row.name} ({row.role}) {span(found, places)}{unit}")
    description = f"{title}, with 95 % intervals. {'; '.join(words)}."
    return picture(name, title, description, parts, bottom + 20)


def size_chart(name: str, title: str, rows: Sequence[Row]) -> str:
    """Bars of bytes on disk."""
    scale = linear(0, max(row.bytes for row in rows))
    parts, words = [], []
    for number, row in enumerate(rows):
        y = _ROW * number + 18
        parts.append(text(LEFT, y, shortened(row.name, 250), "label strong" if row.role == "float" else "label"))
        parts.append(text(RIGHT, y, size(row.bytes), "label", anchor="end"))
        parts.append(bar(LEFT, y + 6, scale(row.bytes) - LEFT, 10, f"bar {row.role}"))
        words.append(f"{row.name} {size(row.bytes)}")
    return picture(name, title, f"{title}: {'; '.join(words)}.", parts, _ROW * len(rows) + 4)


def histogram_chart(name: str, title: str, found: Comparison, series: Sequence[Series]) -> str:
    """A panel a thing: the share of tokens in each bin of KL, over the outline of the first thing."""
    tokens = {histogram.name: histogram.tokens for histogram in found.histograms}
    drawn = [one for one in series if one.name in tokens]
    shares = {one.name: _shares(tokens[one.name]) for one in drawn}
    most, panel = max(max(part) for part in shares.values()), 96.0
    decades = [math.log10(edge) for edge in HISTOGRAM_EDGES]
    scale = linear(decades[0] - 0.25, decades[-1] + 0.25)
    bottom = panel * len(drawn) + 2
    labels = list(range(math.ceil(decades[0]), math.floor(decades[-1]) + 1))
    parts = axis(scale, labels, [_power(exponent) for exponent in labels], 22, bottom)
    words = []
    for number, one in enumerate(drawn):
        floor = panel * (number + 1)
        height = linear(0, most, 0, panel - 30)
        outline = _steps(shares[one.name], scale, floor, height)
        parts.append(
            path([*outline, (outline[-1][0], floor), (outline[0][0], floor)], f"area {one.style}", closed=True)
        )
        if number:
            parts.append(path(_steps(shares[drawn[0].name], scale, floor, height), "outline"))
        parts.append(line(LEFT, floor, RIGHT, floor, "base"))
        figures = found.row(one.name).figures
        for value, style, word in ((figures.kl_mean, "mean", "mean"), (figures.kl_p99, "tail", "p99")):
            if value is not None and value.value > 0:
                x = scale(math.log10(value.value))
                parts.append(line(x, floor - panel + 30, x, floor, style))
                is_left = word == "mean" or x > RIGHT - 30
                anchor = "end" if is_left else "start"
                parts.append(text(x - 3 if is_left else x + 3, floor - panel + 38, word, "tick", anchor=anchor))
        parts.append(mark(LEFT + 6, floor - panel + 14, one.shape, f"mark {one.style}"))
        parts.append(text(LEFT + 17, floor - panel + 18, shortened(one.name, 290), "label"))
        words.append(_histogram_words(one.name, tokens[one.name]))
    return picture(name, title, f"{title}. {' '.join(words)}", parts, bottom + 20)


def layer_chart(name: str, part: str, noise: Sequence[LayerNoise], series: Sequence[Series]) -> str:
    """One kind of matrix over the layers: dB of each thing's weights, on a scale of its own."""
    bottom, words = 130.0, []
    numbers = sorted({_layer_number(one.layer) for one in noise})
    low, high = _range_db(noise)
    across, up = linear(numbers[0], numbers[-1], LEFT + 36, RIGHT - 14), linear(low, high, bottom - 6, 34)
    parts = [text(LEFT, 14, part, "label strong"), text(RIGHT, 14, "dB", "tick", anchor="end")]
    marks = ticks(low, high, 4)
    for value in marks:
        parts.append(line(LEFT + 24, up(value), RIGHT, up(value), "grid"))
        parts.append(text(LEFT + 20, up(value) + 4, tick_text(value, marks[1] - marks[0]), "tick", anchor="end"))
    shown = numbers if len(numbers) <= 8 else numbers[:: math.ceil(len(numbers) / 8)]
    parts += [text(across(value), bottom + 16, str(value), "tick", anchor="middle") for value in shown]
    for place, one in enumerate(series):
        mine = sorted((_layer_number(n.layer), n.weights_db) for n in noise if n.thing == one.name)
        aside = 5.0 * (place - (len(series) - 1) / 2)  # equal things would hide each other
        points = [(across(number) + aside, up(min(decibels, high))) for number, decibels in mine]
        if not points:
            continue
        parts.append(path(points, f"thread {one.style}"))
        parts += [mark(x, y, one.shape, f"mark {one.style}", radius=4) for x, y in points]
        values = [decibels for _, decibels in mine]
        words.append(f"{one.name} {fixed(min(values), 1)} to {fixed(max(values), 1)} dB")
    title = f"Signal to noise of {part} over the layers"
    return picture(name, title, f"{title}: {'; '.join(words)}.", parts, bottom + 22)


def _range_db(noise: Sequence[LayerNoise]) -> tuple[float, float]:
    """Multiples of five around all values, ten apart at least; what differs in nothing stands at the top."""
    values = [one.weights_db for one in noise if math.isfinite(one.weights_db)] or [0.0]
    low, high = 5.0 * math.floor(min(values) / 5), 5.0 * math.ceil(max(values) / 5)
    return low, max(high, low + 10)


def split_layers(found: Comparison) -> tuple[dict[str, list[LayerNoise]], list[LayerNoise]]:
    """The matrices that every layer has, by kind, and those that stand alone (tables)."""
    kinds: dict[str, list[LayerNoise]] = {}
    single = []
    for noise in found.layers:
        if noise.layer.startswith("layers."):
            kinds.setdefault(noise.layer.split(".", 2)[2], []).append(noise)
        else:
            single.append(noise)
    return kinds, single


def _layer_number(layer: str) -> int:
    return int(layer.split(".")[1])


def _finite(found: Interval) -> list[float]:
    return sorted(value for value in (found.low, found.value, found.high) if math.isfinite(value))


def _shares(tokens: Sequence[int]) -> list[float]:
    return [count / max(1, sum(tokens)) for count in tokens]


def _steps(shares: Sequence[float], scale: Scale, floor: float, height: Scale) -> list[tuple[float, float]]:
    """The outline of a histogram whose first and last bin are a quarter of a decade wide like all the others."""
    edges = [math.log10(edge) for edge in HISTOGRAM_EDGES]
    edges = [edges[0] - 0.25, *edges, edges[-1] + 0.25]
    points = []
    for left, right, share in zip(edges[:-1], edges[1:], shares, strict=True):
        points += [(scale(left), floor - height(share)), (scale(right), floor - height(share))]
    return points


def _power(exponent: int) -> str:
    """Every second power of ten, spelt."""
    if exponent % 2:
        return ""
    return {0: "1", -2: "0.01"}.get(exponent, f"10{str(exponent).translate(_SUPERSCRIPT)}")


KL_BOUNDS = (0.001, 0.01, 0.1, 1.0)  # nats; edges of the histogram


def shares_between(tokens: Sequence[int]) -> list[float]:
    """Shares of tokens below the first of `KL_BOUNDS`, between neighbours, and above the last."""
    places = [round(4 * math.log10(bound)) - round(4 * math.log10(HISTOGRAM_EDGES[0])) + 1 for bound in KL_BOUNDS]
    return [sum(tokens[start:end]) / max(1, sum(tokens)) for start, end in pairwise([0, *places, len(tokens)])]


def _histogram_words(name: str, tokens: Sequence[int]) -> str:
    shares = shares_between(tokens)
    near, far = digits(100 * sum(shares[:2])), digits(100 * shares[-1])
    return f"{name}: {near} % of tokens below {KL_BOUNDS[1]} nats, {far} % above 1."
