"""Outputs appear whole or not at all, and never in the place of something that is not ours."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from model.errors import EnvironmentFault
from model.files import atomic_output, check_target, working_folder


def make_checkpoint(folder: Path, mark: str = "old") -> None:
    folder.mkdir(parents=True)
    (folder / "checkpoint.json").write_text(mark)
    (folder / "model.safetensors").touch()


def make_package(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "manifest.json").touch()
    (folder / "model.pte").touch()


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("make", [make_checkpoint, make_package, Path.mkdir, Path.touch])
def test_overwriting_replaces_a_checkpoint_a_package_an_empty_folder_and_a_file(tmp_path, make):
    make(tmp_path / "out")
    with atomic_output(tmp_path / "out", overwrite=True) as partial:
        (partial / "new").touch()
    assert tree(tmp_path) == ["out", "out/new"]


def test_overwriting_a_link_leaves_what_it_points_at(tmp_path):
    make_checkpoint(tmp_path / "elsewhere")
    (tmp_path / "out").symlink_to("elsewhere")
    with atomic_output(tmp_path / "out", overwrite=True):
        pass
    assert tree(tmp_path) == ["elsewhere", "elsewhere/checkpoint.json", "elsewhere/model.safetensors", "out"]
    assert not (tmp_path / "out").is_symlink()


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.json").touch()  # web pages have one, too
    with (
        pytest.raises(ValueError, match=r"holds manifest\.json, which pocketlm has not written"),
        atomic_output(tmp_path / "out", overwrite=True),
    ):
        raise AssertionError("it must not begin")
    assert tree(tmp_path) == ["out", "out/manifest.json"]


def test_the_folder_of_several_targets_is_replaced_only_as_such(tmp_path):
    make_package(tmp_path / "out" / "xnnpack")
    (tmp_path / "out" / "coreml.zip").touch()
    check_target(tmp_path / "out", overwrite=True, parts=("xnnpack", "coreml.zip"))
    with pytest.raises(ValueError, match=r"holds coreml\.zip, which"):
        check_target(tmp_path / "out", overwrite=True, parts=("xnnpack",))
    (tmp_path / "out" / "xnnpack" / "model.pte").rename(tmp_path / "out" / "xnnpack" / "mine")
    with pytest.raises(ValueError, match="holds xnnpack, which"):
        check_target(tmp_path / "out", overwrite=True, parts=("xnnpack", "coreml.zip"))


def test_devices_disks_and_the_folder_one_is_in_are_never_replaced(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    make_checkpoint(tmp_path / "here" / "deeper")
    monkeypatch.chdir(tmp_path / "here" / "deeper")
    for path, message in (
        (tmp_path / "pipe", "neither a file nor a folder"),
        (Path("/dev/null"), "neither a file nor a folder"),
        (Path("/"), "is where a disk is mounted"),
        (Path(), "holds the folder that you are in"),
        (tmp_path / "here", "holds the folder that you are in"),
    ):
        with pytest.raises(ValueError, match=message):
            check_target(path, overwrite=True)


def test_input_and_output_never_lie_in_each_other(tmp_path):
    make_checkpoint(tmp_path / "in")
    (tmp_path / "link").symlink_to("in")
    for out in ("in", "link", "."):
        with pytest.raises(ValueError, match="would destroy the input"):
            check_target(tmp_path / out, overwrite=True, source=tmp_path / "in")
    for out in ("in/out", "link/deep/out"):
        with pytest.raises(ValueError, match="lies inside the input"):
            check_target(tmp_path / out, overwrite=False, source=tmp_path / "in")
    check_target(tmp_path / "inner", overwrite=False, source=tmp_path / "in")


def test_a_failure_takes_the_folders_above_away_again_but_nobody_elses(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(KeyError), atomic_output(tmp_path / "there" / "a" / "b" / "out"):
        raise KeyError
    assert tree(tmp_path) == ["there"]
    with pytest.raises(KeyError), working_folder(tmp_path / "there" / "a" / "b" / "out") as working:
        (working / "half").touch()
        (tmp_path / "there" / "a" / "other").touch()
        raise KeyError
    assert tree(tmp_path) == ["there", "there/a", "there/a/other"]


def test_an_output_that_appeared_meanwhile_is_kept(tmp_path):
    with (
        pytest.raises(ValueError, match="exists already; pass --overwrite"),
        atomic_output(tmp_path / "out") as partial,
    ):
        (partial / "mine").touch()
        make_checkpoint(tmp_path / "out", "another command's")
    assert tree(tmp_path) == ["out", "out/checkpoint.json", "out/model.safetensors"]
    assert (tmp_path / "out" / "checkpoint.json").read_text() == "another command's"


@pytest.mark.parametrize("name", ["file/out", "x" * 240, "loop/out"])
def test_an_impossible_place_is_named_as_the_user_named_it(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    with (
        pytest.raises(ValueError, match=r"^cannot write .*; name another output$") as caught,
        atomic_output(tmp_path / name),
    ):
        raise AssertionError("it must not begin")
    assert str(tmp_path / name) in str(caught.value)
    assert "partial" not in str(caught.value)


def test_a_fault_of_another_file_is_not_blamed_on_the_output(tmp_path):
    foreign = PermissionError(errno.EACCES, "Permission denied", "/input/weights")
    with pytest.raises(PermissionError, match="/input/weights"), atomic_output(tmp_path / "out"):
        raise foreign
    with (
        pytest.raises(EnvironmentFault, match="choose a folder you may write to"),
        atomic_output(tmp_path / "out") as p,
    ):
        raise PermissionError(errno.EACCES, "Permission denied", str(p / "model.safetensors"))
    with (
        pytest.raises(EnvironmentFault, match="no space left on the disk while writing"),
        atomic_output(tmp_path / "o"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert tree(tmp_path) == []


def test_a_place_that_may_not_be_written_is_an_environment_fault(tmp_path, root):
    (tmp_path / "sub").mkdir(mode=0o555)
    code = (
        f"import os, sys; sys.path.insert(0, {str(root)!r})\n"
        "from model.files import atomic_output; from model.errors import EnvironmentFault\n"
        "if os.geteuid() == 0: os.setuid(65534)  # root may write anywhere\n"
        "try:\n    with atomic_output(__import__('pathlib').Path('sub/out')): pass\n"
        "except EnvironmentFault as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "cannot write" in done.stdout and "choose a folder you may write to" in done.stdout, done.stderr
