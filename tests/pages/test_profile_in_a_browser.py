"""The page of a profile as Chromium shows it: `make pages`."""

import pytest

from evaluation.profile_page import to_page
from tests.evaluation.synthetic_profile import make_profile
from tests.pages.browser import MISSING, Browser, find_browser
from tests.pages.test_report_in_a_browser import CONTRASTS, LEAST_MARK, LEAST_TEXT, OVERFLOWING, VIEWS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

# Texts of the flame chart that leave their box, and boxes that leave the chart.
LEAVING = """[...document.querySelectorAll('.flame g, .flame svg')].filter(g => {
  const outer = (g.tagName === 'g' ? g.querySelector('rect') : g).getBoundingClientRect();
  return [...g.querySelectorAll(g.tagName === 'g' ? 'text' : 'rect')].some(one => {
    const b = one.getBoundingClientRect(); return b.left < outer.left - 1 || b.right > outer.right + 1; });
}).map(g => g.textContent)"""


@pytest.fixture(scope="module")
def browser():
    executable = find_browser()
    if executable is None:
        pytest.skip(MISSING)
    with Browser(executable) as browser:
        yield browser


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "profile.html"
    path.write_text(to_page(make_profile(30)), encoding="utf-8")
    return path


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_the_page_opens_without_a_complaint_and_fits_the_screen(browser, page, width, scheme):
    browser.open(page, width=width, scheme=scheme)
    assert browser.complaints() == [] and browser.requests() == [page.as_uri()]
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(OVERFLOWING) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_marks_stand_out_from_their_ground(browser, page, scheme):
    browser.open(page, width=1280, scheme=scheme)
    found = browser.evaluate(CONTRASTS)
    assert sum(kind == "text" for kind, _, _ in found) > 300 and sum(kind == "mark" for kind, _, _ in found) > 300
    assert [one for one in found if one[2] < (LEAST_TEXT if one[0] == "text" else LEAST_MARK)] == []


@pytest.mark.parametrize("width", [360, 1280])
def test_names_stay_in_their_boxes_and_boxes_in_the_chart(browser, page, width):
    browser.open(page, width=width, scheme="light")
    assert browser.evaluate("document.querySelectorAll('.flame rect').length") > 300
    assert browser.evaluate(LEAVING) == []
    boxes = browser.evaluate("[...document.querySelectorAll('.scroll')].map(e => [e.tabIndex, e.ariaLabel])")
    assert len(boxes) >= 6 and all(tab == 0 and label for tab, label in boxes)


def test_a_hostile_name_changes_nothing(browser, tmp_path):
    hostile = '</title></svg><script>fetch("http://127.0.0.1:9/a")</script><img src="http://127.0.0.1:9/b">' + "x" * 200
    page = tmp_path / "profile.html"
    page.write_text(to_page(make_profile(2, package=hostile, kernels=hostile)), encoding="utf-8")
    browser.open(page, width=360, scheme="dark")
    assert browser.complaints() == [] and browser.requests() == [page.as_uri()]
    assert browser.evaluate("document.querySelectorAll('script, img').length") == 0
    assert browser.evaluate("document.documentElement.scrollWidth") <= 360
