"""The report page as Chromium shows it: `make pages`."""

import itertools

import pytest

from evaluation.report_page import to_page
from tests.evaluation.synthetic_report import make_comparison
from tests.pages.browser import MISSING, Browser, find_browser

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

VIEWS = [(width, scheme) for width in (360, 1280) for scheme in ("light", "dark")]
LEAST_TEXT, LEAST_MARK = 4.5, 3.0  # WCAG 2.2, 1.4.3 and 1.4.11

# Of each element with text of its own, and each drawn mark: its contrast on the ground that lies below it.
CONTRASTS = """(() => {
  const parse = c => { const n = c.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const over = (a, b) => [0, 1, 2].map(i => a[i] * a[3] + b[i] * (1 - a[3]));
  const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
    if (c[3] > 0) return c; } return [255, 255, 255, 1]; };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)];
    return (Math.max(x, y) + .05) / (Math.min(x, y) + .05); };
  const own = e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  const found = [];
  for (const e of document.body.querySelectorAll('*')) {
    const style = getComputedStyle(e), below = ground(e);
    if (e.closest('svg')) {
      if (e.tagName === 'text') found.push(['text', e.textContent, ratio(over(parse(style.fill), below), below)]);
      if (e.classList.contains('mark') || e.classList.contains('bar'))
        found.push(['mark', e.getAttribute('class'), ratio(over(parse(style.fill), below), below)]);
      if (['whisker', 'thread', 'outline', 'area'].some(one => e.classList.contains(one)))
        found.push(['mark', e.getAttribute('class'), ratio(over(parse(style.stroke), below), below)]);
    } else if (own(e) && !['STYLE', 'SCRIPT'].includes(e.tagName)) {
      found.push(['text', e.textContent.slice(0, 40), ratio(over(parse(style.color), below), below)]);
    }
  }
  return found;
})()"""

# Of each picture: its name, its size on the screen, how many shapes it has, the smallest text in CSS pixels, and the
# texts that stand out of it.
PICTURES = """[...document.querySelectorAll('svg')].map(svg => {
  const box = svg.getBoundingClientRect(), texts = [...svg.querySelectorAll('text')];
  const outside = texts.filter(t => { const b = t.getBoundingClientRect();
    return b.left < box.left - 1 || b.right > box.right + 1 || b.top < box.top - 2 || b.bottom > box.bottom + 2; });
  return {name: svg.querySelector('title').textContent, width: box.width, height: box.height,
    shapes: svg.querySelectorAll('path, rect, circle, line').length, outside: outside.map(t => t.textContent),
    smallest: Math.min(...texts.map(t => parseFloat(getComputedStyle(t).fontSize) * box.width / 340))};
})"""

# Quoted text that leaves its card (long runs of spaces do, where they may hang).
LEAVING = """[...document.querySelectorAll('.places li')].flatMap(li => [...li.querySelectorAll('q')].filter(q =>
  [...q.getClientRects()].some(r => r.right > li.getBoundingClientRect().right + 1))).map(q => q.textContent)"""

# Elements wider than the screen that no box of their own lets scroll.
OVERFLOWING = """[...document.body.querySelectorAll('*')].filter(e => !e.closest('.scroll') && !e.closest('.skip') &&
  e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + ' ' + e.textContent.slice(0, 40))"""


@pytest.fixture(scope="module")
def browser():
    executable = find_browser()
    if executable is None:
        pytest.skip(MISSING)
    with Browser(executable) as browser:
        yield browser


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(to_page(make_comparison()), encoding="utf-8")
    return path


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_the_page_opens_without_a_complaint_and_asks_for_nothing_else(browser, page, width, scheme):
    browser.open(page, width=width, scheme=scheme)
    assert browser.complaints() == []
    assert browser.requests() == [page.as_uri()]
    assert browser.evaluate("document.fonts.size") == 0


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_nothing_is_wider_than_the_screen_except_in_boxes_that_scroll(browser, page, width, scheme):
    browser.open(page, width=width, scheme=scheme)
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(OVERFLOWING) == []


@pytest.mark.parametrize("width", [360, 1280])
def test_every_chart_is_drawn_large_enough_with_its_text_inside(browser, page, width):
    browser.open(page, width=width, scheme="light")
    pictures = browser.evaluate(PICTURES)
    names = [picture["name"] for picture in pictures]
    assert {"Perplexity above float", "KL to float, mean", "Top-1 agreement", "Size on disk"} <= set(names)
    assert sum(name.startswith("Signal to noise of") for name in names) == 7
    for picture in pictures:
        assert picture["width"] >= 250 and picture["height"] >= 60 and picture["shapes"] >= 5, picture
        assert picture["outside"] == [], picture
        assert picture["smallest"] >= 10, picture


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_marks_stand_out_from_their_ground(browser, page, scheme):
    browser.open(page, width=1280, scheme=scheme)
    found = browser.evaluate(CONTRASTS)
    assert sum(kind == "text" for kind, _, _ in found) > 300 and sum(kind == "mark" for kind, _, _ in found) > 100
    assert [one for one in found if one[2] < (LEAST_TEXT if one[0] == "text" else LEAST_MARK)] == []
    dark = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(14, 17, 22)")


def test_a_screen_reader_finds_headings_in_order_landmarks_and_named_pictures(browser, page):
    browser.open(page, width=360, scheme="light")
    browser.call("Accessibility.enable")
    nodes = [node for node in browser.call("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
    roles = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes]
    assert [sum(role == landmark for role, _ in roles) for landmark in ("main", "navigation", "banner")] == [1, 1, 1]
    pictures = [name for role, name in roles if role in ("image", "img")]
    assert len(pictures) == browser.evaluate("document.querySelectorAll('svg').length") and all(pictures)
    tables = [name for role, name in roles if role == "table"]
    assert len(tables) >= 4 and all(tables)
    levels = browser.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_a_box_that_scrolls_is_reached_by_the_keyboard(browser, page):
    browser.open(page, width=360, scheme="light")
    boxes = browser.evaluate(
        "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 1)"
        ".map(e => [e.tabIndex, e.getAttribute('role'), e.getAttribute('aria-label')])"
    )
    assert len(boxes) >= 3
    assert all(tab == 0 and role == "region" and label for tab, role, label in boxes)


def test_hostile_and_endless_names_change_nothing(browser, tmp_path):
    hostile = '</title></svg><script>fetch("http://127.0.0.1:9/a")</script><img src="http://127.0.0.1:9/b" onerror="x">'
    page = tmp_path / "index.html"
    page.write_text(to_page(make_comparison(text_before=hostile, suffix=hostile + "x" * 200)), encoding="utf-8")
    browser.open(page, width=360, scheme="dark")
    assert browser.complaints() == [] and browser.requests() == [page.as_uri()]
    assert browser.evaluate("document.querySelectorAll('script, img').length") == 0
    assert browser.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("width", [360, 1280])
def test_indented_code_stays_inside_its_card(browser, tmp_path, width):
    page = tmp_path / "index.html"
    indented = " " * 60 + "parent.winfo_rootx() + 30,\n" + " " * 45 + "x" * 70
    page.write_text(to_page(make_comparison(text_before=indented)), encoding="utf-8")
    browser.open(page, width=width, scheme="light")
    assert browser.evaluate("document.querySelectorAll('.places q').length") > 20
    assert browser.evaluate(LEAVING) == []
