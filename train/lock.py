"""One process at a time on an output folder: a lock that the kernel releases when its holder ends, however it ends.

Needs flock, as Linux and macOS have it. What stands in the file names the holder; it does not lock.
"""

import contextlib
import fcntl
import getpass
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model.errors import EnvironmentFault

LOCK_FILE = ".lock"

_MOST_COMMAND_CHARACTERS = 160
_WAIT_FOR_NAME_S = 0.2  # between taking the lock and naming itself a holder needs microseconds
_held: set[int] = set()


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Holds the folder for the time of the block; makes it where it is missing.

    Raises:
        ValueError: another process holds it (the message says which), or the path is no folder.
        EnvironmentFault: the folder cannot be written, or its file system knows no locks.
    """
    path = folder / LOCK_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise ValueError(f"{error.filename} is in the way of the output folder {folder}; name another output") from None
    except OSError as error:
        raise EnvironmentFault(f"cannot write {path} ({error.strerror}); choose a folder you may write to") from error
    owner = os.getpid()
    try:
        _take(descriptor, folder)
        _held.add(descriptor)
        _write(descriptor, json.dumps(_holder()) + "\n")
        yield
    finally:
        if os.getpid() == owner:  # a forked child's copy is closed already
            if descriptor in _held:
                _held.discard(descriptor)
                _write(descriptor, "")
            os.close(descriptor)


def _take(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(
            f"{folder} is in use by {_describe(_read(descriptor))}; wait for it, stop it, or name another output"
        ) from None
    except OSError as error:
        raise EnvironmentFault(
            f"cannot lock {folder}: its file system has no flock ({error.strerror}), and two runs would spoil each "
            "other there; choose a folder on a local disk"
        ) from error


def _holder() -> dict[str, Any]:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "user": user,
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _write(descriptor: int, text: str) -> None:
    """A full disk spoils the name, not the lock."""
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)


def _read(descriptor: int) -> dict[str, Any] | None:
    """What the holder says of itself; None if it says nothing readable."""
    end = time.monotonic() + _WAIT_FOR_NAME_S
    while True:
        try:
            holder = json.loads(os.pread(descriptor, 1 << 16, 0))
        except ValueError:
            holder = None
        if isinstance(holder, dict):
            return holder
        if time.monotonic() >= end:
            return None
        time.sleep(0.01)


def _describe(holder: dict[str, Any] | None) -> str:
    if holder is None:
        return "another process"
    command = str(holder.get("command", "?"))
    if len(command) > _MOST_COMMAND_CHARACTERS:
        command = command[: _MOST_COMMAND_CHARACTERS - 3] + "..."
    return (
        f"process {holder.get('pid', '?')} of {holder.get('user', '?')} on {holder.get('host', '?')} "
        f"({command}, since {holder.get('started', '?')})"
    )


def _let_go_in_child() -> None:
    """A forked worker that outlives a killed run would go on holding its lock."""
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go_in_child)
