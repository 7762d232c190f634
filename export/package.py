"""A package on disk: one folder, or one zip of it, written so that the same content gives the same bytes.

Knows no tensor and no program: files go in and come out as they are. docs/package.md is the contract in prose.
"""

import dataclasses
import errno
import hashlib
import logging
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from export.manifest import MAX_MANIFEST_BYTES, Manifest, parse_manifest, read_manifest
from export.manifest_parts import PackageFile
from export.manifest_rules import MANIFEST_NAME
from export.package_zip import copy_content, extract, open_zip, read_small, write_zip
from model.errors import EnvironmentFault, GateError
from model.files import atomic_output, dump_json, sha256_file

_LOG = logging.getLogger(__name__)
_AGAIN = "copy the package again"


@dataclass(frozen=True, kw_only=True)
class Source:
    """One file to put into a package."""

    role: Literal["program", "tokenizer", "licence"]
    content: Path | bytes


@dataclass(frozen=True, kw_only=True)
class Package:
    """An opened package. Close it or use it in a `with`: a zip lies unpacked in a temporary folder till then."""

    folder: Path
    manifest: Manifest
    sha256: str  # of manifest.json's bytes: with the hashes inside it names the whole package
    temporary: tempfile.TemporaryDirectory[str] | None = None

    def path(self, what: str) -> Path:
        """The file of the role `program` or `tokenizer`, or of that path inside the package.

        Raises:
            ValueError: the manifest lists no such file, or several licences are meant at once.
        """
        found = [file.path for file in self.manifest.files if what in (file.path, file.role)]
        if len(found) != 1:
            known = ", ".join(file.path for file in self.manifest.files)
            raise ValueError(f"{what!r} names {len(found)} files of the package; it has {known}")
        return self.folder / found[0]

    def close(self) -> None:
        if self.temporary is not None:
            self.temporary.cleanup()

    def __enter__(self) -> "Package":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def write_package(
    out: Path, *, manifest: Manifest, files: Mapping[str, Source], zipped: bool = False, overwrite: bool = False
) -> Manifest:
    """Writes a whole package beside `out` and renames it into place.

    Args:
        out: the folder, or the zip file when `zipped`.
        manifest: with `files` empty; they are filled in from `files`.
        files: path inside the package -> what stands there.
        zipped: one zip instead of a folder, manifest.json first, the program on a page of its own.
        overwrite: replace what is at `out`.

    Returns:
        The manifest as written.

    Raises:
        ValueError: `out` exists, a source is missing, or the manifest breaks a rule; nothing is written.
        EnvironmentFault: the disk is full, or the place cannot be written.
    """
    if manifest.files:
        raise ValueError(f"the manifest lists {len(manifest.files)} files already; give the files apart")
    listed = tuple(_describe(path, files[path]) for path in sorted(files))
    whole = parse_manifest(dataclasses.replace(manifest, files=listed).to_json())
    contents: list[tuple[str, Path | bytes]] = [(MANIFEST_NAME, dump_json(whole.to_json()).encode())]
    contents += [(path, files[path].content) for path in sorted(files)]
    with atomic_output(out, overwrite=overwrite, folder=not zipped) as partial:
        if zipped:
            write_zip(partial, contents, aligned=_file_of(whole, "program").path)
        else:
            for path, content in contents:
                (partial / path).parent.mkdir(parents=True, exist_ok=True)
                with (partial / path).open("xb") as output:
                    copy_content(content, output)
    return whole


def _describe(path: str, source: Source) -> PackageFile:
    if isinstance(source.content, bytes):
        size, digest = len(source.content), hashlib.sha256(source.content).hexdigest()
    else:
        if not source.content.is_file():
            raise ValueError(f"{source.content} is missing; it should become {path} of the package")
        size, digest = source.content.stat().st_size, sha256_file(source.content)
    return PackageFile(path=path, bytes=size, sha256=digest, role=source.role)


def _file_of(manifest: Manifest, role: str) -> PackageFile:
    return next(file for file in manifest.files if file.role == role)


def open_package(path: Path, *, verify: bool = True) -> Package:
    """Opens a package folder or zip and checks it against its manifest.

    Args:
        path: the folder, or the zip, which is unpacked into a temporary folder.
        verify: compare every file's sha256; presence and sizes are compared always.

    Raises:
        ValueError: not a package, a manifest that breaks a rule or is newer, or a zip that tries to leave its folder.
        GateError: a file is missing, has another size or other bytes than the manifest says, or the zip is damaged.
        EnvironmentFault: no space to unpack.
    """
    if path.is_dir():
        return _open_folder(path, verify=verify)
    if not path.exists():
        raise ValueError(f"{path} does not exist; give a package folder or zip")
    with path.open("rb") as file:
        head = file.read(8)
    if head[:2] != b"PK":
        raise ValueError(f"{path} is not a package: {_hint_for_file(path, head)}")
    return _open_zip(path, verify=verify)


