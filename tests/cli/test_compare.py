"""`pocketlm compare` from argv to the report: what it writes, what it refuses, what an interruption leaves."""

import dataclasses
import json
import os
import re
import signal
from pathlib import Path

import pytest

from cli.main import main
from model.checkpoint import random_checkpoint
from quant.checkpoint import quantize_checkpoint
from tests.packages import TINY, make_checkpoint

TEXT = "\n".join(f"story {n}: one day a cat number {n * 7} went to the sea and saw {n % 3} fish." for n in range(12))
FILES = ["index.html", "report.json", "report.md"]


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    """A float checkpoint, what three methods made of it, a text and a task."""
    folder = tmp_path_factory.mktemp("compare")
    make_checkpoint(TINY, folder / "float")
    for method in ("rtn", "rtn7", "mse"):
        quantize_checkpoint(folder / "float", folder / method, recipe="8da4w-g32", method=method)
    (folder / "text.txt").write_text(TEXT)
    questions = [{"query": "one day a", "choices": ["cat", "sea"], "gold": n % 2} for n in range(4)]
    (folder / "animals.jsonl").write_text("\n".join(map(json.dumps, questions)))
    return folder


@pytest.fixture
def run(things, tmp_path, monkeypatch, capfd):
    """Runs `compare` inside the folder of the things; gives code, stdout and stderr."""
    monkeypatch.chdir(things)

    def call(*argv: object, text: bool = True) -> tuple[int, str, str]:
        more = ["--text", "text.txt", "--max-tokens", "24"] if text else []
        code = main(["compare", *map(str, argv), *more])
        out, err = capfd.readouterr()
        return code, out, err

    return call


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_comparison_writes_a_report_that_agrees_with_what_it_prints(run, tmp_path):
    out = tmp_path / "report"
    code, printed, err = run(
        "--float", "float", "--ptq", "rtn", "rtn7", "--qat", "mse", "--tasks", "animals.jsonl", "-o", out, "--json"
    )
    assert code == 0, err
    assert listed(out) == FILES
    found = json.loads(printed)
    assert found.pop("output") == str(out)
    assert found == json.loads((out / "report.json").read_text())
    assert [(row["name"], row["role"]) for row in found["rows"]] == [
        ("float", "float"), ("rtn", "ptq"), ("rtn7", "ptq"), ("mse", "qat")
    ]  # fmt: skip
    assert found["text"]["documents"] == 10 and found["selection"]["documents"] == 2
    assert found["rows"][0]["figures"]["kl_mean"] is None and found["rows"][1]["figures"]["kl_mean"]["value"] > 0
    assert found["rows"][3]["figures"]["tasks"]["animals"]["value"] in (0, 0.25, 0.5, 0.75, 1)
    assert len(found["layers"]) == 3 * 15 and found["layer_tokens"] == 10 * 24
    assert all(layer["outputs_db"] > 0 for layer in found["layers"])
    assert {place["thing"] for place in found["disagreements"]} == {found["selection"]["best_ptq"], "mse"}
    for place in found["disagreements"]:
        assert place["float_choice"]["by_float"] >= place["thing_choice"]["by_float"]
        assert place["thing_choice"]["by_thing"] >= place["float_choice"]["by_thing"]
    assert found["verdict"] in (out / "report.md").read_text().replace("\\", "")
    assert "scored" in err and "measuring each layer" in err


def test_people_get_the_verdict_a_line_a_thing_and_the_page(run, tmp_path):
    code, printed, _ = run("--float", "float", "--ptq", "rtn", "--qat", "mse", "-o", tmp_path / "report")
    assert code == 0
    lines = printed.splitlines()
    assert "mse" in lines[0] and lines[0].endswith(".")
    assert [line.split()[0] for line in lines[1:4]] == ["float", "rtn", "mse"]
    assert re.match(r"  rtn \(ptq\): perplexity [\d,.]+ \(.* to .*\), KL .*, top-1 .* %", lines[2])
    assert lines[-1].endswith(f"Page: {tmp_path / 'report' / 'index.html'}")


def test_a_text_that_may_not_be_passed_on_is_not_quoted(run, tmp_path):
    argv = ("--float", "float", "--qat", "mse", "--no-quotes", "-o", tmp_path / "report", "--json")
    code, printed, err = run(*argv)
    assert code == 0, err
    assert json.loads(printed)["disagreements"] == []
    assert not any("one day a cat" in (tmp_path / "report" / name).read_text() for name in FILES)


def test_without_quotes_no_passage_of_the_text_is_passed_on(run, tmp_path):
    out = tmp_path / "report"
    assert run("--float", "float", "--ptq", "rtn", "--no-quotes", "-o", out)[0] == 0
    assert json.loads((out / "report.json").read_text())["disagreements"] == []
    for name in FILES:
        assert "went to the sea" not in (out / name).read_text()


def test_baselines_are_made_beside_the_report_and_removed_or_kept(run, things, tmp_path):
    argv = ["--float", "float", "--qat", "mse", "--ptq-methods", "rtn,gptq", "--calibrate", "text.txt", "--json"]
    code, printed, err = run(*argv, "-o", tmp_path / "report")
    assert code == 0, err
    rows = {row["name"]: row for row in json.loads(printed)["rows"]}
    assert rows["gptq"]["path"] == "made here by gptq" and rows["gptq"]["method"] == "gptq"
    assert rows["gptq"]["weight_bytes"] == rows["rtn"]["weight_bytes"] > 0
    assert listed(tmp_path) == ["report"]
    code, printed, err = run(*argv, "-o", tmp_path / "report2", "--keep", tmp_path / "kept")
    assert code == 0, err
    assert listed(tmp_path / "kept") == ["gptq", "rtn"]


