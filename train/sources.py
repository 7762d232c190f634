"""Where the text of a run comes from: files, folders, the standard library and Hugging Face datasets, as documents.

The order is the same on every machine: sources as given, files by their path, lines and rows as they stand. Nothing in
a text is changed; a document that holds nothing but white space is dropped, and so is one whose text came before.
"""

import fnmatch
import hashlib
import itertools
import json
import os
import sysconfig
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from model.errors import EnvironmentFault
from train.settings import DataSettings

STDLIB = "python:stdlib"
_DATASET = "hf:"
_READ_IN_FOLDERS = ("*.txt", "*.md", "*.py", "*.jsonl", "*.parquet")
_NOT_STDLIB = ("site-packages", "dist-packages")  # what pip and Debian put below the standard library

Row = tuple[str, Any]  # a document's name and what its source holds for its text


@dataclass(frozen=True, kw_only=True)
class Document:
    """One text with the name that it has in its source."""

    name: str  # path below the source's folder; a line's or row's number, from 1, behind a colon
    text: str
    bytes: int  # of the text as UTF-8
    sha256: str  # of the same


@dataclass(kw_only=True)
class Dropped:
    """How many documents `read_documents` has left out so far."""

    empty: int = 0
    duplicates: int = 0  # of a document before: it could stand in the text that is trained on and in the held-out one
    undecodable: int = 0  # files of the standard library that break Python's own rules on purpose


def read_documents(data: DataSettings, *, base: Path, dropped: Dropped | None = None) -> Iterator[Document]:
    """The documents of all sources, in order.

    Args:
        base: what relative paths start from: the folder of the run file.
        dropped: counts what is left out.

    Raises:
        ValueError: a source is missing or damaged, a text is not UTF-8, or a line or row has no such field.
        EnvironmentFault: the library for parquet or datasets is missing, or a dataset cannot be fetched.
    """
    dropped = dropped if dropped is not None else Dropped()
    seen: set[bytes] = set()
    for source in data.sources:
        for name, text in _rows(source, data, base, dropped):
            if text is not None and not isinstance(text, str):
                raise ValueError(f"{name}: the field {data.field!r} holds {type(text).__name__}; it must hold text")
            if not text or text.isspace():
                dropped.empty += 1
                continue
            try:
                encoded = text.encode()
            except UnicodeEncodeError as error:
                raise ValueError(f"{name}: the text is not valid Unicode ({error}); write it as UTF-8") from None
            digest = hashlib.sha256(encoded)
            if digest.digest() in seen:
                dropped.duplicates += 1
                continue
            seen.add(digest.digest())
            yield Document(name=name, text=text, bytes=len(encoded), sha256=digest.hexdigest())


def _rows(source: str, data: DataSettings, base: Path, dropped: Dropped) -> Iterator[Row]:
    if source == STDLIB:
        return _stdlib(data, dropped)
    if source.startswith("python:"):
        raise ValueError(f'unknown source {source!r}; of Python there is "{STDLIB}"')
    if source.startswith(_DATASET):
        return _dataset(source, data, base)
    path = base / source
    if path.is_dir():
        return _folder(path, data)
    if path.is_file():
        return _file(path, path.name, data)
    raise ValueError(
        f"the source {source!r} is neither a file nor a folder ({path}); relative paths start at the run file's "
        f'folder, a dataset of Hugging Face is "{_DATASET}NAME"'
    )


def _stdlib(data: DataSettings, dropped: Dropped) -> Iterator[Row]:
    folder = Path(sysconfig.get_path("stdlib"))
    for name in _names(folder, data, suffix=".py"):
        if not any(part in _NOT_STDLIB for part in PurePosixPath(name).parts):
            try:
                with tokenize.open(folder / name) as file:  # a module says in which encoding it is written
                    yield name, file.read()
            except (SyntaxError, UnicodeDecodeError):
                dropped.undecodable += 1


def _folder(folder: Path, data: DataSettings) -> Iterator[Row]:
    names = _names(folder, data)
    if not names:
        wanted = ", ".join(data.include or _READ_IN_FOLDERS)
        raise ValueError(f"{folder} holds no file that matches {wanted}; set data.include to what shall be read")
    for name in names:
        yield from _file(folder / name, name, data)


