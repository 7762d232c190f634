"""What is read as documents: text files, folders, JSON lines, and what a run held out, by its hashes."""

import hashlib
import json
import sysconfig
import tokenize
from pathlib import Path

import pytest

from evaluation.listed import find_list
from evaluation.text import read_text


def listing(folder: Path, *entries: tuple[str, str, str]) -> Path:
    """documents.jsonl with (name, split, text) entries."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "documents.jsonl"
    lines = [
        {"name": name, "split": split, "bytes": 1, "sha256": hashlib.sha256(text.encode()).hexdigest(), "tokens": 3}
        for name, split, text in entries
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    (source / "a.txt").write_text(" A text.\n\nOf two lines.\n")
    (source / "inner" / "b.md").write_text("Another.\n")
    (source / "c.jsonl").write_text('{"text": "First line."}\n\n{"text": "Third line."}\n')
    return source


def test_a_text_file_is_split_by_lines_unless_a_protocol_is_named(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("one\n\n two \n")
    read = read_text(str(file), protocol=None)
    assert (read.protocol, [d.text for d in read.documents]) == ("lines", ["one", "two"])
    assert read.file_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert [d.text for d in read_text(str(file), protocol="whole").documents] == ["one\n\n two"]
    assert [d.text for d in read_text(str(file), protocol="files").documents] == ["one\n\n two \n"]


def test_a_folder_is_its_files_and_json_lines_are_documents_with_white_space_and_all(folder):
    read = read_text(str(folder), protocol=None)
    assert [(d.name, d.text) for d in read.documents] == [
        ("a.txt", " A text.\n\nOf two lines.\n"),
        ("c.jsonl:1", "First line."),
        ("c.jsonl:3", "Third line."),
        ("inner/b.md", "Another.\n"),
    ]
    assert (read.protocol, read.file_sha256) == ("files", None)
    assert [d.name for d in read_text(str(folder / "c.jsonl"), protocol=None).documents] == ["c.jsonl:1", "c.jsonl:3"]


def test_only_what_a_run_held_out_is_read_and_found_by_its_hash(folder, tmp_path):
    run = tmp_path / "run"
    listing(
        run / "tokens",
        ("a.txt", "train", " A text.\n\nOf two lines.\n"),
        ("inner/b.md", "held_out", "Another.\n"),
        ("c.jsonl:3", "held_out", "Third line."),
    )
    read = read_text(str(folder), protocol=None, listed=run)
    assert [d.name for d in read.documents] == ["c.jsonl:3", "inner/b.md"]
    assert read.held_out_of == str(run)


def test_documents_are_taken_out_of_a_file_as_the_run_took_them(tmp_path):
    source = tmp_path / "stories.txt"
    source.write_text("One.\n<end>\nTwo.\n<end>\nThree.\n")
    run, tokens = tmp_path / "run", tmp_path / "tokens"
    listing(tokens, ("stories.txt:1", "train", "One."), ("stories.txt:2", "held_out", "Two."))
    (tokens / "index.json").write_text(json.dumps({"settings": {"data.separator": "<end>", "data.field": "text"}}))
    (run / "checkpoint").mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"settings": {"data": {"tokens": str(tokens)}}}))
    for place in (run, run / "checkpoint", tokens):  # the run keeps its tokens elsewhere
        assert [d.text for d in read_text(str(source), protocol=None, listed=place).documents] == ["Two."]


def test_held_out_text_that_is_another_version_is_refused(folder, tmp_path):
    listed = listing(tmp_path, ("c.jsonl:3", "held_out", "Third line."), ("inner/b.md", "held_out", "As it was.\n"))
    with pytest.raises(
        ValueError, match=r"no document that is what 'inner/b.md' was .* of 2 held out: .* another version"
    ):
        read_text(str(folder), protocol=None, listed=listed)


def test_the_held_out_modules_of_the_demo_model_are_named_by_its_list(root, tmp_path):
    """The real list if this is its Python, else one of the same form made here."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    texts = {}
    for name in ("bisect.py", "json/scanner.py", "this.py"):
        with tokenize.open(stdlib / name) as file:
            texts[name] = file.read()
    listed = listing(tmp_path, *((n, "train" if n == "this.py" else "held_out", t) for n, t in texts.items()))
    read = read_text("python:stdlib", protocol=None, listed=listed)
    assert {d.name: d.text for d in read.documents} == {n: t for n, t in texts.items() if n != "this.py"}
    assert find_list(root / "assets" / "nano") == root / "assets" / "nano" / "documents.jsonl"


def test_the_list_is_found_from_a_run_and_from_its_checkpoint(tmp_path):
    run = tmp_path / "run"
    path = listing(run / "tokens", ("a", "train", "x"))
    (run / "checkpoint").mkdir()
    assert find_list(run) == find_list(run / "checkpoint") == find_list(path) == path
    with pytest.raises(ValueError, match=r"has no documents.jsonl; give one, or the folder of a `pocketlm train` run"):
        find_list(tmp_path)


def test_a_limit_keeps_the_first_documents(folder):
    assert [d.name for d in read_text(str(folder), protocol=None, limit=2).documents] == ["a.txt", "c.jsonl:1"]
    with pytest.raises(ValueError, match="limit of documents is 0"):
        read_text(str(folder), protocol=None, limit=0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not valid JSON"),
        ("[]", "line 2: no name, split and sha256"),
        ('{"name": "a", "split": "train"}', "line 2: no name, split and sha256"),
    ],
)
def test_a_damaged_list_is_refused_with_the_line(folder, tmp_path, line, message):
    path = listing(tmp_path, ("a.txt", "held_out", "x"))
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValueError, match=message):
        read_text(str(folder), protocol=None, listed=path)


def test_what_cannot_be_read_as_asked_is_refused(folder, tmp_path):
    listed = listing(tmp_path, ("a.txt", "train", "x"))
    with pytest.raises(ValueError, match="lists no document of the split 'held_out'"):
        read_text(str(folder), protocol=None, listed=listed)
    with pytest.raises(ValueError, match=r"protocol 'lines' makes documents that .* does not list"):
        read_text(str(folder / "a.txt"), protocol="lines", listed=listed)
    with pytest.raises(ValueError, match="is a folder"):
        read_text(str(folder), protocol="stories")
    with pytest.raises(ValueError, match=r'unknown source .*python:no.*"python:stdlib"'):
        read_text("python:no", protocol="files")
    with pytest.raises(ValueError, match="is missing; name a text file"):
        read_text(str(tmp_path / "no.txt"), protocol=None)
