"""The curves of a run as an SVG file: loss, held-out loss, learning rate. The same figures give the same bytes."""

import io
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from model.errors import EnvironmentFault
from model.files import atomic_output

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _ORANGE, _GREEN = "#0072b2", "#d55e00", "#007a5a"  # told apart by the colour-blind, after Okabe and Ito
_MOST_POINTS = 1000  # of the thin line; more steps become pairs of a smallest and a largest value
_MOST_TITLE = 90  # characters
# A fixed style, whatever the user's own: text stays text, ids depend on nothing but the drawing.
_STYLE = {
    "svg.hashsalt": "pocketlm",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.parse_math": False,
    "text.color": "#1f2328",
    "axes.labelcolor": "#1f2328",
    "axes.edgecolor": "#656d76",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#d8dee4",
    "figure.facecolor": "white",  # a card that reads on dark pages, too
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
}


def write_plot(metrics: list[dict[str, Any]], path: Path, title: str) -> None:
    """Draws the records of a metrics file; replaces an older plot.

    Args:
        metrics: as of `train.metrics.read_metrics`; records of steps have "step", "loss" (nats a token), "lr",
            "tokens" and "tokens_per_second", those of evaluations "step" and "held_out_loss" (nats a token). The
            event "done" may have the checkpoint's "held_out_bits_per_byte". Others are passed over.

    Raises:
        ValueError: there is no step to draw, or something is in the way of the path.
        EnvironmentFault: matplotlib is missing, or the place cannot be written.
    """
    steps = [record for record in metrics if "step" in record and "loss" in record]
    held_out = [record for record in metrics if "step" in record and "held_out_loss" in record]
    done = next((record for record in metrics if record.get("event") == "done"), {})
    if not steps:
        raise ValueError(f"{path} was not drawn: the metrics hold no step yet")
    svg = _draw(steps, held_out, _caption(steps, held_out, done), title)
    with atomic_output(path, overwrite=True, folder=False) as partial:
        partial.write_text(svg, encoding="utf-8")


