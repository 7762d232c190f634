"""The plot of a run: whole, readable as text, and the same bytes for the same figures."""

import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import EnvironmentFault
from train.metrics import Metrics, read_metrics
from train.plot import _smoothed, _thinned, write_plot

SVG = "{http://www.w3.org/2000/svg}"


def records(count, evaluate_every=2):
    made = [{"event": "start", "parameters": 7}]
    for step in range(1, count + 1):
        made.append(
            {
                "step": step,
                "loss": 2.0 + 5.0 / step + 0.1 * (step % 3),
                "lr": 1e-3 * min(1.0, step / 4),
                "grad_norm": 1.0,
                "tokens": step * 1024,
                "tokens_per_second": 5000.0 + step,
                "seconds": 0.2,
            }
        )
        if step % evaluate_every == 0:
            made.append({"step": step, "held_out_loss": 2.5, "held_out_tokens": 64})
    return [*made, {"event": "done", "held_out_loss": 2.4, "held_out_bits_per_byte": 1.25}]


def texts(path):
    return ["".join(element.itertext()).strip() for element in ElementTree.parse(path).iter(f"{SVG}text")]


def test_the_picture_names_its_axes_units_curves_and_final_figures_as_text(tmp_path):
    path = tmp_path / "loss.svg"
    write_plot(records(300), path, "nano on the standard library")
    said = texts(path)
    for words in (
        "nano on the standard library",
        "loss (nats per token)",
        "learning rate",
        "step of the optimizer",
        "loss of a step",
        "mean of 11 steps",
        "held-out text",
    ):
        assert words in said
    assert "held-out loss 2.500 nats per token · checkpoint 1.250 bits per held-out byte" in said
    (caption,) = [text for text in said if text.startswith("step 300")]
    assert "307,200 tokens · 5,151 tokens/s" in caption
    last = [record["loss"] for record in records(300) if "loss" in record][-11:]
    assert f"loss {sum(last) / 11:.3f} (last 11)" in caption


def test_it_has_a_title_and_a_description_for_those_who_do_not_see_it(tmp_path):
    path = tmp_path / "loss.svg"
    write_plot(records(8), path, "nano")
    picture = ElementTree.parse(path).getroot()
    title, description = picture.find(f"{SVG}title"), picture.find(f"{SVG}desc")
    assert list(picture)[:2] == [title, description]
    assert picture.get("role") == "img"
    assert picture.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert title.text == "nano"
    assert "7.100 at step 1, 2.825 at step 8" in description.text
    assert "held-out text: 2.500 at step 2" in description.text


def test_the_same_figures_give_the_same_bytes_whatever_the_users_own_style(tmp_path, root):
    metrics = tmp_path / "metrics.jsonl"
    with Metrics.open(metrics, keep_to_step=None) as file:
        for record in records(30):
            file.write(record)
    write_plot(read_metrics(metrics), tmp_path / "here.svg", "nano")
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\naxes.facecolor: black\nsvg.hashsalt: other\n")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from train.metrics import read_metrics; from train.plot import write_plot\n"
        "write_plot(read_metrics(Path('metrics.jsonl')), Path('there.svg'), 'nano')"
    )
    subprocess.run([sys.executable, "-c", code, str(root)], cwd=tmp_path, check=True, timeout=120)
    assert (tmp_path / "here.svg").read_bytes() == (tmp_path / "there.svg").read_bytes()
    assert not re.search(r"20\d\d-\d\d-\d\d", (tmp_path / "here.svg").read_text())


def test_it_is_a_white_card_that_reads_on_a_dark_page(tmp_path):
    write_plot(records(5), tmp_path / "loss.svg", "nano")
    picture = ElementTree.parse(tmp_path / "loss.svg").getroot()
    background = next(picture.iter(f"{SVG}path"))
    assert "fill: #ffffff" in background.get("style")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_shortest_runs_without_any_evaluation_are_drawn(tmp_path, count):
    write_plot(records(count, evaluate_every=100), tmp_path / "loss.svg", "nano")
    assert "held-out text" not in texts(tmp_path / "loss.svg")


def test_a_long_run_stays_a_small_file(tmp_path):
    write_plot(records(50_000, evaluate_every=500), tmp_path / "loss.svg", "nano")
    assert (tmp_path / "loss.svg").stat().st_size < 300_000


def test_any_title_is_shown_as_it_is(tmp_path):
    write_plot(records(2), tmp_path / "loss.svg", "$x_1$ & <b> \\frac 模型 \x00\x1b\ud800 " + "y" * 200)
    shown = texts(tmp_path / "loss.svg")
    assert any(text.startswith("$x_1$ & <b> \\frac 模型 ???") and text.endswith("y...") for text in shown)


def test_an_older_plot_is_replaced(tmp_path):
    path = tmp_path / "loss.svg"
    path.write_text("old")
    write_plot(records(2), path, "nano")
    assert ElementTree.parse(path).getroot().tag == f"{SVG}svg"
    assert [file.name for file in tmp_path.iterdir()] == ["loss.svg"]


def test_without_a_step_there_is_nothing_to_draw(tmp_path):
    with pytest.raises(ValueError, match="no step yet"):
        write_plot([{"event": "start"}], tmp_path / "loss.svg", "nano")
    assert list(tmp_path.iterdir()) == []


def test_where_matplotlib_is_missing_the_error_names_the_extra(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(EnvironmentFault, match=r'pip install "pocketlm\[train\]"'):
        write_plot(records(2), tmp_path / "loss.svg", "nano")


FLOATS = st.lists(st.floats(0, 20), min_size=1, max_size=60)


@given(FLOATS, st.integers(1, 12))
def test_the_thick_line_is_a_mean_of_neighbours(values, span):
    got = _smoothed(values, span)
    assert len(got) == len(values)
    for i, value in enumerate(got):
        reach = min(i, span // 2)
        part = values[i - reach : i + reach + 1]
        assert value == pytest.approx(sum(part) / len(part), abs=1e-9)


def test_the_thin_line_of_a_long_run_keeps_every_peak_in_order():
    values = [((i * 7919) % 10_007) / 100 for i in range(12_345)]
    numbers = list(range(1, len(values) + 1))
    xs, ys = _thinned(numbers, values)
    assert len(xs) <= 1000
    assert xs == sorted(set(xs)) and [values[x - 1] for x in xs] == ys
    width = -(-2 * len(values) // 1000)
    for start in range(0, len(values), width):
        part = values[start : start + width]
        shown = [y for x, y in zip(xs, ys, strict=True) if start < x <= start + width]
        assert (min(part), max(part)) == (min(shown), max(shown))
