import dataclasses
import json
import math
import re

from evaluation.report_markdown import to_markdown
from model.files import dump_json
from tests.evaluation.synthetic_report import make_comparison


def tables(markdown: str) -> list[list[list[str]]]:
    """The cells of each table, split where a reader of Markdown splits."""
    found, current = [], []
    for line in [*markdown.splitlines(), ""]:
        if line.startswith("|"):
            current.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif current:
            found.append(current)
            current = []
    return found


def test_the_verdict_comes_first_and_every_thing_has_its_row():
    comparison = make_comparison()
    markdown = to_markdown(comparison)
    assert markdown.splitlines()[2].startswith("**distilled recovers")
    figures = tables(markdown)[0]
    assert [row[0] for row in figures[2:]] == [
        "float (float)", "rtn (ptq, rtn)", "hqq (ptq, hqq)", "distilled (qat, distilled)", "tuned (qat, tuned)"
    ]  # fmt: skip
    assert figures[2][3] == "" and re.fullmatch(r"0\.\d+ \(0\.\d+ to 0\.\d+\)", figures[3][3])


def test_every_table_has_as_many_cells_in_each_row_as_in_its_head():
    for table in tables(to_markdown(make_comparison(text_before="a | b `code` \\ <b> \n\t[x](y)"))):
        assert len({len(row) for row in table}) == 1


def test_names_and_texts_never_become_markup():
    comparison = make_comparison(text_before="``` | \u202e <script>")
    row = dataclasses.replace(comparison.rows[1], name="run_*a*|<b>")
    markdown = to_markdown(dataclasses.replace(comparison, rows=(comparison.rows[0], row, *comparison.rows[2:])))
    assert r"run\_\*a\*\|\<b\>" in markdown
    assert "\u202e" not in markdown


def test_a_failed_method_is_listed_with_its_error():
    assert r"| gptq | ptq | the Hessian of layers.1.feed\_forward.up\_proj is singular |" in to_markdown(
        make_comparison()
    )


def test_the_json_holds_every_figure_and_no_number_that_json_does_not_know():
    comparison = make_comparison()
    same = dataclasses.replace(comparison.layers[0], weights_db=math.inf)
    data = json.loads(dump_json(dataclasses.replace(comparison, layers=(same, *comparison.layers[1:])).to_json()))
    assert data["format"] == "pocketlm-comparison" and data["version"] == 1
    assert data["verdict"] == comparison.verdict.sentence
    assert data["layers"][0]["weights_db"] is None
    assert data["rows"][0]["figures"]["perplexity"]["value"] == comparison.rows[0].figures.perplexity.value
    assert len(data["histogram_edges"]) + 1 == len(data["histograms"][0]["tokens"])
    assert data["restorations"][0]["recovered"]["low"] < data["restorations"][0]["recovered"]["high"]
    assert data["selection"]["best_ptq"] == "hqq"


def test_a_comparison_of_one_document_says_that_there_is_no_interval():
    assert "(no interval)" in to_markdown(make_comparison(documents=1))