def test_a_method_that_fails_is_in_the_report(run, tmp_path, monkeypatch):
    from evaluation import baselines

    real = baselines.quantize_checkpoint

    def fails(source, out, **settings):
        if settings["method"] == "hqq":
            raise RuntimeError("no HQQ on this machine")
        return real(source, out, **settings)

    monkeypatch.setattr(baselines, "quantize_checkpoint", fails)
    code, printed, err = run("--float", "float", "--ptq-methods", "rtn,hqq", "-o", tmp_path / "report")
    assert code == 0
    assert "  hqq (ptq) failed: no HQQ on this machine" in printed.splitlines()
    assert "warning: hqq failed" in err
    for name in FILES:
        assert "no HQQ on this machine" in (tmp_path / "report" / name).read_text()


def test_an_older_report_is_replaced_when_asked_and_nothing_else_is(run, tmp_path):
    out = tmp_path / "report"
    argv = ["--float", "float", "--ptq", "rtn", "-o", out]
    assert run(*argv)[0] == 0
    before = (out / "report.json").read_bytes()
    code, _, err = run(*argv)
    assert code == 1 and "report exists already; pass --overwrite" in err
    assert "scored" not in err  # refused before any work
    assert run(*argv, "--overwrite")[0] == 0
    again = json.loads((out / "report.json").read_text())
    for thing in again["rows"]:
        del thing["seconds"]
    first = json.loads(before)
    for thing in first["rows"]:
        del thing["seconds"]
    assert again == first
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    code, _, err = run(*argv[:-1], tmp_path / "mine", "--overwrite")
    assert code == 1 and "holds notes.txt, which pocketlm has not written" in err


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["--ptq", "rtn"], 2, "Missing option '--float'"),
        (
            ["--float", "nowhere", "--ptq", "rtn"],
            1,
            "nowhere does not exist; give a checkpoint or a package as --float",
        ),
        (["--float", "float", "--ptq", "float"], 1, "is given twice"),
        (["--float", "rtn", "--ptq", "rtn7"], 1, "rtn is quantized; give the float model"),
        (["--float", "float", "--qat", "wide"], 1, "wide has another shape than float: ffn_dim 128, not 96"),
        (["--float", "float", "--ptq", "foreign"], 1, "different tokenizers"),
        (["--float", "float", "--ptq", "rtn", "rtn7", "--select-every", "50"], 1, "every 50th is none"),
        (["--float", "float", "--ptq", "rtn", "rtn7", "--select-text", "text.txt"], 1, "are also reported on"),
        (["--float", "float", "--ptq-methods", "gptq"], 1, "method gptq looks at text; give --calibrate"),
        (["--float", "float", "--ptq-methods", "rtm"], 1, "did you mean 'rtn'"),
        (["--float", "float", "stray"], 2, "unexpected extra argument"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(run, things, tmp_path, argv, code, message):
    if "wide" in argv and not (things / "wide").exists():
        random_checkpoint(dataclasses.replace(TINY, ffn_dim=128), things / "wide-float", seed=0)
        quantize_checkpoint(things / "wide-float", things / "wide", recipe="8da4w-g32")
    if "foreign" in argv and not (things / "foreign").exists():
        quantize_checkpoint(things / "float", things / "foreign", recipe="8da4w-g32")
        tokenizer = json.loads((things / "foreign" / "tokenizer.json").read_text())
        tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:-1]
        tokenizer["version"] = "1.0 "
        (things / "foreign" / "tokenizer.json").write_text(json.dumps(tokenizer))
    found, printed, err = run(*argv, "-o", tmp_path / "report")
    assert found == code and message in err and printed == ""
    assert [line for line in err.splitlines() if "error:" in line] == err.splitlines()[-1:]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "place",
    [
        "evaluation.baselines.quantize_checkpoint",
        "evaluation.compare.evaluate_things",
        "evaluation.compare.measure_layers",
        "evaluation.compare.to_page",
    ],
)
@pytest.mark.parametrize("is_there", [False, True])
def test_ctrl_c_at_any_stage_leaves_what_was_there(run, tmp_path, monkeypatch, place, is_there):
    out = tmp_path / "report"
    if is_there:
        out.mkdir()
        for name in FILES:
            (out / name).write_text("old")
    module, _, name = place.rpartition(".")
    module = __import__(module, fromlist=[name])
    real = getattr(module, name)

    def interrupted(*args, **settings):
        result = real(*args, **settings)
        os.kill(os.getpid(), signal.SIGINT)
        return result

    monkeypatch.setattr(module, name, interrupted)
    code, printed, err = run("--float", "float", "--ptq-methods", "rtn", "-o", out, "--overwrite")
    assert code == 130 and printed == "" and err.endswith("interrupted; nothing half-written was kept\n")
    assert [path.name for path in tmp_path.iterdir()] == (["report"] if is_there else [])
    if is_there:
        assert {(out / name).read_text() for name in FILES} == {"old"}
