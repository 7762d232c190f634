"""The drawing of a sensitivity as Chromium shows it: `make pages`."""

import pytest

from evaluation.sensitivity_chart import to_svg
from tests.evaluation.synthetic_sensitivity import make_sensitivity
from tests.pages.browser import MISSING, Browser, find_browser

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

# Pairs of texts whose boxes overlap, and texts that stand out of the picture or of their cell.
OVERLAPS = """(() => {
  const texts = [...document.querySelectorAll('text')].map(t => [t.textContent, t.getBBox()]), found = [];
  const over = (a, b) => a.x < b.x + b.width - .5 && b.x < a.x + a.width - .5 && a.y < b.y + b.height - 3 &&
    b.y < a.y + a.height - 3;
  texts.forEach(([name, box], i) => texts.slice(i + 1).forEach(([other, its]) => {
    if (over(box, its)) found.push(name + ' | ' + other); }));
  return found;
})()"""
OUTSIDE = """[...document.querySelectorAll('text')].filter(t => { const b = t.getBBox(),
  cell = t.parentElement.tagName === 'g' ? t.parentElement.querySelector('rect').getBBox()
    : {x: 0, y: 0, width: 340, height: document.documentElement.viewBox.baseVal.height};
  return b.x < cell.x || b.x + b.width > cell.x + cell.width || b.y < cell.y || b.y + b.height > cell.y + cell.height
  }).map(t => t.textContent)"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_thirty_layers_are_shown_without_a_text_over_another_and_nothing_is_loaded(tmp_path, scheme):
    executable = find_browser()
    if executable is None:
        pytest.skip(MISSING)
    path = tmp_path / "sensitivity.svg"
    path.write_text(to_svg(make_sensitivity(30)), encoding="utf-8")
    with Browser(executable) as browser:
        browser.open(path, width=1280, scheme=scheme)
        assert browser.complaints() == [] and browser.requests() == [path.as_uri()]
        assert browser.evaluate("document.querySelectorAll('.heat').length") == 210
        assert browser.evaluate(OVERLAPS) == []
        assert browser.evaluate(OUTSIDE) == []
        ground = browser.evaluate("getComputedStyle(document.querySelector('.ground')).fill")
        assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(14, 17, 22)"}[scheme]
