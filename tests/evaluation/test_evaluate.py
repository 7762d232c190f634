"""Several things on one text: the same tokens for all, what is refused, what is said beforehand, and what comes out."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from evaluation.evaluate import evaluate_things
from evaluation.result import Evaluation
from evaluation.things import short_names
from export.package import Source, open_package, write_package
from kernels.load import in_use
from model.byte_tokenizer import write_byte_tokenizer
from model.checkpoint import INFO_FILE, random_checkpoint
from model.errors import GateError
from tests.evaluation.test_text import listing
from tests.packages import TINY, Made, make_checkpoint

TEXT = (
    "\n".join(["A cat slept in the sun.", "def f(x):", "1 + 1 = 2", "It rained all day, and then it stopped."]) + "\n"
)


def floats(made: Made) -> Path:
    """The float checkpoint that a package of tests/packages.py comes from."""
    return made.checkpoint.parent / "checkpoint"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def found(tiny_int4: Made, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(TEXT)
    return evaluate_things([tiny_int4.package, floats(tiny_int4), tiny_int4.checkpoint], text=path)


def test_all_things_are_scored_on_the_same_tokens_against_the_float_checkpoint(found):
    assert found.reference == "checkpoint"
    assert [thing.kind for thing in found.things] == ["package", "float checkpoint", "quantized checkpoint"]
    streams = [[list(d.tokens) for d in thing.documents] for thing in found.things]
    assert streams[0] == streams[1] == streams[2] and len(streams[0]) == 4
    package, reference, integers = found.things
    assert all(d.kl is None and d.agree is None for d in reference.documents)
    assert all((d.kl >= 0).all() and d.kl.sum() > 0 for d in package.documents)
    for ours, theirs in zip(package.documents, integers.documents, strict=True):
        assert ours.nll == pytest.approx(
            theirs.nll, abs=0.05
        )  # the file and its eager model: the parity tests say more


def test_what_ran_and_how_is_named(found):
    package, reference, integers = found.things
    assert package.kernels.startswith(f"ExecuTorch 1.5.1, XnnpackBackend, {in_use()} (llama::custom_quantized_sdpa")
    assert package.how == "the shipped forward, one token at a time"
    assert reference.kernels.startswith("torch 2.13.0") and reference.how == integers.how
    assert (package.recipe, package.method, integers.method, reference.recipe) == ("8da4w-g32", None, "rtn", None)


def test_the_json_holds_every_figure_with_its_interval_and_the_lines_tell_them(found):
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["text"]["documents"] == 4 and data["text"]["bytes"] == len(TEXT) - 4
    for thing in data["things"]:
        for name in ("nll", "perplexity", "bits_per_byte"):
            assert thing[name]["low"] <= thing[name]["value"] <= thing[name]["high"]
        assert (thing["kl_mean"] is None) == (thing["name"] == "checkpoint")
    assert "perplexity" not in data  # which of three?
    lines = "\n".join(found.lines())
    assert "against checkpoint: KL " in lines and "bits a byte" in lines and "the same first choice" in lines


def test_a_single_thing_keeps_its_figures_at_the_top(tiny_int4, text):
    found = evaluate_things([floats(tiny_int4)], text=text, max_tokens=9)
    data = found.to_json()
    assert data["perplexity"] == pytest.approx(data["things"][0]["perplexity"]["value"])
    assert (data["documents"], data["tokens"], data["recipe"]) == (4, 32, None)
    assert (data["protocol"], data["max_tokens"], data["text"]["cut"]) == ("lines", 9, 3)


def test_a_zip_is_scored_like_its_folder(tiny_int4, text, tmp_path):
    zipped = tmp_path / "package.zip"
    with open_package(tiny_int4.package) as package:
        files = {f.path: Source(role=f.role, content=package.folder / f.path) for f in package.manifest.files}
        write_package(zipped, manifest=dataclasses.replace(package.manifest, files=()), files=files, zipped=True)
    first, second = evaluate_things([tiny_int4.package, zipped], text=text, limit_documents=2).things
    assert all((a.nll == b.nll).all() for a, b in zip(first.documents, second.documents, strict=True))
    assert (first.name, second.name) == ("package", "package.zip")


def test_a_reference_that_is_none_of_the_things_is_scored_first(tiny_int4, text):
    found = evaluate_things([tiny_int4.checkpoint], text=text, reference=floats(tiny_int4), limit_documents=1)
    assert [thing.name for thing in found.things] == ["checkpoint", "quantized"]
    assert found.reference == "checkpoint" and found.things[1].documents[0].kl is not None
    named = evaluate_things([floats(tiny_int4), tiny_int4.checkpoint], text=text, reference=tiny_int4.checkpoint)
    assert named.reference == "quantized" and named.things[0].documents[0].kl is not None


def test_a_checkpoint_that_was_trained_for_a_recipe_is_no_reference_of_itself(tiny_int4, text, tmp_path):
    trained = tmp_path / "trained"
    shutil.copytree(floats(tiny_int4), trained)
    info = json.loads((trained / INFO_FILE).read_text())
    info["trained_for"] = json.loads((tiny_int4.checkpoint / INFO_FILE).read_text())["quantization"]
    (trained / INFO_FILE).write_text(json.dumps(info))
    found = evaluate_things([trained, floats(tiny_int4)], text=text, limit_documents=1)
    assert found.reference == "checkpoint"
    assert "trained was trained for a recipe but is scored unrounded" in found.notes[0]
    assert evaluate_things([trained], text=text, limit_documents=1).reference is None


def test_a_bounded_package_cuts_the_documents_of_all(tiny_bounded, tmp_path):
    (tmp_path / "long.txt").write_text("word " * 100)
    found = evaluate_things([floats(tiny_bounded), tiny_bounded.package], text=tmp_path / "long.txt")
    assert found.text.max_tokens == 97 and found.text.tokens == 96  # 96 positions: the last token is never an input
    assert all(len(thing.documents[0].tokens) == 97 for thing in found.things)
    assert "package has a bounded context of 96 tokens: 1 longer documents are cut after 97" in "\n".join(found.notes)
    assert "one document has no interval" in "\n".join(found.notes)


def test_an_endless_package_goes_on_past_its_window_and_says_so(tiny_int4, tmp_path):
    (tmp_path / "long.txt").write_text("word " * 60)  # 300 tokens, N is 241
    found = evaluate_things([tiny_int4.package], text=tmp_path / "long.txt")
    assert found.text.tokens > 241
    assert "package sees the last 241 tokens" in "\n".join(found.notes)


def test_text_that_was_trained_on_is_told_of_and_scored_all_the_same(tiny_int4, text, tmp_path):
    said: list[str] = []
    listed = listing(tmp_path / "list", ("a", "train", "def f(x):"), ("b", "held_out", "1 + 1 = 2"))
    found = evaluate_things([floats(tiny_int4)], text=text, trained_on=[listed], progress=said.append)
    assert found.things[0].trained_on == 1 and "trained on 1 of the 4" in found.things[0].warnings[0]
    assert any(line.startswith("warning: checkpoint was trained on 1 of the 4 documents") for line in said)
    copy = tmp_path / "run" / "checkpoint"
    shutil.copytree(floats(tiny_int4), copy)
    listing(tmp_path / "run" / "tokens", ("a", "train", "1 + 1 = 2\n"))
    others = evaluate_things([copy, tiny_int4.checkpoint], text=text)
    assert [thing.trained_on for thing in others.things] == [1, 0]
    assert others.to_json()["things"][0]["trained_on"] == 1


def test_things_with_different_tokenizers_are_refused_by_name(tiny_int4, text, tmp_path):
    other = tmp_path / "other"
    tokenizer = tmp_path / "tokenizer"
    tokenizer.mkdir()
    write_byte_tokenizer(tokenizer, 300)
    random_checkpoint(TINY, other, seed=0, tokenizer=tokenizer)
    with pytest.raises(ValueError, match=r"package and other have different tokenizers.*evaluate them apart"):
        evaluate_things([tiny_int4.package, other], text=text)


def test_things_with_different_vocabularies_are_refused_by_name(tmp_path, text):
    tokenizer = tmp_path / "tokenizer"
    tokenizer.mkdir()
    write_byte_tokenizer(tokenizer, 300)
    for name, size in (("small", 320), ("large", 352)):
        config = dataclasses.replace(TINY, vocab_size=size)
        random_checkpoint(config, tmp_path / name, seed=0, tokenizer=tokenizer)
    with pytest.raises(ValueError, match="small has a vocabulary of 320 entries, large one of 352"):
        evaluate_things([tmp_path / "small", tmp_path / "large"], text=text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "there is nothing to score"),
        ({"text": "text.txt", "max_tokens": 1}, "max_tokens is 1; at least 2"),
        ({"text": "no.txt"}, "no.txt is missing"),
        ({"text": "text.txt", "trained_on": [Path("nowhere")]}, "nowhere has no documents.jsonl"),
    ],
)
def test_what_cannot_be_scored_is_refused(tmp_path, text, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    make_checkpoint(TINY, tmp_path / "float")
    with pytest.raises(ValueError, match=message):
        evaluate_things([tmp_path / "float"], **options)


def test_a_path_that_is_no_thing_is_refused_with_what_it_is(tiny_int4, text, tmp_path):
    (tmp_path / "empty").mkdir()
    for path, message in (
        (tmp_path / "no", "no does not exist; give a checkpoint, a quantized checkpoint or a package"),
        (tmp_path / "empty", "empty is not a package: it is empty"),
        (text, "text.txt is not a package"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate_things([path], text=text)
    with pytest.raises(ValueError, match=r"quantized/\.\./quantized is given twice"):
        evaluate_things([tiny_int4.checkpoint, tiny_int4.checkpoint / ".." / "quantized"], text=text)


def test_a_package_with_another_program_than_its_manifest_says_fails_its_gate(tiny_int4, text, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_int4.package, copy)
    program = bytearray((copy / "model.pte").read_bytes())
    program[-1] ^= 1
    (copy / "model.pte").write_bytes(program)
    with pytest.raises(GateError, match=r"model.pte is damaged"):
        evaluate_things([copy], text=text)


def test_names_are_as_long_as_it_takes_to_tell_things_apart():
    paths = [Path("/a/x/checkpoint"), Path("/a/y/checkpoint"), Path("/a/y/package")]
    assert short_names(paths) == ["x/checkpoint", "y/checkpoint", "y/package"]
    assert short_names(paths[1:]) == ["checkpoint", "package"] and short_names([]) == []