def _open_folder(folder: Path, *, verify: bool) -> Package:
    manifest_file = folder / MANIFEST_NAME
    if not manifest_file.is_file():
        raise ValueError(f"{folder} is not a package: {_hint_for_folder(folder)}")
    with manifest_file.open("rb") as file:
        content = file.read(MAX_MANIFEST_BYTES + 1)
    manifest = _read_manifest(content, folder)
    for listed in manifest.files:
        here = folder / listed.path
        _check_size(listed, here.stat().st_size if here.is_file() else None, folder)
    _warn_of_extras(manifest, (p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()), folder)
    if verify:
        _verify(manifest, folder, shown=folder)
    return Package(folder=folder, manifest=manifest, sha256=hashlib.sha256(content).hexdigest())


def _open_zip(path: Path, *, verify: bool) -> Package:
    with open_zip(path) as archive:
        names = {info.filename: info for info in archive.infolist() if not info.is_dir()}
        if MANIFEST_NAME not in names:
            raise ValueError(f"{path} is not a package: {_hint_for_zip(names)}")
        content = read_small(archive, MANIFEST_NAME, most=MAX_MANIFEST_BYTES)
        manifest = _read_manifest(content, path)
        for listed in manifest.files:
            info = names.get(listed.path)
            _check_size(listed, None if info is None else info.file_size, path)
        _warn_of_extras(manifest, names, path)
        return _unpack(archive, path, manifest, content, verify=verify)


def _unpack(archive: zipfile.ZipFile, path: Path, manifest: Manifest, content: bytes, *, verify: bool) -> Package:
    temporary = tempfile.TemporaryDirectory(prefix="pocketlm-")
    folder = Path(temporary.name)
    try:
        (folder / MANIFEST_NAME).write_bytes(content)
        extract(archive, folder, {file.path: file.bytes for file in manifest.files}, path)
        if verify:
            _verify(manifest, folder, shown=path)
    except BaseException as error:
        temporary.cleanup()
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise EnvironmentFault(
                f"no space left in {folder.parent} while unpacking {path}; free some space, or set "
                "TMPDIR to a larger disk"
            ) from error
        raise
    return Package(folder=folder, manifest=manifest, sha256=hashlib.sha256(content).hexdigest(), temporary=temporary)


def _read_manifest(content: bytes, place: Path) -> Manifest:
    try:
        return read_manifest(content)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _check_size(listed: PackageFile, size: int | None, place: Path) -> None:
    if size is None:
        raise GateError(f"{place}: {listed.path} is missing; {_AGAIN}")
    if size != listed.bytes:
        raise GateError(f"{place}: {listed.path} has {size} bytes, the manifest says {listed.bytes}; {_AGAIN}")


def _verify(manifest: Manifest, folder: Path, *, shown: Path) -> None:
    for listed in manifest.files:
        digest = sha256_file(folder / listed.path)
        if digest != listed.sha256:
            raise GateError(
                f"{shown}: {listed.path} is damaged: its sha256 is {digest}, the manifest says "
                f"{listed.sha256}; {_AGAIN}"
            )


def _warn_of_extras(manifest: Manifest, names: Iterable[str], place: Path) -> None:
    known = {file.path for file in manifest.files} | {MANIFEST_NAME}
    for name in sorted(set(names) - known):
        _LOG.warning("%s: %s is not in the manifest; it is ignored", place, name)


def _hint_for_file(path: Path, head: bytes) -> str:
    if path.suffix == ".pte" or head[4:6] == b"ET":
        if (path.parent / MANIFEST_NAME).is_file():
            return f"it is the program of one; open its folder {path.parent}"
        return "it is a program alone; a package also has the tokenizer and manifest.json: run `pocketlm export`"
    if path.name == MANIFEST_NAME:
        return f"it is the manifest of one; open its folder {path.parent}"
    if path.suffix == ".zip":
        return f"it is no zip, or was cut off; {_AGAIN}"
    return "it is neither a folder nor a zip; `pocketlm export` makes one"


def _hint_for_folder(folder: Path) -> str:
    inner = sorted(p.parent.name for p in folder.glob(f"*/{MANIFEST_NAME}"))
    if inner:
        return f"it holds one for each of {', '.join(inner)}; open one of them, as {folder / inner[0]}"
    if (folder / "checkpoint.json").is_file():
        return f"it is a checkpoint; make a package of it with `pocketlm export {folder} OUT`"
    if not any(folder.iterdir()):
        return "it is empty; `pocketlm export` makes one"
    if programs := sorted(p.name for p in folder.glob("*.pte")):
        return f"it has {programs[0]} but no {MANIFEST_NAME}; {_AGAIN}, or make it with `pocketlm export`"
    return f"it has no {MANIFEST_NAME}; `pocketlm export` makes one"


def _hint_for_zip(names: Iterable[str]) -> str:
    inner = sorted(name for name in names if name.endswith(f"/{MANIFEST_NAME}") and name.count("/") == 1)
    if inner:
        return f"its {MANIFEST_NAME} lies in a folder ({inner[0]}); zip the files themselves, not their folder"
    return f"the zip has no {MANIFEST_NAME}; `pocketlm export --zip` makes one"
