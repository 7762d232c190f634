import hashlib
import json
import sys
import sysconfig
import tokenize
from pathlib import Path

import pytest

from model.errors import EnvironmentFault
from train.settings import DataSettings
from train.sources import Document, Dropped, read_documents


def read(base: Path, *sources: str, **settings) -> list[Document]:
    return list(read_documents(DataSettings(sources=sources, **settings), base=base))


def names(documents: list[Document]) -> list[str]:
    return [document.name for document in documents]


def write(folder: Path, **files: str | bytes) -> Path:
    """Files named with `__` for a slash and `_` before their ending."""
    for name, content in files.items():
        stem, _, ending = name.replace("__", "/").rpartition("_")
        path = folder / f"{stem}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def test_a_folder_gives_its_files_by_path_with_slashes_and_leaves_hidden_ones_out(tmp_path):
    write(tmp_path / "text", b_txt="1", a__z_md="2", a__B_py="3", C_txt="4", picture_png=b"\xff")
    write(tmp_path / "text", **{".git__x_txt": "5", "a__.hidden_txt": "6"})
    (tmp_path / "text/__pycache__").mkdir()
    (tmp_path / "text/__pycache__/a.py").write_text("7")
    assert names(read(tmp_path, "text")) == ["C.txt", "a/B.py", "a/z.md", "b.txt"]


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({"include": ("*.py",)}, ["a.py", "lib/b.py", "lib/test/c.py", "test/d.py"]),
        ({"include": ("b.py",)}, ["lib/b.py"]),
        ({"include": ("lib/*",)}, ["lib/b.py", "lib/test/c.py"]),
        ({"exclude": ("test/*",)}, ["a.py", "lib/b.py", "lib/test/c.py", "n.md"]),
        ({"exclude": ("test",)}, ["a.py", "lib/b.py", "lib/test/c.py", "n.md"]),
        ({"exclude": ("*/test/*", "test/*")}, ["a.py", "lib/b.py", "n.md"]),
        ({"exclude": ("lib",), "include": ("*.py",)}, ["a.py", "test/d.py"]),
    ],
)
def test_patterns_name_files_paths_and_whole_folders(tmp_path, settings, left):
    write(tmp_path, a_py="1", lib__b_py="2", lib__test__c_py="3", test__d_py="4", n_md="5")
    assert names(read(tmp_path, ".", **settings)) == left


def test_a_file_that_is_named_is_read_whatever_its_ending(tmp_path):
    (tmp_path / "notes.log").write_text("kept")
    assert [(d.name, d.text) for d in read(tmp_path, "notes.log", include=("*.py",))] == [("notes.log", "kept")]


def test_nothing_in_a_text_is_changed(tmp_path):
    text = "\ufeffone\r\ntwo\rthree\n\x0c\x00\u2028 \U0001f600 e\u0301 "
    (tmp_path / "a.txt").write_bytes(text.encode())
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": text + "!"}))
    first, second = read(tmp_path, "a.txt", "b.jsonl")
    assert (first.text, second.text) == (text, text + "!")
    assert first.bytes == len(text.encode())
    assert first.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_repetitions_and_empty_texts_are_dropped_and_counted(tmp_path):
    write(tmp_path, a_txt="same", b_txt="same", c_txt=" \n\t", d_txt="", e_txt="same ")
    (tmp_path / "f.jsonl").write_text('{"text": "same"}\n{"text": null}\n')
    dropped = Dropped()
    data = DataSettings(sources=(".", "a.txt"))
    assert names(list(read_documents(data, base=tmp_path, dropped=dropped))) == ["a.txt", "e.txt"]
    assert dropped == Dropped(empty=3, duplicates=3)


def test_json_lines_are_named_by_their_line(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"body": "one", "id": 1}\r\n\n  \n{"body": "two\\nlines"}')
    found = read(tmp_path, "a.jsonl", field="body")
    assert [(d.name, d.text) for d in found] == [("a.jsonl:1", "one"), ("a.jsonl:4", "two\nlines")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "a"', "line 2: not valid JSON"),
        (b'["a"]', "line 2: holds a list; each line holds one object"),
        (b'{"body": "a", "id": 1}', "line 2: no field 'text' beside 'body', 'id'; set data.field"),
        (b'{"text": 3}', "a.jsonl:2: the field 'text' holds int; it must hold text"),
        (b'{"text": "\xff"}', "line 2: byte 10 is not UTF-8"),
        (b'{"text": "\\ud800"}', "a.jsonl:2: the text is not valid Unicode"),
    ],
)
def test_a_bad_json_line_is_named(tmp_path, line, message):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "fine"}\n' + line + b"\n")
    with pytest.raises(ValueError, match=message):
        read(tmp_path, ".")


def test_text_that_is_not_utf8_names_file_and_byte(tmp_path):
    write(tmp_path, sub__a_txt=b"gr\xfc\xdfe")
    with pytest.raises(ValueError, match=r"sub/a\.txt: byte 2 is not UTF-8 .*data\.exclude"):
        read(tmp_path, ".")


