"""A package in one zip: how it lies there, and what is refused of damaged and hostile ones."""

import hashlib
import stat
import tempfile
import zipfile
from pathlib import Path

import pytest

from export.package import Source, open_package, write_package
from export.package_zip import PAGE
from model.errors import EnvironmentFault, GateError
from tests.export.small_package import PROGRAM, SOURCES, bare_manifest, rezip


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


def test_a_zip_is_ordered_stored_and_its_program_begins_on_a_page(zipped):
    with zipfile.ZipFile(zipped) as archive:
        entries = archive.infolist()
        assert archive.testzip() is None
    assert [info.filename for info in entries] == ["manifest.json", "licences/LICENSE", "model.pte", "tokenizer.json"]
    assert {info.compress_type for info in entries} == {zipfile.ZIP_STORED}
    assert {info.date_time for info in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {info.external_attr >> 16 for info in entries} == {stat.S_IFREG | 0o644}
    assert zipped.read_bytes().index(PROGRAM) % PAGE == 0


def test_a_program_beyond_the_classic_limit_is_written_as_zip64(tmp_path, monkeypatch, zipped):
    with monkeypatch.context() as patch:
        patch.setattr(zipfile, "ZIP64_LIMIT", 4000)  # the real one is 2 GiB
        write_package(tmp_path / "large.zip", manifest=bare_manifest(), files=SOURCES, zipped=True)
    content = (tmp_path / "large.zip").read_bytes()
    assert content.index(PROGRAM) % PAGE == 0
    assert content != zipped.read_bytes()
    with zipfile.ZipFile(tmp_path / "large.zip") as archive:
        assert archive.getinfo("model.pte").extract_version == 45
    with open_package(tmp_path / "large.zip") as package:
        assert package.path("program").read_bytes() == PROGRAM


def test_a_flipped_byte_in_a_zip_made_anew_is_refused_by_both_hashes(tmp_path, zipped, temporaries):
    bad = PROGRAM[:-1] + b"\0"
    with pytest.raises(GateError, match=r"model\.pte is damaged") as caught:
        open_package(rezip(zipped, tmp_path / "bad.zip", edit={"model.pte": bad}))
    assert hashlib.sha256(PROGRAM).hexdigest() in str(caught.value)
    assert hashlib.sha256(bad).hexdigest() in str(caught.value)
    assert list(temporaries.iterdir()) == []


@pytest.mark.parametrize("verify", [True, False])
def test_a_flipped_byte_in_a_zip_is_refused_by_the_zip_s_own_checksum(zipped, temporaries, verify):
    content = bytearray(zipped.read_bytes())
    content[content.index(PROGRAM) + 100] ^= 1
    zipped.write_bytes(content)
    with pytest.raises(GateError, match=r"model\.pte in .* is damaged .*copy the package again"):
        open_package(zipped, verify=verify)
    assert list(temporaries.iterdir()) == []


def test_a_zip_of_the_folder_instead_of_its_files_is_explained(tmp_path, zipped):
    with zipfile.ZipFile(zipped) as old, zipfile.ZipFile(tmp_path / "outer.zip", "w") as new:
        for info in old.infolist():
            new.writestr("package/" + info.filename, old.read(info))
    with pytest.raises(ValueError, match=r"lies in a folder \(package/manifest.json\); zip the files themselves"):
        open_package(tmp_path / "outer.zip")
    with zipfile.ZipFile(tmp_path / "void.zip", "w"):
        pass
    with pytest.raises(ValueError, match=r"the zip has no manifest\.json"):
        open_package(tmp_path / "void.zip")


def test_a_zip_that_someone_compressed_again_still_opens(tmp_path, zipped):
    with open_package(rezip(zipped, tmp_path / "small.zip", compression=zipfile.ZIP_DEFLATED)) as package:
        assert package.path("program").read_bytes() == PROGRAM


def test_a_zip_cut_off_anywhere_is_refused(tmp_path, zipped, temporaries):
    whole = zipped.read_bytes()
    for length in (2, 3, 10, 100, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        zipped.write_bytes(whole[:length])
        with pytest.raises(GateError, match=r"is a damaged or cut-off zip .*; copy the package again"):
            open_package(zipped)
    assert list(temporaries.iterdir()) == []


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil", "C:evil", "a\0/../evil"])
def test_an_entry_that_leaves_the_package_is_refused(tmp_path, zipped, temporaries, name):
    bad = rezip(zipped, tmp_path / "bad.zip", extra=[("Xevil-entry"[: len(name)].ljust(len(name), "X"), b"x")])
    placeholder = "Xevil-entry"[: len(name)].ljust(len(name), "X").encode()
    bad.write_bytes(bad.read_bytes().replace(placeholder, name.encode()))
    with pytest.raises(ValueError, match="which leaves the package; do not trust this file"):
        open_package(bad)
    assert list(temporaries.iterdir()) == []
    assert not list(tmp_path.rglob("evil"))


def test_a_link_in_a_zip_is_refused(tmp_path, zipped):
    link = zipfile.ZipInfo("NOTICE")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(ValueError, match="'NOTICE', which is a link or device"):
        open_package(rezip(zipped, tmp_path / "bad.zip", extra=[(link, b"/etc/passwd")]))


def test_an_entry_that_stands_twice_is_refused(tmp_path, zipped):
    for name in ("second.txt", "MODEL.pte"):
        bad = rezip(zipped, tmp_path / f"{name}.zip", extra=[(name, b"one")])
        if name == "second.txt":
            with zipfile.ZipFile(bad, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
                archive.writestr(name, b"two")
        with pytest.raises(ValueError, match=f"holds 2 entries named '{name.lower()}'"):
            open_package(bad)


def test_an_encrypted_entry_is_refused(tmp_path, zipped):
    content = bytearray(zipped.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 8] |= 1  # the flag in the first entry of the directory
    zipped.write_bytes(content)
    with pytest.raises(ValueError, match=r"the encrypted entry 'manifest\.json'"):
        open_package(zipped)


def test_a_zip_with_thousands_of_entries_is_refused(tmp_path, zipped):
    bad = rezip(zipped, tmp_path / "bad.zip", extra=[(f"n{i}", b"") for i in range(1000)])
    with pytest.raises(ValueError, match="has 1004 entries; a package has at most 1000"):
        open_package(bad)


def _bomb(tmp_path: Path, size: int) -> Path:
    zeros = bytes(size)
    files = {**SOURCES, "NOTICE": Source(role="licence", content=zeros)}
    write_package(tmp_path / "fat.zip", manifest=bare_manifest(), files=files, zipped=True)
    return rezip(tmp_path / "fat.zip", tmp_path / "bomb.zip", compression=zipfile.ZIP_DEFLATED)


def test_a_bomb_that_its_own_manifest_agrees_to_is_refused(tmp_path, temporaries):
    bomb = _bomb(tmp_path, 3_000_000)
    assert bomb.stat().st_size < 20_000
    with pytest.raises(ValueError, match=r"would grow from .* bytes, more than 100 times; do not trust this file"):
        open_package(bomb)
    assert list(temporaries.iterdir()) == []


def test_an_entry_that_is_longer_than_it_claims_is_not_unpacked_beyond_the_claim(tmp_path, zipped, temporaries):
    bad = rezip(zipped, tmp_path / "bad.zip", edit={"tokenizer.json": bytes(100_000)}, compression=zipfile.ZIP_DEFLATED)
    small, large = (14).to_bytes(4, "little"), (100_000).to_bytes(4, "little")
    content = bad.read_bytes()
    assert content.count(large) == 2  # the local header and the directory
    bad.write_bytes(content.replace(large, small))
    with pytest.raises(GateError, match=r"tokenizer\.json in .* is damaged"):
        open_package(bad)
    assert list(temporaries.iterdir()) == []


def test_too_little_space_is_told_before_unpacking(zipped, temporaries, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(EnvironmentFault, match=r"takes \d+ bytes and .* has 10 free; free some space, set TMPDIR"):
        open_package(zipped)
    assert list(temporaries.iterdir()) == []


def test_a_disk_that_fills_up_while_unpacking_is_told(zipped, temporaries, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("export.package_zip._copy_exactly", full)
    with pytest.raises(EnvironmentFault, match=r"no space left in .* while unpacking"):
        open_package(zipped)
    assert list(temporaries.iterdir()) == []


def test_interrupting_while_unpacking_leaves_nothing(zipped, temporaries, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("export.package_zip._copy_exactly", interrupt)
    with pytest.raises(KeyboardInterrupt):
        open_package(zipped)
    assert list(temporaries.iterdir()) == []


def test_an_uncommon_compression_is_refused(tmp_path, zipped):
    with pytest.raises(ValueError, match="in an uncommon compression; zip it stored or deflated"):
        open_package(rezip(zipped, tmp_path / "bad.zip", compression=zipfile.ZIP_LZMA))


def test_any_flipped_bit_is_harmless_or_refused_and_never_changes_a_file(zipped, temporaries):
    whole = zipped.read_bytes()
    places = [*range(0, 60), *range(len(whole) - 400, len(whole))]  # the headers; the rest is covered by hashes
    refused = 0
    for place in places:
        zipped.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        try:
            with open_package(zipped) as package:
                assert package.path("program").read_bytes() == PROGRAM
        except (ValueError, EnvironmentFault) as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 50  # the others hit times, permissions and padding
    assert list(temporaries.iterdir()) == []
