"""`pocketlm sensitivity` as a user types it: from the ranked table to a checkpoint nearer to the float model."""

import json
import shlex
from pathlib import Path

import pytest

import evaluation.sensitivity as measuring
from cli.main import main
from evaluation.scoring import score_documents
from model.convert import convert
from tests.packages import TINY, make_checkpoint

TEXT = (
    "One day a girl named Lily went to the park.\nTom had a big red ball. He liked to play.\nThe dog ran to the tree.\n"
)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A random checkpoint and a text."""
    make_checkpoint(TINY, tmp_path / "checkpoint")
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path


def pocket(*argv: object) -> int:
    return main([str(arg) for arg in argv])


def test_the_printed_overrides_bring_the_quantized_model_nearer_to_the_float_one(shared, tmp_path, capfd) -> None:
    checkpoint, text = tmp_path / "checkpoint", tmp_path / "text.txt"
    convert(shared / "checkpoints" / "stories260K", checkpoint)
    text.write_text(TEXT)
    capfd.readouterr()
    assert pocket("sensitivity", checkpoint, "--text", text, "-o", tmp_path / "costs") == 0
    out, err = capfd.readouterr()
    table, arguments = out.splitlines(), shlex.split(next(x for x in out.splitlines() if "--override" in x))
    assert len(table) > 30 and "measuring everything together" in err and arguments[0] == "--override"
    data = json.loads((tmp_path / "costs" / "sensitivity.json").read_text())
    sizes = {}
    for name, extra in (("plain", []), ("wider", arguments)):
        assert pocket("quantize", checkpoint, tmp_path / name, "--json", *extra) == 0
        sizes[name] = json.loads(capfd.readouterr().out)["total_bytes"]
    assert pocket("evaluate", checkpoint, tmp_path / "plain", tmp_path / "wider", "--text", text, "--json") == 0
    _, plain, wider = (thing["kl_mean"] for thing in json.loads(capfd.readouterr().out)["things"])
    assert wider["value"] < 0.9 * plain["value"]
    assert plain == data["everything"]["kl"] and wider == data["suggestion"]["kl"]  # what was promised, to the bit
    assert sizes["wider"] - sizes["plain"] == data["suggestion"]["more_bytes"] < 0.05 * sizes["plain"]
    assert data["rows"][0]["name"] == "embedding"  # the table of 512 entries is used at both ends


def test_json_is_one_value_and_the_same_as_the_file(made, capfd) -> None:
    argv = ["sensitivity", made / "checkpoint", "--text", made / "text.txt", "--by", "block", "--limit-documents", 2]
    assert pocket(*argv, "--json", "-o", made / "costs") == 0
    data = json.loads(capfd.readouterr().out)
    assert data == json.loads((made / "costs" / "sensitivity.json").read_text())
    assert sorted(file.name for file in (made / "costs").iterdir()) == ["sensitivity.json", "sensitivity.svg"]
    assert data["by"] == "block" and data["text"]["documents"] == 2


def test_an_output_that_may_not_be_written_is_refused_before_anything_is_measured(made, capfd, monkeypatch) -> None:
    monkeypatch.setattr(measuring, "score_documents", None)
    for out in (made / "text.txt", made / "checkpoint", made / "checkpoint" / "costs"):
        assert pocket("sensitivity", made / "checkpoint", "--text", made / "text.txt", "-o", out) == 1
        assert str(out) in capfd.readouterr().err
    assert (made / "text.txt").read_text() == TEXT


def test_ctrl_c_leaves_nothing_behind(made, capfd, monkeypatch) -> None:
    def interrupted(runs, documents, *, reference):
        if documents[0].name == "2":
            raise KeyboardInterrupt
        score_documents(runs, documents, reference=reference)

    monkeypatch.setattr(measuring, "score_documents", interrupted)
    before = sorted(made.rglob("*"))
    assert pocket("sensitivity", made / "checkpoint", "--text", made / "text.txt", "-o", made / "costs") == 130
    assert "interrupted" in capfd.readouterr().err
    assert sorted(made.rglob("*")) == before


def test_gptq_is_measured_with_its_calibration_text(made, capfd) -> None:
    argv = ["sensitivity", made / "checkpoint", "--text", made / "text.txt", "--method", "gptq", "--by", "block"]
    assert pocket(*argv) == 1
    assert "calibration text" in capfd.readouterr().err
    assert pocket(*argv, "--calibrate", made / "text.txt", "--json") == 0
    assert json.loads(capfd.readouterr().out)["method"] == "gptq"
