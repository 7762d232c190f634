"""The drawing of a sensitivity, read back from its file: every cell, no text over another, readable, nothing loaded.

What a browser makes of it: tests/pages/test_sensitivity_in_a_browser.py.
"""

import dataclasses
import itertools
import re
import xml.etree.ElementTree as ET

import pytest

from evaluation.report_style import STYLE
from evaluation.scores import Interval
from evaluation.sensitivity_chart import to_svg
from tests.evaluation.synthetic_sensitivity import KINDS, make_cost, make_sensitivity

SVG = "{http://www.w3.org/2000/svg}"
LETTER = {"cell": 6.0, "tick": 6.05, "head": 8.4}  # widest average of a letter, in units; else 6.6


def texts(svg: str) -> list[tuple[float, float, float, float, str]]:
    """The box of each text: left, top, right, bottom, words."""
    boxes = []
    for element in ET.fromstring(svg).iter(f"{SVG}text"):
        words, x, y = element.text or "", float(element.get("x", 0)), float(element.get("y", 0))
        width = len(words) * LETTER.get(element.get("class", ""), 6.6)
        left = x - {"start": 0, "middle": width / 2, "end": width}[element.get("text-anchor", "start")]
        boxes.append((left, y - 9, left + width, y + 2, words))
    return boxes


@pytest.mark.parametrize("layers", [1, 6, 30])
def test_no_text_lies_over_another_or_outside_the_picture(layers: int) -> None:
    svg = to_svg(make_sensitivity(layers))
    height = float(re.search(r'viewBox="0 0 340 ([\d.]+)"', svg).group(1))
    boxes = texts(svg)
    for one, other in itertools.combinations(boxes, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, (one[4], other[4])
    assert all(left >= 0 and right <= 340 and bottom <= height for left, _, right, bottom, _ in boxes)


def test_each_layer_has_a_cell_for_each_matrix_and_the_most_costly_is_the_fullest() -> None:
    found = make_sensitivity(30)
    root = ET.fromstring(to_svg(found))
    cells = {}
    for group in root.iter(f"{SVG}g"):
        name = group.find(f"{SVG}title").text.split(":")[0]
        rect = group.find(f"{SVG}rect")
        cells[name] = (float(rect.get("x")), float(rect.get("y")), float(rect.get("fill-opacity")))
    assert set(cells) == {row.name for row in found.rows if row.name != "embedding"} and len(cells) == 210
    assert max(cells, key=lambda name: cells[name][2]) == "layers.2.attention.v_proj"
    assert cells["layers.0.attention.o_proj"][2] == 0
    assert len({x for x, _, _ in cells.values()}) == 7 and len({y for _, y, _ in cells.values()}) == 30
    columns = [cells[f"layers.3.{kind}"][0] for kind in KINDS]
    assert columns == sorted(columns)  # in the model's order, whatever the ranking


def test_it_stands_alone_with_a_title_a_description_and_both_schemes() -> None:
    svg = to_svg(make_sensitivity())
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    words = {element.get("id"): element.text for element in root if element.tag in (f"{SVG}title", f"{SVG}desc")}
    assert list(words) == root.get("aria-labelledby").split()
    description = words["sensitivity-desc"]
    assert "layers.2.attention.v_proj" in description and "does not simply add up" in description
    assert "prefers-color-scheme:dark" in svg
    assert not re.search(r"(?:href|src|url\(|@import|<script)", svg)
    assert to_svg(make_sensitivity()) == svg


def test_the_figures_keep_their_contrast_on_the_fullest_cell() -> None:
    for scheme in STYLE.split("prefers-color-scheme:dark")[:2]:
        colours = {name: value for name, value in re.findall(r"--(ink|ground|s0):#(\w{6})", scheme)}
        ink, ground, heat = (rgb(colours[name]) for name in ("ink", "ground", "s0"))
        below = [0.5 * a + 0.5 * b for a, b in zip(heat, ground, strict=True)]
        lighter, darker = sorted((luminance(ink), luminance(below)), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5  # WCAG 2.2, 1.4.3
    opacities = [float(x) for x in re.findall(r'fill-opacity="([\d.]+)"', to_svg(make_sensitivity()))]
    assert max(opacities) == 0.5


def rgb(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) for i in (0, 2, 4)]


def luminance(colour: list[float]) -> float:
    """WCAG 2.2's relative luminance."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_kinds_and_blocks_are_bars() -> None:
    rows = [make_cost("embedding", 0.3, pattern="embedding")]
    rows += [make_cost(f"layers.{i}", 0.01 * i, pattern=f"layers.{i}.*") for i in range(30)]
    found = dataclasses.replace(make_sensitivity(), by="block", rows=tuple(rows))
    svg = to_svg(found)
    assert svg.count('class="bar ptq"') == 31 and "heat" not in svg.split("</style>")[1]
    assert {"layers.29", "blocks added up"} <= {words for *_, words in texts(svg)}


def test_one_document_and_a_model_that_loses_nothing_can_be_drawn() -> None:
    nothing = Interval(value=0.0, low=float("nan"), high=float("nan"))
    found = make_sensitivity(2)
    rows = tuple(dataclasses.replace(row, kl=nothing) for row in found.rows)
    whole = dataclasses.replace(found.everything, kl=nothing)
    svg = to_svg(
        dataclasses.replace(
            found, rows=rows, activations=None, cache=None, weights=whole, everything=whole, sum_of_rows=nothing
        )
    )
    assert "nan" not in svg.replace("nan</", "")
    ET.fromstring(svg)
