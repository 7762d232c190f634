"""The drawings of a profile: a flame chart of one phase, and a bar for each layer. Loads no torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

from evaluation.report_svg import LEFT, RIGHT, WIDTH, number, picture, text
from runner.profile_places import GROUPS
from runner.profile_result import Phase

LEGEND_STYLE = {  # which of the style's colours a group has
    "matrices": "s1",
    "attention": "s0",
    "cache": "s2",
    "elementwise": "s3",
    "the rest": "s4",
    "outside": "float",
}
_MS = 1e6
_FLAME_WIDTH, _ROW = 1024.0, 22.0
_THINNEST = 0.6  # units: what would be thinner is drawn as one box with its neighbours
_LETTER = 6.8
_SHORTEST = 5  # letters of a name that is cut
_BAR_ROW = 20.0
_NAMES, _FIGURES = 78.0, 62.0  # width of the bars' names and figures


@dataclass
class _Box:
    """A stretch of the flame chart and what it is made of."""

    name: str
    ns: int
    style: str
    runs: int = 0
    parts: "list[_Box]" = field(default_factory=list)


def flame_chart(phase: Phase, order: Sequence[str]) -> str:
    """The whole, its stages, their groups and operators, each as wide as its time."""
    whole = _tree(phase, order)
    boxes = list(_place(whole, 0.0, _FLAME_WIDTH, 0, max(1, phase.wall_ns)))
    longest = sorted(whole.parts, key=lambda box: -box.ns)[:5]
    words = "; ".join(f"{box.name} {box.ns / _MS:.2f} ms" for box in longest)
    drawn = picture(f"flame-{phase.name}", f"Flame chart of {phase.name}", f"The longest: {words}.", boxes, 4 * _ROW)
    return drawn.replace(f'viewBox="0 0 {WIDTH} ', f'viewBox="0 0 {number(_FLAME_WIDTH)} ', 1)


def _tree(phase: Phase, order: Sequence[str]) -> _Box:
    stages = []
    for stage in order:
        groups = []
        for group in GROUPS:
            cells = sorted((c for c in phase.cells if (c.stage, c.group) == (stage, group)), key=lambda c: -c.ns)
            style = LEGEND_STYLE[group]
            parts = [_Box(cell.operator, cell.ns, style, cell.runs) for cell in cells]
            groups.append(_Box(group, sum(cell.ns for cell in cells), style, parts=parts))
        stages.append(_Box(stage, sum(group.ns for group in groups), "float", parts=groups))
    outside = [_Box(name, ns, LEGEND_STYLE["outside"]) for name, ns in phase.remainders.items()]
    return _Box(phase.name, phase.wall_ns, "float", parts=stages + outside)


def _place(box: _Box, left: float, width: float, row: int, total: int) -> Iterator[str]:
    """The box and all in it, from `left` on; neighbours that are too thin are one box."""
    yield _drawn(box, left, width, row, total)
    thin = _Box("others", 0, "float")
    scale = width / max(1, box.ns)
    for part in box.parts:
        if part.ns * scale < _THINNEST:
            thin = _Box(thin.name, thin.ns + part.ns, part.style, thin.runs + part.runs)
            continue
        yield from _place(part, left, part.ns * scale, row + 1, total)
        left += part.ns * scale
    if thin.ns * scale >= _THINNEST:
        yield _drawn(thin, left, thin.ns * scale, row + 1, total)


def _drawn(box: _Box, left: float, width: float, row: int, total: int) -> str:
    runs = f", {box.runs:,} run{'s' * (box.runs != 1)}" if box.runs else ""
    told = f"{box.name}: {box.ns / _MS:.3f} ms, {100 * box.ns / total:.1f} %{runs}"
    rect = (
        f'<rect x="{number(left)}" y="{number(row * _ROW + 1)}" width="{number(max(width, 0.3))}" '
        f'height="{number(_ROW - 2)}" class="area {box.style}"/>'
    )
    room = int((width - 6) / _LETTER)
    words = box.name.rpartition("::")[2].removeprefix("XNNPACK: ")
    if len(words) > room and words.startswith("layer "):
        words = words.removeprefix("layer ")
    if len(words) > room:
        words = f"{words[: room - 1]}…" if room >= _SHORTEST else ""
    label = text(left + 4, row * _ROW + 15, words) if words else ""
    return f"<g><title>{escape(told)}</title>{rect}{label}</g>"


def layer_bars(phase: Phase, order: Sequence[str]) -> str:
    """A bar a stage, its groups side by side, all on one scale."""
    rows = [row for row in phase.by_stage(order) if row[1] > 0]
    most = max((ns for _, ns, _ in rows), default=1)
    start, end = LEFT + _NAMES, RIGHT - _FIGURES
    parts = []
    for i, (name, ns, groups) in enumerate(rows):
        y, x = i * _BAR_ROW, start
        shown = {"between instructions": "between", "outside of the program": "outside"}.get(name, name)
        parts.append(text(LEFT, y + 14, shown))
        for group, value in groups.items() if groups else {"outside": ns}.items():
            width = value / most * (end - start)
            if width >= 0.2:
                told = f"{name}, {group}: {value / _MS:.3f} ms"
                parts.append(
                    f'<g><title>{escape(told)}</title><rect x="{number(x)}" y="{number(y + 3)}" '
                    f'width="{number(width)}" height="{number(_BAR_ROW - 6)}" class="area {LEGEND_STYLE[group]}"/></g>'
                )
            x += width
        parts.append(text(RIGHT, y + 14, f"{ns / _MS:.2f} ms", anchor="end"))
    words = "; ".join(f"{name} {ns / _MS:.2f} ms" for name, ns, _ in rows)
    return picture(f"bars-{phase.name}", f"{phase.name.capitalize()} by layer", words, parts, len(rows) * _BAR_ROW + 4)
