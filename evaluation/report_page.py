"""A comparison as one HTML page that loads nothing: tables, drawings and the places of disagreement.

It holds no script, and its policy lets a browser fetch nothing and apply no style but its own. Loads no torch.
"""

from collections.abc import Callable, Sequence
from html import escape
from itertools import pairwise

from evaluation.comparison import Restoration
from evaluation.report import Comparison, Disagreement, Row
from evaluation.report_charts import (
    KL_BOUNDS,
    Series,
    histogram_chart,
    interval_chart,
    layer_chart,
    series_of,
    shares_between,
    size_chart,
    split_layers,
)
from evaluation.report_html import Long, chance, figure, interval_cell, page_head, quoted, table
from evaluation.report_markdown import LAYERS_NOTE, difference_cells, recovered_words, task_names, text_line
from evaluation.report_style import STYLE
from evaluation.report_svg import GLYPHS
from evaluation.report_words import bounds, digits, fixed, perplexity_change, scaled, size, span
from evaluation.scores import Interval

_TITLE = "What quantization cost, and what training won back"
_ALARMS = ("adaptation", "worse", "not separated")
_MOST_PLACES = 8  # of a thing, where it disagrees most


def to_page(found: Comparison) -> str:
    """The whole page."""
    series = series_of(found)
    sections = [
        ("figures", "Figures", _figures(found)),
        ("differences", "Paired differences", _differences(found)),
        ("kl", "KL token by token", _histograms(found, series)),
        ("tokens", "Where they disagree most", _places(found)),
        ("layers", "Layers", _layers(found, series)),
        ("failed", "What failed", _failed(found)),
        ("method", "How it was measured", _method(found)),
    ]
    shown = [(name, title, body) for name, title, body in sections if body]
    links = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title, _ in shown)
    body = "".join(
        f'<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>{content}</section>'
        for name, title, content in shown
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>{page_head(_TITLE, STYLE)}</head>\n<body>\n'
        '<a class="skip" href="#main">Skip to the report</a>\n'
        f'<header><p class="origin">pocketlm compare</p><h1>{_TITLE}</h1>{_verdicts(found)}</header>\n'
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n<main id="main">{_facts(found)}{body}</main>\n'
        f"<footer>{_versions(found)} The same figures stand in report.json and report.md.</footer>\n</body>\n</html>\n"
    )


def _verdicts(found: Comparison) -> str:
    parts = []
    for verdict in found.verdicts:
        style = "verdict warn" if verdict.finding in _ALARMS else "verdict"
        parts.append(
            f'<p class="{style}"><strong>Verdict: {escape(verdict.finding)}</strong>{escape(verdict.sentence)}</p>'
        )
    return "".join(parts)


def _facts(found: Comparison) -> str:
    """The figures that one looks for first."""
    best = next((r for r in found.restorations if r.qat == found.verdict.about), None)
    facts: list[tuple[str, str, str]] = []
    if best is not None:
        facts += _restored(best)
    row = next((row for row in found.rows if row.name == found.verdict.about), None)
    if row is not None:
        if row.figures.agreement is not None:
            share = scaled(row.figures.agreement, 100)
            facts.append(("top-1 agreement with float", f"{fixed(share.value, 1)} %", bounds(share, 1)))
        facts.append((f"{row.name} on disk", size(row.bytes), f"{size(found.rows[0].bytes)} float"))
    cells = "".join(
        f'<div><dt>{escape(name)}</dt><dd class="big">{escape(value)}</dd><dd class="quiet">{escape(more)}</dd></div>'
        for name, value, more in facts
    )
    return f'<dl class="facts">{cells}</dl>' if cells else ""


def _restored(best: Restoration) -> list[tuple[str, str, str]]:
    facts = []
    if best.recovered is not None:
        share = scaled(best.recovered, 100)
        facts.append(("perplexity loss recovered", f"{fixed(share.value, 1)} %", bounds(share, 1)))
    ratio = fixed(best.kl_ratio.value, 2)
    facts.append(("KL to float, of the best PTQ's", ratio, bounds(best.kl_ratio, 2)))
    return facts


