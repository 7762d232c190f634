"""Pieces of the pages: a head that loads nothing, tables that scroll, figures with captions, quotes. Loads no torch."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape

from evaluation.report_words import fixed, scaled, span
from evaluation.scores import Interval


def page_head(title: str, style: str) -> str:
    """The head of a page that loads nothing and runs nothing: its policy allows its own style alone."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    return (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title><style>{style}</style>'
    )


class Long(str):
    """A cell that may break its lines."""


def interval_cell(found: Interval | None, places: int | None = None, factor: float = 1, unit: str = "") -> str:
    if found is None:
        return "–"
    value, _, rest = span(scaled(found, factor), places).partition(" (")
    return f"{value}{unit}<small>{rest.removesuffix(')')}</small>"


def quoted(words: str) -> str:
    shown = words.replace("\r", "␍").replace("\n", "⏎").replace("\t", "⇥")
    return f"<q>{escape(''.join(letter if letter.isprintable() else '�' for letter in shown))}</q>"


def chance(probability: float) -> str:
    return f"{fixed(100 * probability, 1)} %"


def figure(title: str, note: str, picture: str) -> str:
    return f"<figure><figcaption>{escape(title)}<small>{escape(note)}</small></figcaption>{picture}</figure>"


def table(caption: str, head: Sequence[str], rows: Iterable[tuple[str, str, Sequence[str]]]) -> str:
    """A table in a box of its own that scrolls sideways; cells and row heads are HTML, the rest is text."""
    columns = "".join(f'<th scope="col">{escape(words)}</th>' for words in head)
    body = "".join(
        f'<tr{f" class={style!r}" if style else ""}><th scope="row">{first}</th>'
        + "".join(f"<td{' class=long' if isinstance(cell, Long) else ''}>{cell}</td>" for cell in cells)
        + "</tr>"
        for style, first, cells in rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption, quote=True)}"><table>'
        f"<caption><span>{escape(caption)}</span></caption><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>"
    )
