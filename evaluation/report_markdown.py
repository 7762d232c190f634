"""A comparison as Markdown: tables that read in a terminal and on a code host. Loads no torch."""

from collections.abc import Sequence

from evaluation.comparison import Difference, Restoration
from evaluation.report import Comparison, Disagreement, Row
from evaluation.report_words import bounds, digits, fixed, higher, percent, scaled, size, span
from evaluation.scores import Interval

_MOST_PLACES = 8  # of a thing, where it disagrees most


def to_markdown(found: Comparison) -> str:
    """The whole report."""
    parts = [
        "# What quantization cost, and what training won back",
        f"**{_escaped(found.verdict.sentence)}**",
        *(f"* {_escaped(verdict.sentence)}" for verdict in found.verdicts[1:]),
        f"{_escaped(text_line(found))} {_escaped(found.selection.rule)}",
        *_figures(found),
        *_differences(found),
        *_restorations(found.restorations),
        *_disagreements(found),
        *_layers(found),
        *_failed(found),
        *_notes(found),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def text_line(found: Comparison) -> str:
    """What was scored, in a few sentences without markup."""
    text = found.text
    held_out = f", held out by {text['held_out_of']}" if text.get("held_out_of") else ""
    digest = f", sha256 {str(text['sha256'])[:16]}" if text.get("sha256") else ""
    return (
        f"{text['documents']:,} documents with {text['tokens']:,} scored tokens of {text['file']}{held_out} (protocol "
        f"{text['protocol']}, each cut at {text['max_tokens']} tokens{digest}). Intervals hold 95 % of bootstrap "
        "resamples of whole documents; differences are paired."
    )


def _figures(found: Comparison) -> list[str]:
    tasks = task_names(found)
    head = ["", "perplexity", "bits per byte", "KL mean", "KL p99", "top-1 agreement", *tasks, "on disk"]
    return ["## Figures", _table(head, [[_name(row), *_cells(row, tasks)] for row in found.rows])]


def _name(row: Row) -> str:
    method = f", {row.method}" if row.method else ""
    return f"{_escaped(row.name)} ({row.role}{method})"


def _cells(row: Row, tasks: Sequence[str]) -> list[str]:
    figures = row.figures
    return [
        span(figures.perplexity, 3),
        span(figures.bits_per_byte, 4),
        "" if figures.kl_mean is None else span(figures.kl_mean),
        "" if figures.kl_p99 is None else span(figures.kl_p99),
        "" if figures.agreement is None else percent(figures.agreement),
        *("" if name not in figures.tasks else percent(figures.tasks[name]) for name in tasks),
        size(row.bytes),
    ]


def task_names(found: Comparison) -> list[str]:
    """The tasks that any thing was scored on, in their order."""
    return list(dict.fromkeys(name for row in found.rows for name in row.figures.tasks))


def _differences(found: Comparison) -> list[str]:
    if not found.differences:
        return []
    tasks = task_names(found)
    head = ["", "against", "perplexity", "KL, nats a token", "top-1 agreement", *tasks]
    rows = [[_escaped(d.first), _escaped(d.second), *difference_cells(d, tasks)] for d in found.differences]
    return ["## Paired differences", _table(head, rows)]


def difference_cells(difference: Difference, tasks: Sequence[str]) -> list[str]:
    """Perplexity, KL, agreement and tasks of a paired difference, in words."""
    return [
        higher(difference.nll),
        "" if difference.kl is None else span(difference.kl),
        "" if difference.agreement is None else _points(difference.agreement),
        *("" if name not in difference.tasks else _points(difference.tasks[name]) for name in tasks),
    ]


def _points(share: Interval) -> str:
    found = scaled(share, 100)
    return f"{fixed(found.value, 1)} points ({bounds(found, 1)})"


def _restorations(found: Sequence[Restoration]) -> list[str]:
    if not found:
        return []
    head = ["QAT", "best PTQ", "loss recovered", "KL ratio QAT / PTQ"]
    rows = [[_escaped(r.qat), _escaped(r.ptq), recovered_words(r), span(r.kl_ratio, 3)] for r in found]
    return ["## Won back", _table(head, rows), "Recovered: (nll PTQ − nll QAT) / (nll PTQ − nll float)."]


def recovered_words(found: Restoration) -> str:
    """The share of the loss that was recovered, or why there is none."""
    return "no loss is shown" if found.recovered is None else percent(found.recovered)


def _disagreements(found: Comparison) -> list[str]:
    parts = []
    for name in dict.fromkeys(d.thing for d in found.disagreements):
        head = ["text before", "the text goes on", "float", _escaped(name), "KL"]
        chosen = [d for d in found.disagreements if d.thing == name][:_MOST_PLACES]
        parts += [f"### {_escaped(name)} disagrees most", _table(head, [_place(d) for d in chosen])]
    return ["## Tokens in context", *parts] if parts else []


def _place(d: Disagreement) -> list[str]:
    float_, thing = d.float_choice, d.thing_choice
    return [
        _code(f"…{d.before}"),
        _code(d.actual),
        f"{_code(float_.text)} {_share(float_.by_float)}, there {_share(float_.by_thing)}",
        f"{_code(thing.text)} {_share(thing.by_thing)}, there {_share(thing.by_float)}",
        digits(d.kl),
    ]


def _share(probability: float) -> str:
    return f"{fixed(100 * probability, 1)} %"


def _layers(found: Comparison) -> list[str]:
    if not found.layers:
        return []
    things = list(dict.fromkeys(noise.thing for noise in found.layers))
    names = list(dict.fromkeys(noise.layer for noise in found.layers))
    by_place = {(noise.layer, noise.thing): noise for noise in found.layers}
    rows = []
    for name in names:
        cells = []
        for thing in things:
            noise = by_place.get((name, thing))
            outputs = "" if noise is None or noise.outputs_db is None else f" / {fixed(noise.outputs_db, 1)}"
            cells.append("" if noise is None else f"{fixed(noise.weights_db, 1)}{outputs}")
        rows.append([name, *cells])
    words = "Signal to noise in dB of the weights against the float model's"
    if found.layer_tokens:
        words += f" / of the layer's outputs on {found.layer_tokens:,} tokens"
    return ["## Layers", _table(["layer", *(_escaped(thing) for thing in things)], rows), f"{words}. {LAYERS_NOTE}"]


LAYERS_NOTE = (
    "QAT moves weights on purpose, so for it the figure says how far they moved, not how wrong they are; KL says that."
)


def _failed(found: Comparison) -> list[str]:
    if not found.failed:
        return []
    rows = [[_escaped(failed.name), failed.role, _escaped(failed.error)] for failed in found.failed]
    return ["## Failed", _table(["method", "role", "error"], rows)]


def _notes(found: Comparison) -> list[str]:
    head = ["", "what ran", "how", "seconds", "path"]
    rows = [
        [_escaped(row.name), _escaped(row.kernels), _escaped(row.how), fixed(row.seconds, 1), _code(row.path)]
        for row in found.rows
    ]
    warnings = [f"* {_escaped(row.name)}: {_escaped(warning)}" for row in found.rows for warning in row.warnings]
    warnings += [f"* {_escaped(note)}" for note in found.notes]
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    return ["## How it was measured", _table(head, rows), "\n".join(warnings), *([versions] if versions else [])]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: str) -> str:
    """Text that is neither markup nor the end of a cell."""
    for letter in "\\`*_<>|[]":
        text = text.replace(letter, f"\\{letter}")
    return " ".join(text.split())


def _code(text: str) -> str:
    """A span of code inside a table, with white space made visible at its ends."""
    shown = text.replace("\r", "␍").replace("\n", "⏎").replace("\t", "⇥").replace("|", "\\|")
    shown = "".join(letter if letter.isprintable() else "�" for letter in shown)
    ticks = "`" * (1 + max((len(run) for run in _runs(shown)), default=0))
    pad = " " if shown.startswith(("`", " ")) or shown.endswith(("`", " ")) or not shown else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}"


def _runs(text: str) -> list[str]:
    """Runs of back ticks."""
    return [run for run in "".join(letter if letter == "`" else " " for letter in text).split()]