def _figures(found: Comparison) -> str:
    tasks = task_names(found)
    head = ["thing", "perplexity", "bits per byte", "KL mean", "KL p99", "top-1 agreement", *tasks, "on disk"]
    rows = []
    for row in found.rows:
        cells = [
            interval_cell(row.figures.perplexity, 3),
            interval_cell(row.figures.bits_per_byte, 4),
            interval_cell(row.figures.kl_mean),
            interval_cell(row.figures.kl_p99),
            interval_cell(row.figures.agreement, 1, 100, " %"),
            *(interval_cell(row.figures.tasks.get(name), 1, 100, " %") for name in tasks),
            f"{size(row.bytes)}<small>weights {size(row.weight_bytes)}</small>",
        ]
        is_best = row.name in (found.selection.best_ptq, found.selection.best_qat)
        rows.append((f"best {row.role}" if is_best else "", _row_head(row, found), cells))
    caption = "Each thing on the reported text, with 95 % intervals; KL in nats a token to the float model"
    return f"<p>{escape(found.selection.rule)}</p>{table(caption, head, rows)}{_interval_charts(found)}"


def _row_head(row: Row, found: Comparison) -> str:
    words = row.role.upper() if row.role != "float" else "reference"
    method = f", {row.method}" if row.method else ""
    best = ", best PTQ" if row.name == found.selection.best_ptq else ""
    return f"{escape(row.name)}<small>{escape(words + method + best)}</small>"


def _interval_charts(found: Comparison) -> str:
    float_, *others = found.rows
    above = {d.first: perplexity_change(d.nll) for d in found.differences if d.second == float_.name}
    kinds: list[tuple[str, str, str, float | None, Callable[[Row], Interval | None]]] = [
        (
            "Perplexity above float",
            "per cent, paired; the dotted line is the float model, and below it is no gain",
            " %",
            0.0,
            lambda row: above.get(row.name),
        ),
        ("KL to float, mean", "nats a token; lower is nearer", "", None, lambda row: row.figures.kl_mean),
        ("KL to float, 99th percentile", "nats; the worst of a hundred", "", None, lambda row: row.figures.kl_p99),
        (
            "Top-1 agreement",
            "with the float model; higher is nearer",
            " %",
            None,
            lambda row: None if row.figures.agreement is None else scaled(row.figures.agreement, 100),
        ),
    ]
    drawn = []
    for number, (title, note, unit, reference, pick) in enumerate(kinds):
        rows = [(row, value) for row in others if (value := pick(row)) is not None]
        if rows:
            picture = interval_chart(f"interval{number}", title, rows, unit=unit, reference=reference)
            drawn.append(figure(title, note, picture))
    drawn.append(figure("Size on disk", "everything that ships", size_chart("size", "Size on disk", found.rows)))
    return f'<div class="charts">{"".join(drawn)}</div>'


def _differences(found: Comparison) -> str:
    if not found.differences:
        return ""
    tasks = task_names(found)
    head = ["thing", "against", "perplexity", "KL, nats a token", "top-1 agreement", *tasks]
    rows = [
        ("", escape(d.first), [escape(d.second), *(escape(cell) or "–" for cell in difference_cells(d, tasks))])
        for d in found.differences
    ]
    parts = [
        "<p>Both things saw the same tokens, and both are drawn from the same resamples, so what a hard document costs "
        "both cancels. An interval that holds zero does not separate the two.</p>",
        table("The first thing less the second, with 95 % intervals", head, rows),
    ]
    if found.restorations:
        won = [
            ("", escape(r.qat), [escape(r.ptq), recovered_words(r), span(r.kl_ratio, 3)]) for r in found.restorations
        ]
        head = ["QAT", "best PTQ", "loss recovered", "KL ratio, QAT / PTQ"]
        parts.append(table("What QAT won back: (nll PTQ − nll QAT) / (nll PTQ − nll float)", head, won))
    return "".join(parts)


def _histograms(found: Comparison, series: Sequence[Series]) -> str:
    drawn = [one for one in series if any(h.name == one.name for h in found.histograms)]
    if not drawn:
        return ""
    title = "Tokens by their KL to the float model"
    note = "share of tokens in each quarter of a decade of nats; farther right the two models differ more"
    if len(drawn) > 1:
        note += f"; the dashed outline is {drawn[0].name}"
    picture = histogram_chart("histogram", title, found, drawn)
    bounds = [f"{bound:g}" for bound in KL_BOUNDS]
    head = [f"below {bounds[0]}", *(f"{a} to {b}" for a, b in pairwise(bounds)), f"above {bounds[-1]}"]
    rows = [
        ("", escape(one.name), [f"{fixed(100 * share, 1)} %" for share in shares_between(one.tokens)])
        for one in found.histograms
    ]
    shares = table("Share of tokens by their KL to the float model in nats", ["thing", *head], rows)
    return f'<div class="charts wide">{figure(title, note, picture)}{shares}</div>'


