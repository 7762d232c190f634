"""A profile as one HTML page that loads nothing: a flame chart, bars by layer, and the tables behind them.

It holds no script, and its policy lets a browser fetch nothing and apply no style but its own. Loads no torch.
"""

from collections.abc import Mapping, Sequence
from html import escape

from evaluation.profile_charts import LEGEND_STYLE, flame_chart, layer_bars
from evaluation.report_html import page_head, table
from evaluation.report_style import STYLE
from runner.profile_places import GROUPS
from runner.profile_result import Phase, Profile, describe, inside_sentence, overhead_sentence

_TITLE = "Where the time goes"
_MS = 1e6
_STYLE = (
    STYLE
    + """
.flame svg{min-width:64rem;max-width:none}
.area.float{fill:var(--float);stroke:var(--float)}
.key.float{color:var(--float)}
.flame .area,.bars .area{fill-opacity:.4}
tbody th{overflow-wrap:anywhere}
"""
)
_WHAT = {
    "matrices": "products with the weights, in XNNPACK",
    "attention": "attention over the cache",
    "cache": "INT8 codes of keys, values and queries, and writing the cache",
    "elementwise": "norms, positions and activations, in XNNPACK",
    "the rest": "masks, angles, copies and control",
    "outside": "between instructions, and the runner around the program",
}


def to_page(found: Profile) -> str:
    """The whole page."""
    links = "".join(f'<li><a href="#{phase.name}">{phase.name.capitalize()}</a></li>' for phase in found.phases)
    body = "".join(_section(phase, found.stages) for phase in found.phases)
    threads = f"{found.threads} thread{'s' * (found.threads != 1)}"
    return (
        f'<!doctype html>\n<html lang="en">\n<head>{page_head(_TITLE, _STYLE)}</head>\n<body>\n'
        '<a class="skip" href="#main">Skip to the profile</a>\n'
        f'<header><p class="origin">pocketlm profile</p><h1>{_TITLE}</h1>'
        f"<p>{escape(found.package)}: {escape(str(found.runner.get('kernels', 'unknown kernels')))}, {threads}</p>"
        f'</header>\n<nav aria-label="Sections"><ul>{links}</ul></nav>\n'
        f'<main id="main">{_legend()}{body}</main>\n<footer>{_origin(found)}</footer>\n</body>\n</html>\n'
    )


def _legend() -> str:
    items = "".join(
        f'<li><span class="key {LEGEND_STYLE[name]}" aria-hidden="true">■</span> {name}: {what}</li>'
        for name, what in _WHAT.items()
    )
    return f'<ul class="legend">{items}</ul>'


def _section(phase: Phase, order: Sequence[str]) -> str:
    name = phase.name
    return (
        f'<section aria-labelledby="{name}"><h2 id="{name}">{name.capitalize()}</h2>'
        f"<p>{escape(_sentence(describe(phase)))} {escape(_sentence(overhead_sentence(phase)))}</p>{_facts(phase)}"
        f"<h3>All of it, layer after layer</h3>"
        f'<p class="quiet">As wide as it takes: the whole, its layers, what each does, and by which operator. Point at '
        f"a box for its figures.</p>"
        f'<div class="scroll flame" role="region" tabindex="0" aria-label="Flame chart of {name}">'
        f"{flame_chart(phase, order)}</div>"
        f'<h3>By layer</h3><div class="bars">{layer_bars(phase, order)}</div>{_stage_table(phase, order)}'
        f"<h3>By operator</h3>{_operator_table(phase)}"
        f"<h3>Inside of XNNPACK</h3><p>{escape(_sentence(inside_sentence(phase)))}</p>{_inside_table(phase)}</section>"
    )


def _facts(phase: Phase) -> str:
    groups: dict[str, int] = dict.fromkeys(GROUPS, 0)
    for cell in phase.cells:
        groups[cell.group] += cell.ns
    total = max(1, phase.wall_ns)
    facts = [("a token", f"{phase.wall_ns / _MS / phase.tokens:.2f} ms", f"{1e9 * phase.tokens / total:,.1f} a second")]
    facts += [
        (name, f"{100 * groups[name] / total:.1f} %", f"{groups[name] / _MS:.2f} ms") for name in GROUPS if groups[name]
    ]
    cells = "".join(
        f'<div><dt>{escape(name)}</dt><dd class="big">{escape(value)}</dd><dd class="quiet">{escape(more)}</dd></div>'
        for name, value, more in facts
    )
    return f'<dl class="facts">{cells}</dl>'


def _stage_table(phase: Phase, order: Sequence[str]) -> str:
    rows = [
        ("", escape(name), [*(_ms(groups.get(group)) for group in GROUPS), *_whole(ns, phase)])
        for name, ns, groups in phase.by_stage(order)
    ]
    return table(f"{phase.name.capitalize()} by layer, in milliseconds", ["layer", *GROUPS, "ms", "share"], rows)


def _operator_table(phase: Phase) -> str:
    rows = [
        ("", escape(name), [f"{runs:,}" if runs else "–", *_whole(ns, phase)]) for name, ns, runs in phase.by_operator()
    ]
    return table(f"{phase.name.capitalize()} by operator", ["operator", "runs", "ms", "share"], rows)


def _inside_table(phase: Phase) -> str:
    if not phase.inside:
        return ""
    inside: Mapping[str, int] = phase.inside
    rows = [("", escape(name), _whole(ns, phase)) for name, ns in inside.items() if ns]
    return table(f"{phase.name.capitalize()}: operators inside of delegates", ["operator", "ms", "share"], rows)


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _whole(ns: int, phase: Phase) -> list[str]:
    return [_ms(ns), f"{100 * ns / max(1, phase.wall_ns):.1f} %"]


def _ms(ns: int | None) -> str:
    return "–" if ns is None else f"{ns / _MS:.3f}"


def _origin(found: Profile) -> str:
    machine = f"{found.machine.get('processor', 'unknown processor')}, {found.machine.get('cores', '?')} cores"
    versions = f"ExecuTorch {found.runner.get('executorch', '?')}, native runner {found.runner.get('version', '?')}"
    return escape(f"{machine}. {versions}. Package {found.sha256[:16]}.")
