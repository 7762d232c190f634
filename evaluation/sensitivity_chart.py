"""The drawing of a sensitivity measurement: a heat map of layers and their matrices, and bars for all else.

One SVG file that stands alone: its own style, light and dark, nothing loaded. Loads no torch.
"""

from collections.abc import Sequence
from html import escape

from evaluation.report_style import STYLE
from evaluation.report_svg import LEFT, RIGHT, WIDTH, bar, line, linear, number, picture, shortened, text
from evaluation.report_words import digits, size, span
from evaluation.scores import Interval
from evaluation.sensitivity_result import Cost, Sensitivity, label

_CELL = 17.0  # height of a row of the heat map
_BAR = 32.0  # of a bar with its words
_NUMBERS = 30.0  # width of the layers' numbers
_FULLEST = 0.5  # how opaque the most costly cell is: its figure keeps a contrast of 4.5 in light and dark
_STYLE = """
.ground{fill:var(--ground)}
.heat{fill:var(--s0);stroke:var(--rule);stroke-width:.5}
svg .cell{font-size:10px;stroke:none;font-variant-numeric:tabular-nums}
svg .head{font-size:14px;font-weight:650}
"""


def to_svg(found: Sensitivity) -> str:
    """The picture as the text of a file."""
    matrices = [row for row in found.rows if found.by == "layer" and row.name.startswith("layers.")]
    bars = [row for row in found.rows if row not in matrices]
    title = f"What {found.recipe} costs, part by part"
    parts = [
        text(LEFT, 18, title, "head"),
        text(LEFT, 34, shortened(f"{found.checkpoint}, {found.method}", RIGHT - LEFT), "tick"),
        text(LEFT, 48, "KL to the float model in nats a token; each part alone", "tick"),
    ]
    height = 58.0
    if matrices:
        drawn, height = _heat_map(matrices, height)
        parts += drawn
    drawn, height = _bars(found, bars, height + 8)
    parts += drawn
    svg = picture("sensitivity", title, _words(found), parts, height + 6)
    return _alone(svg)


def _heat_map(matrices: Sequence[Cost], top: float) -> tuple[list[str], float]:
    """A row a layer, a column a matrix; returns the parts and where they end."""
    kinds = list(dict.fromkeys(row.name.split(".", 2)[2] for row in sorted(matrices, key=_place)))
    numbers = sorted({int(row.name.split(".")[1]) for row in matrices})
    most = max(row.kl.value for row in matrices)
    width = (RIGHT - LEFT - _NUMBERS) / len(kinds)
    parts = [text(LEFT, top + 11, "layer", "tick")]
    for column, kind in enumerate(kinds):
        words = kind.rpartition(".")[2].removesuffix("_proj")
        parts.append(text(LEFT + _NUMBERS + (column + 0.5) * width, top + 11, words, "tick", anchor="middle"))
    body = top + 16
    for row, layer in enumerate(numbers):
        parts.append(text(LEFT + _NUMBERS - 6, body + row * _CELL + 12.5, str(layer), "tick", anchor="end"))
    for one in matrices:
        _, layer_number, kind = one.name.split(".", 2)
        x = LEFT + _NUMBERS + kinds.index(kind) * width
        y = body + numbers.index(int(layer_number)) * _CELL
        share = one.kl.value / most if most > 0 else 0.0
        cell = (
            f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(_CELL)}" class="heat" '
            f'fill-opacity="{number(_FULLEST * share)}"/>'
        )
        figure = text(x + width / 2, y + 12.5, _thousandths(one.kl.value), "cell", anchor="middle")
        parts.append(f"<g><title>{escape(_told(one))}</title>{cell}{figure}</g>")
    end = body + len(numbers) * _CELL
    parts.append(text(LEFT, end + 14, "in thousandths of a nat; the stronger, the more costly", "tick"))
    return parts, end + 20


def _bars(found: Sensitivity, rows: Sequence[Cost], top: float) -> tuple[list[str], float]:
    """A bar a row with its interval as a line, then those of activations, cache, the rows' sum and all together."""
    drawn: list[tuple[str, Interval, str]] = [(label(row), row.kl, "ptq") for row in rows]
    drawn += [(label(cost), cost.kl, "qat") for cost in (found.activations, found.cache) if cost is not None]
    drawn.append((_sum_label(found), found.sum_of_rows, "float"))
    drawn += [(label(cost), cost.kl, "float") for cost in found.others if cost.name in ("weights", "everything")]
    scale = linear(0, max([kl.value if kl.high != kl.high else kl.high for _, kl, _ in drawn] + [1e-12]))
    parts = []
    for i, (name, kl, style) in enumerate(drawn):
        y = top + _BAR * i
        parts.append(text(LEFT, y + 12, shortened(name, 250), "label"))
        parts.append(text(RIGHT, y + 12, digits(kl.value), "label", anchor="end"))
        parts.append(bar(LEFT, y + 17, scale(kl.value) - LEFT, 8, f"bar {style}"))
        if kl.low == kl.low:
            parts.append(line(scale(kl.low), y + 21, scale(kl.high), y + 21, "mean"))
    return parts, top + _BAR * len(drawn)


def _sum_label(found: Sensitivity) -> str:
    return {"layer": "single layers added up", "kind": "kinds added up", "block": "blocks added up"}[found.by]


def _place(row: Cost) -> int:
    """The order of matrices within a layer, as the model has them."""
    order = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    return order.index(row.name.rpartition(".")[2])


def _thousandths(value: float) -> str:
    """At most five letters, unless a layer costs 100 nats."""
    value *= 1000
    if value == 0:
        return "0"
    return "<.01" if value < 0.01 else digits(value, 2 if value < 1 else 3)


def _told(cost: Cost) -> str:
    saved = "" if cost.saved_bytes is None else f", saves {size(cost.saved_bytes)}"
    return f"{cost.name}: {span(cost.kl)} nats{saved}"


def _words(found: Sensitivity) -> str:
    """The picture for those who do not see it: the most costly rows and all together."""
    most = "; ".join(f"{row.name} {digits(row.kl.value)}" for row in found.rows[:5])
    others = "; ".join(f"{label(cost)} {digits(cost.kl.value)}" for cost in found.others)
    return f"KL to the float model in nats a token. The most costly: {most}. {others}. {found.sums()}"


def _alone(svg: str) -> str:
    """A drawing of the report page as a file by itself."""
    start = svg.index(">") + 1
    ground = f'<rect width="{WIDTH}" height="100%" class="ground"/>'
    opening = svg[: start - 1].replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + ">"
    words_end = svg.index("</desc>") + len("</desc>")
    style = f"<style>{escape(STYLE + _STYLE, quote=False)}</style>"
    return f"{opening}{svg[start:words_end]}{style}{ground}{svg[words_end:]}\n"
