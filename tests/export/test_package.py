"""Writing packages and opening them again, whole and damaged."""

import dataclasses
import hashlib
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from export.manifest import parse_manifest
from export.package import Source, open_package, write_package
from model.errors import EnvironmentFault, GateError
from model.files import dump_json
from tests.export.manifest_corpus import endless
from tests.export.small_package import PROGRAM, SOURCES, bare_manifest, rezip


@pytest.fixture
def folder(tmp_path) -> Path:
    write_package(tmp_path / "package", manifest=bare_manifest(), files=SOURCES)
    return tmp_path / "package"


@pytest.fixture
def temporaries(tmp_path, monkeypatch) -> Path:
    """The place where zips are unpacked, to look at afterwards."""
    place = tmp_path / "unpacked"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


@pytest.fixture
def zipped(tmp_path) -> Path:
    write_package(tmp_path / "package.zip", manifest=bare_manifest(), files=SOURCES, zipped=True)
    return tmp_path / "package.zip"


def test_a_folder_opens_with_its_manifest_files_and_hash(folder):
    with open_package(folder) as package:
        assert package.path("program").read_bytes() == PROGRAM
        assert package.path("tokenizer") == package.path("tokenizer.json") == folder / "tokenizer.json"
        assert package.path("licence").read_bytes() == b"Apache-2.0\n"
        assert package.manifest.to_json() == parse_manifest(package.manifest.to_json()).to_json()
        assert [file.path for file in package.manifest.files] == ["licences/LICENSE", "model.pte", "tokenizer.json"]
        assert package.sha256 == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
        with pytest.raises(ValueError, match="'weights' names 0 files of the package; it has licences/L"):
            package.path("weights")
    assert folder.is_dir()  # only what was unpacked is removed


def test_a_zip_opens_to_the_same_package_and_leaves_nothing_behind(folder, zipped, temporaries):
    with open_package(zipped) as package:
        assert package.manifest == open_package(folder).manifest
        assert package.sha256 == open_package(folder).sha256
        assert package.path("program").read_bytes() == PROGRAM
        assert package.folder.parent == temporaries
    assert list(temporaries.iterdir()) == []


def test_sources_may_be_files(tmp_path, folder):
    paths = {}
    for name, source in SOURCES.items():
        paths[name] = Source(role=source.role, content=tmp_path / source.role)
        (tmp_path / source.role).write_bytes(source.content)
        (tmp_path / source.role).chmod(0o600)
    write_package(tmp_path / "again", manifest=bare_manifest(), files=paths)
    assert (tmp_path / "again" / "manifest.json").read_bytes() == (folder / "manifest.json").read_bytes()
    write_package(tmp_path / "a.zip", manifest=bare_manifest(), files=paths, zipped=True)
    write_package(tmp_path / "b.zip", manifest=bare_manifest(), files=SOURCES, zipped=True)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_two_processes_in_two_folders_write_the_same_bytes(tmp_path, folder, zipped):
    code = (
        "import os, sys; os.umask(0o077)\n"
        "from pathlib import Path\n"
        "from export.package import write_package\n"
        "from tests.export.small_package import SOURCES, bare_manifest\n"
        "files = dict(reversed(SOURCES.items()))\n"
        "write_package(Path('far/away/p'), manifest=bare_manifest(), files=files)\n"
        "write_package(Path('far/away/q.zip'), manifest=bare_manifest(), files=files, zipped=True)\n"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root), "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"},
    )
    there = tmp_path / "far" / "away"
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(there / "p") for path in (there / "p").rglob("*") if path.is_file())
    for name in names:
        assert (folder / name).read_bytes() == (there / "p" / name).read_bytes()
    assert zipped.read_bytes() == (there / "q.zip").read_bytes()