def _names(folder: Path, data: DataSettings, *, suffix: str = "") -> list[str]:
    """The files below a folder that are wanted, as relative paths with slashes, in the order of their characters."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
        for file in files:
            name = (Path(parent) / file).relative_to(folder).as_posix()
            if not file.startswith(".") and name.endswith(suffix) and _is_wanted(name, data):
                found.append(name)
    return sorted(found)


def _is_wanted(name: str, data: DataSettings) -> bool:
    path = PurePosixPath(name)
    matches = fnmatch.fnmatchcase
    wanted = data.include or _READ_IN_FOLDERS
    if not any(matches(name, pattern) or matches(path.name, pattern) for pattern in wanted):
        return False
    prefixes = [name, *(str(parent) for parent in path.parents[:-1])]
    return not any(matches(prefix, pattern) for prefix in prefixes for pattern in data.exclude)


def _file(path: Path, name: str, data: DataSettings) -> Iterator[Row]:
    reader = {".jsonl": _json_lines, ".parquet": _parquet}.get(path.suffix)
    try:
        if reader is not None:
            yield from reader(path, name, data.field)
        elif data.separator is not None:
            parts = _decoded(path.read_bytes(), str(path)).split(data.separator)
            yield from ((f"{name}:{number}", part.strip()) for number, part in enumerate(parts, start=1))
        else:
            yield name, _decoded(path.read_bytes(), str(path))
    except OSError as error:
        raise ValueError(f"cannot read {path} ({error.strerror or error}); correct data.sources") from None


def _json_lines(path: Path, name: str, field: str) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                entry = json.loads(_decoded(line, where))
            except json.JSONDecodeError as error:
                raise ValueError(f"{where}: not valid JSON ({error}); each line holds one object") from None
            if not isinstance(entry, dict):
                raise ValueError(f"{where}: holds a {type(entry).__name__}; each line holds one object")
            yield f"{name}:{number}", _field(entry, field, where)


def _parquet(path: Path, name: str, field: str) -> Iterator[Row]:
    pyarrow, parquet = _library("pyarrow"), _library("pyarrow.parquet")
    try:
        file = parquet.ParquetFile(path)
        if field not in file.schema_arrow.names:
            _field(dict.fromkeys(file.schema_arrow.names), field, str(path))
        number = 0
        for batch in file.iter_batches(batch_size=1024, columns=[field]):
            for text in batch.column(0).to_pylist():
                number += 1
                yield f"{name}:{number}", text
    except pyarrow.ArrowException as error:
        raise ValueError(f"{path} is not a whole parquet file ({error}); copy it again") from None


def _dataset(source: str, data: DataSettings, base: Path) -> Iterator[Row]:
    name, _, config = source.removeprefix(_DATASET).partition(":")
    place = str(base / name) if (base / name).is_dir() else name
    datasets = _library("datasets")
    rows = _fetched(lambda: datasets.load_dataset(place, config or None, split=data.split, streaming=True), source)
    entries = _each(iter(rows), source)
    for number, entry in enumerate(itertools.islice(entries, data.max_documents), start=1):
        yield f"{source}:{number}", _field(entry, data.field, f"{source}, row {number}")


def _each(rows: Iterator[Any], source: str) -> Iterator[Any]:
    while (row := _fetched(lambda: next(rows, None), source)) is not None:
        yield row


def _fetched(step: Callable[[], Any], source: str) -> Any:
    """What a step of the datasets library gives, with its errors in our words."""
    try:
        return step()
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{source} cannot be read ({error}); check the name, its configuration and split") from None
    except Exception as error:  # noqa: BLE001 (it passes on what its network libraries raise)
        raise EnvironmentFault(
            f"{source} cannot be fetched ({type(error).__name__}: {error}); check the network and run again"
        ) from None


def _library(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise EnvironmentFault(
            f'{name.partition(".")[0]} is missing, which reads such data: pip install "pocketlm[train]"'
        ) from None


def _field(entry: dict[str, Any], field: str, where: str) -> Any:
    if field not in entry:
        names = ", ".join(map(repr, entry)) or "nothing"
        raise ValueError(f"{where}: no field {field!r} beside {names}; set data.field to the one that holds the text")
    return entry[field]


def _decoded(data: bytes, where: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{where}: byte {error.start} is not UTF-8 ({error.reason}); convert it, or leave it out by data.exclude"
        ) from None
