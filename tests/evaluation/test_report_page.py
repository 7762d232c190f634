import base64
import dataclasses
import hashlib
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from evaluation.report_page import to_page
from evaluation.report_style import STYLE
from tests.evaluation.synthetic_report import make_comparison

VOID = {"meta", "link", "br"}


class Reader(HTMLParser):
    """Every element with its attributes and text; complains of a tag that is not closed where it should be."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.words = [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style"} & set(self.open):
            self.words.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def without(comparison, *roles):
    """As if there had been no thing of these roles."""
    names = {row.name for row in comparison.rows if row.role in roles}
    return dataclasses.replace(
        comparison,
        rows=tuple(row for row in comparison.rows if row.name not in names),
        differences=tuple(d for d in comparison.differences if not {d.first, d.second} & names),
        restorations=tuple(r for r in comparison.restorations if not {r.qat, r.ptq} & names),
        histograms=tuple(h for h in comparison.histograms if h.name not in names),
        disagreements=tuple(d for d in comparison.disagreements if d.thing not in names),
        layers=tuple(n for n in comparison.layers if n.thing not in names),
        selection=dataclasses.replace(
            comparison.selection,
            best_ptq=None if "ptq" in roles else comparison.selection.best_ptq,
            best_qat=None if "qat" in roles else comparison.selection.best_qat,
        ),
    )


def bare(comparison):
    """A float model alone, of one document, on no task."""
    return dataclasses.replace(without(comparison, "ptq", "qat"), failed=(), layer_tokens=0)


VARIANTS = {
    "whole": make_comparison,
    "no QAT": lambda: without(make_comparison(), "qat"),
    "no PTQ": lambda: without(make_comparison(), "ptq"),
    "one document": lambda: make_comparison(documents=1),
    "float alone": lambda: bare(make_comparison(documents=1)),
    "outputs unknown": lambda: dataclasses.replace(make_comparison(), layer_tokens=0),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_kind_of_report_is_a_well_formed_page_with_all_its_pictures_described(name):
    comparison = VARIANTS[name]()
    page = to_page(comparison)
    read = Reader(page)
    ids = [attrs["id"] for _, attrs in read.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert "nan" not in " ".join(read.words).lower().split()
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(pictures) >= (1 if name == "float alone" else 9)
    for picture in pictures:
        root = ElementTree.fromstring(picture)  # numbers, names and texts are escaped as XML wants it
        title, description = root[0], root[1]
        assert (title.tag, description.tag) == ("title", "desc") and title.text and len(description.text) > 20
        assert root.attrib["aria-labelledby"].split() == [title.attrib["id"], description.attrib["id"]]
        assert len(root) > 2 and "nan" not in picture


def test_the_page_names_the_language_its_parts_and_every_column():
    read = Reader(to_page(make_comparison()))
    tags = [name for name, _ in read.elements]
    assert read.all("html") == [{"lang": "en"}]
    assert [tags.count(one) for one in ("h1", "header", "nav", "main", "footer", "title", "caption")][:5] == [1] * 5
    assert tags.count("table") == tags.count("caption") >= 5
    assert all(attrs.get("scope") in ("col", "row") for attrs in read.all("th"))
    targets = {attrs["href"][1:] for attrs in read.all("a")}
    assert targets <= {attrs.get("id") for _, attrs in read.elements}


def test_the_page_asks_for_nothing_and_forbids_whatever_might():
    page = to_page(make_comparison())
    read = Reader(page)
    assert "script" not in {name for name, _ in read.elements}
    assert not any(key.startswith("on") or key in ("src", "style") for _, attrs in read.elements for key in attrs)
    assert {attrs["href"] for attrs in read.all("link")} == {"data:,"}
    assert "http:" not in page and "https:" not in page and "url(" not in STYLE and "@import" not in STYLE
    policy = next(a["content"] for a in read.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'")
    assert f"<style>{STYLE}</style>" in page


def test_names_and_texts_are_never_markup():
    comparison = make_comparison(text_before='</q><script>alert(1)</script><img src="http://x">\u202e\x00')
    row = dataclasses.replace(comparison.rows[1], name='<b onload="x">&', path="<i>")
    page = to_page(dataclasses.replace(comparison, rows=(comparison.rows[0], row, *comparison.rows[2:])))
    read = Reader(page)
    assert not {"script", "img", "b", "i"} & {name for name, _ in read.elements}
    assert any("<script>alert(1)</script>" in words for words in read.words)
    assert "\u202e" not in page and "\x00" not in page


def test_the_page_says_the_same_verdicts_and_lists_what_failed():
    comparison = make_comparison()
    words = " ".join(Reader(to_page(comparison)).words)
    for verdict in comparison.verdicts:
        assert verdict.sentence in words and f"Verdict: {verdict.finding}" in words
    assert "the Hessian of layers.1.feed_forward.up_proj is singular" in words


def test_the_same_report_gives_the_same_bytes():
    assert to_page(make_comparison()) == to_page(make_comparison())