def _draw(steps: list[dict[str, Any]], held_out: list[dict[str, Any]], caption: list[str], title: str) -> str:
    try:
        import matplotlib.style
        from matplotlib.figure import Figure
    except ImportError as error:
        raise EnvironmentFault(f'a plot needs matplotlib ({error}): pip install "pocketlm[train]"') from None
    title = re.sub(r"[^\x20-\x7e\u00a0-\ud7ff\ue000-\ufffd]", "?", title)  # what XML or a label cannot say
    title = title if len(title) <= _MOST_TITLE else title[: _MOST_TITLE - 3] + "..."
    file = io.StringIO()
    with matplotlib.style.context(["default", _STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the viewer's fonts draw the text
        figure = Figure(figsize=(9, 6.4), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
        lines = [" · ".join(part) for part in (caption[:4], caption[4:]) if part]
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=9)
        _draw_axes(figure, steps, held_out)
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return _with_words(file.getvalue(), title, f"{_description(steps, held_out)} Final figures: {', '.join(caption)}.")


def _draw_axes(figure: "Figure", steps: list[dict[str, Any]], held_out: list[dict[str, Any]]) -> None:
    from matplotlib.ticker import MaxNLocator

    upper: Axes
    lower: Axes
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    numbers = [record["step"] for record in steps]
    loss = [record["loss"] for record in steps]
    span = _span(len(loss))
    upper.plot(*_thinned(numbers, loss), color=_BLUE, alpha=0.45, linewidth=0.6, label="loss of a step")
    upper.plot(numbers, _smoothed(loss, span), color=_BLUE, linewidth=2, label=f"mean of {span} steps")
    if held_out:
        upper.plot(
            [record["step"] for record in held_out],
            [record["held_out_loss"] for record in held_out],
            color=_ORANGE,
            marker="o",
            markersize=4,
            linewidth=1,
            label="held-out text",
        )
    upper.set_ylabel("loss (nats per token)")
    upper.legend(frameon=False)
    lower.plot(numbers, [record["lr"] for record in steps], color=_GREEN, linewidth=1.5)
    lower.set_ylabel("learning rate")
    lower.set_ylim(bottom=0)
    lower.set_xlabel("step of the optimizer")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    lower.xaxis.set_major_formatter("{x:,.0f}")


def _span(count: int) -> int:
    """Steps that a smoothed point is the mean of: about a fiftieth of the run, and five at least."""
    return min(count // 100 * 2 + 5, count)


def _smoothed(values: list[float], span: int) -> list[float]:
    """Means of about `span` values around each: of fewer at the ends, evenly at the start, where the loss falls."""
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    reaches = (min(i, span // 2) for i in range(len(values)))
    bounds = ((i - reach, min(i + reach + 1, len(values))) for i, reach in enumerate(reaches))
    return [(sums[end] - sums[start]) / (end - start) for start, end in bounds]


def _thinned(numbers: list[int], values: list[float]) -> tuple[list[int], list[float]]:
    """At most about `_MOST_POINTS` points that still show every peak."""
    if len(values) <= _MOST_POINTS:
        return numbers, values
    width = -(-2 * len(values) // _MOST_POINTS)
    xs: list[int] = []
    ys: list[float] = []
    for start in range(0, len(values), width):
        part = range(start, min(start + width, len(values)))
        ends = sorted({min(part, key=values.__getitem__), max(part, key=values.__getitem__)})
        xs += [numbers[i] for i in ends]
        ys += [values[i] for i in ends]
    return xs, ys


def _caption(steps: list[dict[str, Any]], held_out: list[dict[str, Any]], done: dict[str, Any]) -> list[str]:
    """The final figures; the first four fill a line."""
    last, span = steps[-1], _span(len(steps))
    loss = [record["loss"] for record in steps[-span:]]
    rates = sorted(record["tokens_per_second"] for record in steps)
    parts = [
        f"step {last['step']:,}",
        f"{last['tokens']:,} tokens",
        f"{rates[len(rates) // 2]:,.0f} tokens/s",
        f"loss {sum(loss) / len(loss):.3f} (last {span})",
    ]
    if held_out:
        parts.append(f"held-out loss {held_out[-1]['held_out_loss']:.3f} nats per token")
    if "held_out_bits_per_byte" in done:
        parts.append(f"checkpoint {done['held_out_bits_per_byte']:.3f} bits per held-out byte")
    return parts


def _description(steps: list[dict[str, Any]], held_out: list[dict[str, Any]]) -> str:
    """The picture in words, for those who do not see it."""
    first, last = steps[0], steps[-1]
    top = max(steps, key=lambda record: record["lr"])
    words = [
        f"Loss in nats per token over the steps of the optimizer: {first['loss']:.3f} at step {first['step']:,}, "
        f"{last['loss']:.3f} at step {last['step']:,}."
    ]
    if held_out:
        best = min(held_out, key=lambda record: record["held_out_loss"])
        words.append(
            f"Loss on held-out text: {held_out[0]['held_out_loss']:.3f} at step {held_out[0]['step']:,}, "
            f"{held_out[-1]['held_out_loss']:.3f} at step {held_out[-1]['step']:,}, "
            f"lowest {best['held_out_loss']:.3f} at step {best['step']:,}."
        )
    words.append(f"Learning rate: highest {top['lr']:.3g} at step {top['step']:,}, {last['lr']:.3g} at the end.")
    return " ".join(words)


def _with_words(svg: str, title: str, description: str) -> str:
    """Gives the picture a name and a description as screen readers look for them."""
    start = svg.index(">", svg.index("<svg")) + 1
    words = f'\n <title id="title">{escape(title)}</title>\n <desc id="description">{escape(description)}</desc>'
    head = svg[: start - 1] + ' role="img" aria-labelledby="title description">'
    return head + words + svg[start:]