def test_a_manifest_that_breaks_a_rule_is_not_written(tmp_path):
    broken = dataclasses.replace(bare_manifest(), chunk=9)
    with pytest.raises(ValueError, match=r"manifest\.json: cache\.layers\[0\]\.slots is 23"):
        write_package(tmp_path / "package", manifest=broken, files=SOURCES)
    with pytest.raises(ValueError, match="has 0 entries of role tokenizer"):
        write_package(tmp_path / "package", manifest=bare_manifest(), files={"model.pte": SOURCES["model.pte"]})
    with pytest.raises(ValueError, match="a relative path inside the package"):
        write_package(
            tmp_path / "package",
            manifest=bare_manifest(),
            files={**SOURCES, "../x": Source(role="licence", content=b"")},
        )
    with pytest.raises(ValueError, match=r"gone\.pte is missing; it should become model\.pte of the package"):
        write_package(
            tmp_path / "package",
            manifest=bare_manifest(),
            files={**SOURCES, "model.pte": Source(role="program", content=tmp_path / "gone.pte")},
        )
    with pytest.raises(ValueError, match="lists 3 files already"):
        write_package(tmp_path / "package", manifest=parse_manifest(endless()), files=SOURCES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("zipped", [False, True])
def test_what_exists_is_kept_unless_overwriting(tmp_path, zipped):
    out = tmp_path / "out"
    write_package(out, manifest=bare_manifest(), files=SOURCES, zipped=zipped)
    other = {**SOURCES, "NOTICE": Source(role="licence", content=b"new\n")}
    with pytest.raises(ValueError, match="exists already; pass --overwrite"):
        write_package(out, manifest=bare_manifest(), files=other, zipped=zipped)
    with open_package(out) as package:
        assert len(package.manifest.files) == 3
    write_package(out, manifest=bare_manifest(), files=other, zipped=zipped, overwrite=True)
    with open_package(out) as package:
        assert len(package.manifest.files) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("export.package.copy_content", full)
    with pytest.raises(EnvironmentFault, match="no space left on the disk"):
        write_package(tmp_path / "package", manifest=bare_manifest(), files=SOURCES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["model.pte", "tokenizer.json", "licences/LICENSE"])
def test_a_flipped_byte_is_refused_by_name_and_both_hashes(folder, name):
    good = (folder / name).read_bytes()
    bad = bytes([good[0] ^ 1]) + good[1:]
    (folder / name).write_bytes(bad)
    with pytest.raises(GateError, match=f"{name} is damaged.*copy the package again") as caught:
        open_package(folder)
    for content in (good, bad):
        assert hashlib.sha256(content).hexdigest() in str(caught.value)
    with open_package(folder, verify=False) as package:
        assert package.path(name).read_bytes() == bad


def test_a_missing_file_is_refused(folder, zipped, tmp_path):
    with pytest.raises(GateError, match=r"tokenizer\.json is missing; copy the package again"):
        open_package(rezip(zipped, tmp_path / "bad.zip", edit={"tokenizer.json": None}))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(GateError, match=r"tokenizer\.json is missing; copy the package again"):
        open_package(folder, verify=False)


def test_a_file_of_the_wrong_size_is_refused_without_hashing(folder, zipped, tmp_path):
    (folder / "model.pte").write_bytes(PROGRAM[:100])
    says = rf"model\.pte has 100 bytes, the manifest says {len(PROGRAM)}; copy the package again"
    with pytest.raises(GateError, match=says):
        open_package(folder, verify=False)
    with pytest.raises(GateError, match=says):
        open_package(rezip(zipped, tmp_path / "bad.zip", edit={"model.pte": PROGRAM[:100]}), verify=False)


def test_a_file_that_is_not_listed_is_a_warning(folder, zipped, tmp_path, caplog):
    (folder / ".DS_Store").write_bytes(b"")
    caplog.set_level(logging.WARNING)
    open_package(folder)
    with open_package(rezip(zipped, tmp_path / "more.zip", extra=[("__MACOSX/x", b"x")])) as package:
        assert not (package.folder / "__MACOSX").exists()
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == [
        ".DS_Store is not in the manifest; it is ignored",
        "__MACOSX/x is not in the manifest; it is ignored",
    ]


@pytest.mark.parametrize("name", ["folder", "zipped"])
def test_a_newer_schema_and_a_broken_manifest_are_refused_with_the_place(name, request, tmp_path):
    path = request.getfixturevalue(name)
    manifest = open_package(path).manifest.to_json()
    for change, says in (
        ({"schema_version": 2}, "this package needs a newer pocketlm: schema 2, this one reads 1"),
        ({"chunk": 0}, "manifest.json: chunk is 0; it must be at least 1"),
    ):
        text = dump_json(manifest | change).encode()
        if path.is_dir():
            (path / "manifest.json").write_bytes(text)
            bad = path
        else:
            bad = rezip(path, tmp_path / f"{len(text)}.zip", edit={"manifest.json": text})
        with pytest.raises(ValueError) as caught:
            open_package(bad)
        assert str(caught.value) == f"{bad}: {says}"
        assert not isinstance(caught.value, GateError)


def test_what_is_no_package_gets_a_hint(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "checkpoint.json").write_bytes(b"{}")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "nano.pte").write_bytes(PROGRAM)
    (tmp_path / "text.txt").write_bytes(b"hello")
    (tmp_path / "nothing.zip").write_bytes(b"")
    (tmp_path / "renamed.bin").write_bytes(PROGRAM)
    for path, says in (
        ("gone", "does not exist"),
        ("empty", "it is empty; `pocketlm export` makes one"),
        ("photos", "it has no manifest.json"),
        ("checkpoint", "it is a checkpoint; make a package of it with `pocketlm export"),
        ("half", "it has nano.pte but no manifest.json"),
        ("half/nano.pte", "it is a program alone"),
        ("renamed.bin", "it is a program alone"),
        ("package/model.pte", f"it is the program of one; open its folder {folder}"),
        ("package/manifest.json", f"it is the manifest of one; open its folder {folder}"),
        ("text.txt", "it is neither a folder nor a zip"),
        ("nothing.zip", "it is no zip, or was cut off"),
    ):
        with pytest.raises(ValueError) as caught:
            open_package(tmp_path / path)
        assert says in str(caught.value)
        assert str(tmp_path / path) in str(caught.value)


def test_the_parent_of_several_targets_names_them(tmp_path):
    for target in ("xnnpack", "coreml-ane"):
        write_package(tmp_path / "out" / target, manifest=bare_manifest(), files=SOURCES)
    with pytest.raises(ValueError, match=r"it holds one for each of coreml-ane, xnnpack; open one of them, as .*/out/"):
        open_package(tmp_path / "out")
