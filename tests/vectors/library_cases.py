"""The library vectors: what the packages folder holds, what is listed, cleaned up and removed."""

import json
from typing import Any

from tests.vectors.install_sources import MANIFESTS, PROGRAM, folder_files, manifest_bytes, manifest_piece, package_id
from tests.vectors.raw_zip import Piece
from tests.vectors.text_cases import Case

GOOD, COREML = package_id("good")[:16], package_id("coreml")[:16]


def _put(folder: str, manifest: str = "good", **edits: bytes | None) -> Case:
    return {f"{folder}/{path}": pieces for path, pieces in folder_files(manifest, **edits).items()}


def _bytes(content: bytes) -> list[Case]:
    return [Piece(data=content).to_json()]


def listed(manifest: str) -> Case:
    """What the list shows of a package."""
    data: dict[str, Any] = MANIFESTS[manifest]()
    assert json.loads(manifest_bytes(manifest)) == data
    return {
        "id": package_id(manifest),
        "folder": package_id(manifest)[:16],
        "name": data["model"]["preset"] or data["model"]["family"],
        "target": data["target"],
        "bytes": sum(file["bytes"] for file in data["files"]),
        "context": data["context"],
        "licences": [file["path"] for file in data["files"] if file["role"] == "licence"],
        "recipe": data["recipe"]["name"],
        "parameters": data["model"]["parameters"],
        "source_sha256": data["origin"]["source_sha256"],
    }


def _case(
    name: str,
    before: Case,
    packages: list[str],
    *,
    unfinished: list[str] = (),  # type: ignore[assignment]
    kept: list[str] | None = None,
    remove: str | None = None,
) -> Case:
    """One vector.

    Args:
        packages: which manifests are listed.
        unfinished: staging folders that an installation can go on with.
        kept: top-level names that remain after clean-up and removal; None: all.
        remove: the package that is removed after the clean-up.
    """
    names = {path.partition("/")[0] for path in before}
    remaining = names if kept is None else set(kept)
    return {
        "name": name,
        "before": before,
        "remove": remove,
        "expected": {
            "packages": sorted((listed(m) for m in packages), key=lambda p: (p["name"], p["target"], p["folder"])),
            "unfinished": sorted(unfinished),
            "remaining": sorted(remaining),
        },
    }


def library_cases() -> list[Case]:
    staging = f".partial-{GOOD}"
    staged = {f"{staging}/manifest.json": [manifest_piece("good").to_json()], f"{staging}/model.pte": _bytes(PROGRAM)}
    foreign = f".partial-{'0' * 16}"
    both = _put(GOOD) | _put(COREML, "coreml")
    return [
        _case("nothing", {}, []),
        _case("one package", _put(GOOD), ["good"]),
        _case("two packages", both, ["good", "coreml"]),
        _case("one of two is removed", both, ["good", "coreml"], remove=package_id("good"), kept=[COREML]),
        _case("an unfinished installation stays", both | staged, ["good", "coreml"], unfinished=[staging]),
        _case(
            "a staging folder without a manifest goes",
            _put(GOOD) | {f"{staging}/model.pte": _bytes(PROGRAM)},
            ["good"],
            kept=[GOOD],
        ),
        _case(
            "a staging folder whose name is not its manifest's goes",
            _put(GOOD) | {f"{foreign}/manifest.json": [manifest_piece("good").to_json()]},
            ["good"],
            kept=[GOOD],
        ),
        _case("a folder whose name is not its manifest's is not listed", _put("0123456789abcdef"), []),
        _case("a package without its program is not listed", _put(GOOD, model=None), []),
        _case("a package with a file of another size is not listed", _put(GOOD, model=PROGRAM[:-1]), []),
        _case("a manifest that was damaged is not listed", {f"{GOOD}/manifest.json": _bytes(b"{}")}, []),
        _case("files of others stay", _put(GOOD) | {"notes.txt": _bytes(b"x"), "mine/a": _bytes(b"y")}, ["good"]),
    ]
