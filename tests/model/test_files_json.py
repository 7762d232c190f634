"""JSON has one spelling and one clear line when it is broken; hashes are those of the bytes. Outputs: test_files.py."""

import hashlib
from pathlib import Path

import pytest

from model.files import dump_json, read_json, sha256_file


def test_json_has_one_spelling() -> None:
    assert dump_json({"b": [1], "a": "é"}) == '{\n  "a": "é",\n  "b": [\n    1\n  ]\n}\n'


def test_json_that_no_other_reader_knows_is_not_written() -> None:
    with pytest.raises(ValueError, match="nan"):
        dump_json({"a": float("nan")})


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1,}', b"\xff\xfe", b"[" * 200_000])
def test_broken_json_is_refused_by_its_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.json is not valid JSON"):
        read_json(tmp_path / "x.json")


def test_missing_json_is_refused_by_its_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x\.json is missing"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1])
def test_the_hash_is_that_of_the_whole_file(tmp_path: Path, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    (tmp_path / "data").write_bytes(data[:size])
    assert sha256_file(tmp_path / "data") == hashlib.sha256(data[:size]).hexdigest()
