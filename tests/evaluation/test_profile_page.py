"""The page of a profile as text: whole, without a script, and with every figure of the profile."""

import re
from html import unescape
from html.parser import HTMLParser

from evaluation.profile_page import to_page
from tests.evaluation.synthetic_profile import OPERATORS, make_profile

VOID = {"meta", "link", "br"}


class Strict(HTMLParser):
    """Fails where a tag is not closed by its own."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, _):
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, _):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_holds_no_script():
    page = to_page(make_profile())
    parser = Strict()
    parser.feed(page)
    assert parser.open == []
    assert "<script" not in page and "default-src 'none'" in page
    assert re.findall(r'(?:src|href)="(?!#|data:,)', page) == []


def test_every_operator_and_layer_stands_in_the_tables_of_each_phase():
    page = unescape(to_page(make_profile(layers=3)))
    for phase in ("prefill", "decode"):
        section = page[page.index(f'<h2 id="{phase}">') :]
        for name in [*(operator for operator, _, _ in OPERATORS), "layer 0", "layer 2", "input", "output"]:
            assert f'<th scope="row">{name}</th>' in section, name


def test_widths_in_the_flame_chart_are_times():
    page = to_page(make_profile(layers=3))
    chart = page[page.index('id="flame-prefill-title"') :]
    boxes = dict(re.findall(r"<title>([^:<]+): [^<]*</title><rect x=\"[\d.]+\" y=\"[\d.]+\" width=\"([\d.]+)\"", chart))
    assert float(boxes["prefill"]) == 1024
    assert 250 < float(boxes["layer 1"]) < 1024 / 3
    assert "inside of its delegates is not told apart" in page


def test_names_are_text_whatever_they_hold():
    page = to_page(make_profile(package='<script>"&', kernels="<b>"))
    assert "<script>" not in page and "<b>" not in page and "&lt;script&gt;" in page