def _places(found: Comparison) -> str:
    parts = []
    for name in dict.fromkeys(d.thing for d in found.disagreements):
        mine = [d for d in found.disagreements if d.thing == name][:_MOST_PLACES]
        parts.append(f'<h3>{escape(name)}</h3><ol class="places">{"".join(_place(d) for d in mine)}</ol>')
    if not parts:
        return ""
    note = (
        "<p>The tokens with the highest KL, one a document: what the float model would write next, and the thing.</p>"
    )
    return note + "".join(parts)


def _place(d: Disagreement) -> str:
    float_, thing = d.float_choice, d.thing_choice
    return (
        f"<li><p>{quoted('…' + d.before)}</p><dl>"
        f"<dt>text</dt><dd>{quoted(d.actual)}</dd>"
        f"<dt>float</dt><dd>{quoted(float_.text)} {chance(float_.by_float)}; {escape(d.thing)} gives it "
        f"{chance(float_.by_thing)}</dd>"
        f"<dt>{escape(d.thing)}</dt><dd>{quoted(thing.text)} {chance(thing.by_thing)}; float gives it "
        f"{chance(thing.by_float)}</dd><dt>KL</dt><dd>{digits(d.kl)} nats</dd></dl></li>"
    )


def _layers(found: Comparison, series: Sequence[Series]) -> str:
    if not found.layers:
        return ""
    kinds, single = split_layers(found)
    keys = "".join(
        f'<li><span class="key {one.style}" aria-hidden="true">{GLYPHS[one.shape]}</span> {escape(one.name)}</li>'
        for one in series
    )
    charts = "".join(
        f"<figure>{layer_chart(f'layer{i}', part, noise, series)}</figure>"
        for i, (part, noise) in enumerate(kinds.items())
    )
    head = ["layer", "thing", "stored as", "weights, dB", *(["outputs, dB"] if found.layer_tokens else [])]
    rows = []
    for noise in (*single, *(noise for part in kinds.values() for noise in part)):
        outputs = ["–" if noise.outputs_db is None else fixed(noise.outputs_db, 1)] if found.layer_tokens else []
        rows.append(
            ("", escape(noise.layer), [escape(noise.thing), noise.scheme, fixed(noise.weights_db, 1), *outputs])
        )
    every = table("Signal to noise against the float model's layer; higher is nearer", head, rows)
    words = (
        "Signal to noise of each layer's weights against the float model's, in dB over the layers; higher is nearer."
    )
    if found.layer_tokens:
        words += (
            f" The table adds the layer's outputs, on {found.layer_tokens:,} tokens of the float model's own inputs."
        )
    return (
        f'<p>{words} {LAYERS_NOTE}</p><ul class="legend">{keys}</ul><div class="charts">{charts}</div>'
        f"<details><summary>Every layer as a table</summary>{every}</details>"
    )


def _failed(found: Comparison) -> str:
    if not found.failed:
        return ""
    rows = [("", escape(one.name), [one.role.upper(), Long(escape(one.error))]) for one in found.failed]
    return table("Methods that gave no figures", ["method", "role", "error"], rows)


def _method(found: Comparison) -> str:
    rows = [
        ("", escape(row.name), [Long(escape(row.kernels)), Long(escape(row.how)), f"{fixed(row.seconds, 1)} s",
                                Long(escape(row.path))])
        for row in found.rows
    ]  # fmt: skip
    lines = [*found.notes, *(f"{row.name}: {warning}" for row in found.rows for warning in row.warnings)]
    notes = f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""
    ran = table("What computed each thing", ["thing", "what ran", "how", "time", "path"], rows)
    return f"<p>{escape(text_line(found))}</p>{notes}{ran}"


def _versions(found: Comparison) -> str:
    named = ", ".join(f"{escape(name)} {escape(version)}" for name, version in found.versions.items())
    return f"{named}." if named else ""