def test_parquet_gives_its_rows_across_row_groups(tmp_path):
    import pyarrow
    from pyarrow import parquet

    texts = [f"row {i}" for i in range(2500)]
    table = pyarrow.table({"id": range(2500), "body": texts, "text": pyarrow.array(texts, pyarrow.large_string())})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=700)
    assert [d.text for d in read(tmp_path, "a.parquet")] == texts
    assert [d.text for d in read(tmp_path, ".", field="body")] == texts
    assert names(read(tmp_path, "."))[-1] == "a.parquet:2500"
    with pytest.raises(ValueError, match="no field 'content' beside 'id', 'body', 'text'"):
        read(tmp_path, ".", field="content")
    with pytest.raises(ValueError, match="the field 'id' holds int"):
        read(tmp_path, ".", field="id")


def test_a_damaged_parquet_file_is_named(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(ValueError, match=r"a\.parquet is not a whole parquet file"):
        read(tmp_path, ".")


@pytest.mark.parametrize(("library", "source"), [("pyarrow", "a.parquet"), ("datasets", "hf:some/name")])
def test_a_missing_library_says_how_to_get_it(tmp_path, monkeypatch, library, source):
    (tmp_path / "a.parquet").touch()
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(EnvironmentFault, match=rf'{library} is missing.*pip install "pocketlm\[train\]"'):
        read(tmp_path, source)


def test_the_standard_library_is_what_the_interpreter_reads():
    found = read(Path(), "python:stdlib", include=("json/*.py", "sqlite3/*.py"), exclude=("*/test/*", "test/*"))
    folder = Path(sysconfig.get_path("stdlib"))
    assert {"json/decoder.py", "sqlite3/dbapi2.py"} <= set(names(found))
    for document in found:
        with tokenize.open(folder / document.name) as file:
            assert document.text == file.read()


def test_of_the_standard_library_modules_are_read_in_their_own_encoding(tmp_path, monkeypatch):
    folder = write(
        tmp_path / "python3",
        a_py="# coding: latin-1\nname = 'gr\xfc\xdfe'\n".encode("latin-1"),
        bad_py=b"name = '\xff'\n",
        odd_py=b"# coding: no-such-thing\n",
        notes_txt="not a module",
        **{"site-packages__b_py": "1", "dist-packages__c_py": "2", "lib__site-packages__d_py": "3"},
    )
    monkeypatch.setattr(sysconfig, "get_path", {"stdlib": str(folder)}.get)
    dropped = Dropped()
    found = list(read_documents(DataSettings(sources=("python:stdlib",)), base=tmp_path, dropped=dropped))
    assert [(d.name, d.text) for d in found] == [("a.py", "# coding: latin-1\nname = 'grüße'\n")]
    assert dropped == Dropped(undecodable=2)


def test_a_dataset_is_streamed_row_by_row(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "data").mkdir()
    for number in range(2):
        lines = [json.dumps({"text": f"file {number} row {i}"}) + "\n" for i in range(3)]
        (tmp_path / f"data/{number}.jsonl").write_text("".join(lines))
    found = read(tmp_path, "hf:data")
    assert [d.text for d in found] == [d.text for d in read(tmp_path, "data")]
    assert names(found)[0] == "hf:data:1"
    assert [d.text for d in read(tmp_path, "hf:data", max_documents=4)] == [d.text for d in found][:4]
    with pytest.raises(ValueError, match=r"hf:data cannot be read .*Bad split: test"):
        read(tmp_path, "hf:data", split="test")
    with pytest.raises(ValueError, match="hf:data, row 1: no field 'body' beside 'text'"):
        read(tmp_path, "hf:data", field="body")


@pytest.mark.parametrize(
    ("failure", "kind", "message"),
    [
        (FileNotFoundError("no such dataset"), ValueError, "hf:a/b cannot be read .no such dataset.; check the name"),
        (ConnectionError("no route"), EnvironmentFault, "hf:a/b cannot be fetched .ConnectionError: no route."),
    ],
)
def test_a_dataset_that_cannot_be_had_is_named(tmp_path, monkeypatch, failure, kind, message):
    class Library:
        @staticmethod
        def load_dataset(*args, **kwargs):
            raise failure

    monkeypatch.setitem(sys.modules, "datasets", Library)
    with pytest.raises(kind, match=message):
        read(tmp_path, "hf:a/b")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere", r"'nowhere' is neither a file nor a folder .*relative paths start at the run file's folder"),
        ("python:tests", r'unknown source .python:tests.; of Python there is "python:stdlib"'),
        ("empty", r"empty holds no file that matches \*\.txt, \*\.md"),
    ],
)
def test_a_source_without_text_is_named(tmp_path, source, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=message):
        read(tmp_path, source)
