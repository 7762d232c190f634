"""The lock of an output folder, between real processes."""

import errno
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from model.errors import EnvironmentFault
from train.lock import LOCK_FILE, folder_lock

HOLD = """
import sys, time
from pathlib import Path
from train.lock import folder_lock
sys.argv = ["/some/where/pocketlm", "train", "my run.toml"]
with folder_lock(Path({folder!r})):
    {inside}
    print("held", flush=True)
    sys.stdin.read()
"""


def start_holder(root, folder, inside="pass"):
    code = HOLD.format(folder=str(folder), inside=inside)
    holder = subprocess.Popen(
        [sys.executable, "-c", code], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    return holder


@pytest.fixture
def hold(root):
    """Starts a process that holds a folder until its input ends."""
    started = []

    def start(folder, inside="pass"):
        started.append(start_holder(root, folder, inside))
        return started[-1]

    yield start
    for holder in started:
        holder.kill()
        holder.communicate(timeout=60)


def test_a_second_process_is_told_who_holds_the_folder(hold, tmp_path):
    folder = tmp_path / "runs" / "nano"
    holder = hold(folder)
    with pytest.raises(ValueError) as caught, folder_lock(folder):
        pass
    assert re.fullmatch(
        rf"{re.escape(str(folder))} is in use by process {holder.pid} of \S+ on \S+ \(pocketlm train 'my run.toml', "
        r"since 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00\); wait for it, stop it, or name another output",
        str(caught.value),
    )
    said = json.loads((folder / LOCK_FILE).read_text())
    assert sorted(said) == ["command", "host", "pid", "started", "user"]
    assert said["pid"] == holder.pid


def test_after_the_end_of_a_holder_the_folder_is_free(hold, tmp_path):
    holder = hold(tmp_path)
    holder.communicate("", timeout=60)
    assert holder.returncode == 0
    assert (tmp_path / LOCK_FILE).read_text() == ""
    with folder_lock(tmp_path):
        assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()


def test_a_killed_holder_leaves_a_file_that_stops_nobody(hold, tmp_path):
    holder = hold(tmp_path)
    holder.send_signal(signal.SIGKILL)
    holder.wait(timeout=60)
    assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == holder.pid
    with folder_lock(tmp_path):
        pass


def test_a_forked_worker_that_outlives_a_killed_holder_does_not_hold_its_folder(hold, tmp_path):
    inside = (
        f"import os; worker = os.fork()\n    if not worker: time.sleep(60); os._exit(0)\n"
        f"    Path({str(tmp_path / 'worker')!r}).write_text(str(worker))"
    )
    holder = hold(tmp_path, inside)
    worker = int((tmp_path / "worker").read_text())
    try:
        with pytest.raises(ValueError, match=f"process {holder.pid} "), folder_lock(tmp_path):
            pass
        holder.kill()
        holder.wait(timeout=60)
        os.kill(worker, 0)  # it lives
        with folder_lock(tmp_path):
            pass
    finally:
        os.kill(worker, signal.SIGKILL)


def test_a_forked_child_that_leaves_the_block_leaves_the_lock_to_its_parent(hold, tmp_path):
    inside = "import os; child = os.fork()\n    if not child: raise SystemExit(3)\n    assert os.wait()[1] == 3 << 8"
    hold(tmp_path, inside)
    with pytest.raises(ValueError, match="in use by process"), folder_lock(tmp_path):
        pass


def test_the_same_process_cannot_hold_a_folder_twice(tmp_path):
    with (
        folder_lock(tmp_path),
        pytest.raises(ValueError, match=f"in use by process {os.getpid()} "),
        folder_lock(tmp_path),
    ):
        pass


def test_an_error_inside_gives_the_folder_back(tmp_path):
    with pytest.raises(KeyError), folder_lock(tmp_path):
        raise KeyError
    with folder_lock(tmp_path):
        pass


def test_of_many_processes_at_once_exactly_one_gets_the_folder(root, tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from train.lock import folder_lock\n"
        "sys.stdin.read()\n"
        "try:\n    with folder_lock(Path(sys.argv[1])): time.sleep(1)\n"
        "except ValueError as error:\n    print(error)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    racers = [subprocess.Popen(command, cwd=root, **pipes) for _ in range(5)]
    time.sleep(1)
    for racer in racers:
        racer.stdin.close()
    said = [racer.stdout.read() for racer in racers]
    assert [racer.wait(timeout=60) for racer in racers] == [0] * 5
    winner = racers[said.index("")].pid
    assert sum(f"in use by process {winner} " in text for text in said) == 4


@pytest.mark.parametrize("text", ["", "{", "\0\0", "[]", '{"pid": 1}'])
def test_a_holder_that_says_nothing_readable_is_still_respected(tmp_path, text):
    with (tmp_path / LOCK_FILE).open("w") as file:
        file.write(text)
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match=r"in use by (another process|process 1 )"), folder_lock(tmp_path):
            pass


def test_a_long_command_line_is_cut(tmp_path):
    with (tmp_path / LOCK_FILE).open("w") as file:
        json.dump({"pid": 1, "command": "x" * 1000}, file)
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ValueError) as caught, folder_lock(tmp_path):
            pass
    assert "x..." in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_without_locks_is_an_environment_fault(tmp_path, monkeypatch, number):
    def flock(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(EnvironmentFault, match=r"has no flock .* local disk"), folder_lock(tmp_path):
        pass


def test_a_file_in_the_way_and_a_folder_without_rights_are_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match="in the way of the output folder"), folder_lock(path):
            pass
    assert (tmp_path / "file").read_text() == "mine"

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(args[0]))

    monkeypatch.setattr(os, "open", refuse)  # root may write everywhere
    with pytest.raises(EnvironmentFault, match=r"cannot write .*Permission denied"), folder_lock(tmp_path):
        pass
