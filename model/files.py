"""Writing outputs so that a failure leaves nothing behind, and reading them back with hashes.

Everything is written beside its final place under a temporary name and renamed at the end.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model.errors import EnvironmentFault

_HASH_BLOCK = 1 << 20


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuses a target that exists.

    Raises:
        ValueError: `path` exists and `overwrite` is False; remove it or pass --overwrite.
    """
    if (path.exists() or path.is_symlink()) and not overwrite:
        raise ValueError(f"{path} exists already; pass --overwrite to replace it, or name another output")


@contextlib.contextmanager
def atomic_output(path: Path, *, overwrite: bool = False, folder: bool = True) -> Iterator[Path]:
    """Yields a temporary path beside `path` and renames it to `path` when the block ends without an error.

    Args:
        path: the final file or folder.
        overwrite: replace what is there; it stays untouched until the new one is whole.
        folder: whether the temporary path is made as a folder.

    Raises:
        ValueError: the target exists and `overwrite` is False.
        EnvironmentFault: the disk is full, or the place cannot be written.
    """
    path = Path(os.path.abspath(path))
    check_target(path, overwrite=overwrite)
    partial = path.parent / f".{path.name}.partial-{uuid.uuid4().hex[:8]}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if folder:
            partial.mkdir()
        yield partial
        _replace(partial, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise EnvironmentFault(
                f"no space left on the disk while writing {path}; nothing was kept: free some space and run again"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise EnvironmentFault(f"cannot write {path} ({error.strerror}); choose a folder you may write to") from error
        raise
    finally:
        _remove(partial)


def _replace(partial: Path, path: Path) -> None:
    if not path.exists() and not path.is_symlink():
        partial.rename(path)
    elif path.is_file() and partial.is_file():
        os.replace(partial, path)
    else:  # a folder cannot be renamed over a filled one: move the old one away first
        old = path.parent / f".{path.name}.old-{uuid.uuid4().hex[:8]}"
        path.rename(old)
        try:
            partial.rename(path)
        finally:  # whatever happened in between, Ctrl-C too
            if path.exists():
                _remove(old)
            else:
                old.rename(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def dump_json(value: Any) -> str:
    """The one JSON spelling that the project writes: sorted keys, two spaces, a final newline."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: Path) -> Any:
    """Parses a JSON file.

    Raises:
        ValueError: the file is missing or is not UTF-8 JSON; the message names it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} is missing") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); copy or write it again") from None


def sha256_file(path: Path) -> str:
    """The lower-case hexadecimal sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()
