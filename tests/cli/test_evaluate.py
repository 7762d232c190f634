"""`pocketlm evaluate`: what it prints, what a program reads, and one line for each thing that can go wrong."""

import importlib.util
import json

import pytest

from cli.main import main
from tests.evaluation.test_evaluate import TEXT, floats
from tests.evaluation.test_text import listing


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def run(capfd, *argv):
    code = main(["evaluate", *map(str, argv)])
    out, err = capfd.readouterr()
    return code, out, err


def test_json_is_one_value_with_the_figures_of_every_thing(tiny_int4, text, capfd):
    code, out, err = run(capfd, floats(tiny_int4), tiny_int4.package, "--text", text, "--max-tokens", "12", "--json")
    assert code == 0
    found = json.loads(out)
    assert [thing["name"] for thing in found["things"]] == ["checkpoint", "package"]
    assert found["reference"] == "checkpoint" and found["text"]["max_tokens"] == 12
    assert "scored" in err and "perplexity so far: checkpoint " in err


def test_a_single_checkpoint_prints_what_scripts_have_always_read(tiny_int4, text, capfd):
    code, out, _ = run(capfd, tiny_int4.checkpoint, "--text", text, "--json")
    found = json.loads(out)
    assert code == 0
    assert {"documents", "tokens", "nll", "perplexity", "recipe", "protocol", "max_tokens", "seconds"} <= set(found)
    assert (found["recipe"], found["protocol"], found["documents"]) == ("8da4w-g32", "lines", 4)


def test_people_get_lines_and_warnings(tiny_int4, text, tmp_path, capfd):
    questions = tmp_path / "cats.jsonl"
    questions.write_text('{"query": "A cat", "choices": ["sleeps", "flies"], "gold": 0}\n' * 3)
    listed = listing(tmp_path / "list", ("a", "train", "def f(x):"))
    code, out, err = run(
        capfd, floats(tiny_int4), tiny_int4.checkpoint, "--text", text, "--tasks", questions, "--limit", "2",
        "--trained-on", listed,
    )  # fmt: skip
    assert code == 0
    assert "4 documents by the protocol lines" in out and "in brackets 95 % intervals over documents" in out
    assert "quantized: quantized checkpoint, 8da4w-g32 by rtn" in out and "against checkpoint: KL " in out
    assert "  cats: " in out and "right by likelihood a byte" in out and "of 2\n" in out
    assert "warning: checkpoint was trained on 1 of the 4 documents" in err
    assert "  warning: trained on 1 of the 4 documents" in out


def test_only_what_a_run_held_out_is_scored(tiny_int4, tmp_path, capfd):
    source = tmp_path / "source"
    source.mkdir()
    for name in "ab":
        (source / f"{name}.txt").write_text(f"The text {name}.\n")
    listed = listing(tmp_path, ("a.txt", "train", "The text a.\n"), ("b.txt", "held_out", "The text b.\n"))
    code, out, _ = run(capfd, floats(tiny_int4), "--text", source, "--held-out", listed, "--json")
    found = json.loads(out)
    assert code == 0 and found["text"]["documents"] == 1 and found["text"]["held_out_of"] == str(listed)
    assert found["text"]["bytes"] == len("The text b.\n")


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["--text", "no.txt"], 1, ["no.txt is missing", "name a text file"]),
        (["--text", "text.txt", "--protocol", "story"], 1, ["unknown protocol 'story'", "did you mean 'stories'"]),
        (["--tasks", "text.txt"], 1, ["text.txt, line 1: not valid JSON"]),
        (["--text", "text.txt", "--reference", "no"], 1, ["no does not exist"]),
        (["--text", "text.txt", "--held-out", "no"], 1, ["no has no documents.jsonl"]),
        (["--text", "text.txt", "--twin", "no"], 1, ["no/checkpoint.json is missing"]),
        ([], 2, ["give --text, --tasks or --lm-eval"]),
        (["--text", "text.txt", "--max-tokens", "1"], 2, ["--max-tokens"]),
    ],
)
def test_what_goes_wrong_is_one_line_with_its_exit_code(tiny_int4, text, monkeypatch, capfd, argv, code, words):
    monkeypatch.chdir(text.parent)
    found, out, err = run(capfd, floats(tiny_int4), *argv)
    assert (found, out) == (code, "")
    last = err.splitlines()[-1]
    assert last.startswith("pocketlm: error: ")
    for word in words:
        assert word in last


def test_a_missing_harness_is_the_environments_fault_and_says_how_to_get_it(tiny_int4, monkeypatch, capfd):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, out, err = run(capfd, floats(tiny_int4), "--lm-eval", "lambada")
    assert (code, out) == (4, "")
    assert 'pip install "pocketlm[eval]"' in err and err.count("\n") == 1
