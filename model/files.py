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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from model.errors import EnvironmentFault

_HASH_BLOCK = 1 << 20
_NO_RIGHT = (errno.EACCES, errno.EROFS, errno.EPERM)
# What tells a checkpoint, a package and a report from a folder of something else.
_OUTPUT_MARKS = (
    ("checkpoint.json", "model.safetensors"),
    ("manifest.json", "model.pte"),
    ("report.json", "report.md", "index.html"),
    ("sensitivity.json", "sensitivity.svg"),
)


def check_target(path: Path, *, overwrite: bool, source: Path | None = None, parts: Sequence[str] = ()) -> None:
    """Refuses a target that must not be written.

    Args:
        overwrite: a file, an empty folder, a checkpoint or a package may be there; it will be replaced.
        source: what the command reads; the target may neither hold it nor lie in it.
        parts: the folders of checkpoints or packages that one output consists of.

    Raises:
        ValueError: something is there that may not be replaced, or the target and the source lie in each other.
    """
    if source is not None:
        _check_apart(path, source)
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise ValueError(f"{path} exists already; pass --overwrite to replace it, or name another output")
    if path.is_symlink() or path.is_file():
        return
    if not path.is_dir():
        raise ValueError(f"{path} is neither a file nor a folder and is never replaced; name another output")
    whole = path.resolve()
    if whole.is_mount() or whole in (Path.cwd(), *Path.cwd().parents):
        what = "is where a disk is mounted" if whole.is_mount() else "holds the folder that you are in"
        raise ValueError(f"{path} {what} and is never replaced; name a folder inside it")
    if foreign := _foreign_entry(path, parts):
        raise ValueError(
            f"{path} holds {foreign}, which pocketlm has not written, and --overwrite replaces only its own outputs; "
            "name another one, or remove that folder yourself"
        )


def _check_apart(path: Path, source: Path) -> None:
    target, read = path.resolve(), source.resolve()
    if target == read or target in read.parents:
        raise ValueError(f"writing {path} would destroy the input {source}; name another output")
    if read in target.parents:
        raise ValueError(f"the output {path} lies inside the input {source}; name a place outside it")


def _foreign_entry(folder: Path, parts: Sequence[str] = ()) -> str | None:
    """The name of something in a folder that is no output of this project; None when the folder is one, or empty."""
    names = sorted(entry.name for entry in folder.iterdir())
    if any(set(marks) <= set(names) for marks in _OUTPUT_MARKS):
        return None
    strange = (
        name for name in names if name not in parts or ((folder / name).is_dir() and _foreign_entry(folder / name))
    )
    return next(strange, None)


@contextlib.contextmanager
def working_folder(path: Path) -> Iterator[Path]:
    """Yields an empty folder beside the coming output `path`, on the same disk; it is gone when the block ends.

    Raises:
        ValueError: something is in the way of `path`, or its name is impossible.
        EnvironmentFault: the disk is full, or the place cannot be written.
    """
    with _beside(Path(os.path.abspath(path))) as partial:
        partial.mkdir()
        yield partial


@contextlib.contextmanager
def atomic_output(
    path: Path, *, overwrite: bool = False, folder: bool = True, parts: Sequence[str] = ()
) -> Iterator[Path]:
    """Yields a temporary path beside `path` and renames it to `path` when the block ends without an error.

    Args:
        path: the final file or folder.
        overwrite: replace what is there (see `check_target`); it stays untouched until the new one is whole.
        folder: whether the temporary path is made as a folder.
        parts: as in `check_target`.

    Raises:
        ValueError: the target exists and may not be replaced, or cannot be made.
        EnvironmentFault: the disk is full, or the place cannot be written.
    """
    path = Path(os.path.abspath(path))
    check_target(path, overwrite=overwrite, parts=parts)
    with _beside(path) as partial:
        if folder:
            partial.mkdir()
        yield partial
        if not overwrite:
            check_target(path, overwrite=False)  # another command may have written it meanwhile
        _replace(partial, path)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A hidden name beside `path`, with the folders above made; what fails takes all of it away again."""
    missing = [folder for folder in path.parents if not os.path.exists(folder)]  # Path.exists raises without rights
    partial = path.parent / f".{path.name}.partial-{uuid.uuid4().hex[:8]}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
    except BaseException as error:
        _remove(partial)
        with contextlib.suppress(OSError):  # another command may use them by now
            for folder in missing:
                folder.rmdir()
        if isinstance(error, OSError) and (better := _about_output(error, path, partial)):
            raise better from error
        raise
    _remove(partial)


def _about_output(error: OSError, path: Path, partial: Path) -> ValueError | EnvironmentFault | None:
    """The sentence for a system error that concerns the output; None when it concerns another file."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EnvironmentFault(
            f"no space left on the disk while writing {path}; nothing was kept: free some space and run again"
        )
    named = partial if error.filename is None else Path(os.fsdecode(error.filename))
    if partial not in (named, *named.parents) and named not in (path, *path.parents):
        return None
    if error.errno in _NO_RIGHT:
        return EnvironmentFault(f"cannot write {path} ({error.strerror}); choose a folder you may write to")
    if error.errno == errno.EFBIG:
        return EnvironmentFault(
            f"cannot write {path} ({error.strerror}): this disk or account takes no file of that size; choose another"
        )
    where = f"{error.filename}: " if named in path.parents else ""
    return ValueError(f"cannot write {path} ({where}{error.strerror}); name another output")


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
    """As far as possible: what failed before must be what is reported."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


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
        raise ValueError(f"{path} is missing; copy that folder again") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); copy or write it again") from None


def sha256_file(path: Path) -> str:
    """The lower-case hexadecimal sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()
