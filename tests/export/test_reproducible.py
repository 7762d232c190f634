"""The same checkpoint, options and versions give the same bytes, wherever, whenever and by whomever they are made."""

import dataclasses
import getpass
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from export.package import Source, open_package, write_package
from tests.packages import CHUNK, CONTEXT, Made

# Everything around the process that might leak into a file.
ELSEWHERE = {
    "PYTHONHASHSEED": "12345",
    "TZ": "Pacific/Chatham",
    "LANG": "C",
    "LC_ALL": "C",
    "USER": "somebody-else",
    "LOGNAME": "somebody-else",
    "OMP_NUM_THREADS": "1",
    "SOURCE_DATE_EPOCH": "1",
}


@pytest.fixture(scope="module")
def again(tiny_int4: Made, tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """The zip that a process of its own makes of a copy of tiny_int4's checkpoint."""
    folder = tmp_path_factory.mktemp("anderswo mit Ümlaut")
    shutil.copytree(tiny_int4.checkpoint, folder / "copied checkpoint")
    for file in (folder / "copied checkpoint").iterdir():
        os.utime(file, (0, 0))
    (folder / "home").mkdir(mode=0o555)
    code = (
        f"import os, platform, socket, sys; os.umask(0o077); sys.path.insert(0, {str(root)!r})\n"
        "socket.gethostname = platform.node = lambda: 'another-host'\n"
        "from cli.main import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "export", "-o", "../again.zip", ".", "--zip", "--target=xnnpack"]
        + [f"--max-context={CONTEXT}", f"--prefill-chunk={CHUNK}"],
        cwd=folder / "copied checkpoint",
        env={"PATH": os.environ["PATH"], "HOME": str(folder / "home"), **ELSEWHERE},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["again.zip", "copied checkpoint", "home"]
    return folder / "again.zip"


def test_another_process_elsewhere_makes_the_same_program_and_manifest(tiny_int4: Made, again: Path) -> None:
    with zipfile.ZipFile(again) as archive:
        files = {path.name: path.read_bytes() for path in tiny_int4.package.iterdir()}
        assert sorted(archive.namelist()) == sorted(files)
        assert json.loads(archive.read("manifest.json")) == json.loads(files["manifest.json"])
        for name, content in files.items():
            assert archive.read(name) == content, name


def test_another_process_elsewhere_makes_the_same_zip(tiny_int4: Made, again: Path, tmp_path: Path) -> None:
    with open_package(tiny_int4.package) as package:
        bare = dataclasses.replace(package.manifest, files=())
        files = {
            file.path: Source(role=file.role, content=package.folder / file.path) for file in package.manifest.files
        }
        write_package(tmp_path / "here.zip", manifest=bare, files=files, zipped=True)
    assert (tmp_path / "here.zip").read_bytes() == again.read_bytes()


def test_no_path_time_host_or_user_is_in_a_package(tiny_int4: Made, tiny_float: Made, root: Path) -> None:
    names = {str(root), str(Path.home()), sys.prefix, socket.gethostname(), getpass.getuser(), "site-packages", "/tmp/"}
    telling = {name for name in names if len(name) >= 5}  # shorter ones (root, vm) stand in any large file by chance
    for made in (tiny_int4, tiny_float):
        for name in ("model.pte", "manifest.json"):
            content = (made.package / name).read_bytes()
            found = [text for text in telling if text.encode() in content]
            assert not found, f"{name} of {made.package} tells {found}"
        manifest = (made.package / "manifest.json").read_text()
        assert not re.search(r"\b20\d\d-\d\d-\d\d|\d\d:\d\d:\d\d", manifest)
        command = json.loads(manifest)["origin"]["command"]
        assert "/" not in str(command) and "checkpoint" not in str(command).lower().replace("checkpoint out", "")
