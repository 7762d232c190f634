"""The install vectors against export/package.py: what Python's reader refuses, the apps refuse, and the other way."""

import json
from pathlib import Path
from typing import Any

import pytest

from export.package import open_package
from model.errors import EnvironmentFault, GateError
from tests.vectors.generate import VECTORS
from tests.vectors.install_sources import package_id

DOCUMENT = json.loads((VECTORS / "install.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in DOCUMENT["cases"]}
# What only an app can know: its runner, its free space, its user, its tokenizer check.
ONLY_APPS = {"needsCoreMl", "otherRunner", "newerRuntime", "noSpace", "installStopped", "tokenizerMismatch"}
DAMAGED = {"zipDamaged", "fileDamaged", "fileSize", "fileMissing"}


def content(pieces: list[dict[str, Any]]) -> bytes:
    return b"".join(
        DOCUMENT["manifests"][piece["manifest"]].encode()
        if "manifest" in piece
        else bytes.fromhex(piece["hex"]) * piece["times"]
        for piece in pieces
    )


def build(source: dict[str, Any], folder: Path) -> Path:
    path = folder / source["name"]
    if "zip" in source:
        path.write_bytes(content(source["zip"]))
        return path
    path.mkdir()
    for name, pieces in source["files"].items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content(pieces))
    return path


@pytest.mark.parametrize("name", CASES)
def test_python_gives_the_same_verdict(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    final = case["expected"]["final"]
    path = build(case["source"], tmp_path)
    if final["state"] == "installed" or final["key"] in ONLY_APPS:
        with open_package(path) as package:
            assert final["state"] == "refused" or package.sha256 == final["id"]
        return
    with pytest.raises((ValueError, GateError, EnvironmentFault)) as caught:
        open_package(path)
    is_gate = isinstance(caught.value, GateError)
    assert is_gate == (final["key"] in DAMAGED), str(caught.value)


def test_every_refusal_of_an_installation_has_a_vector() -> None:
    from tests.vectors.sentence_table import INSTALL

    seen = {case["expected"]["final"].get("key") for case in CASES.values()}
    assert set(INSTALL) - seen == {"sourceUnreadable", "storageFailed", "removalFailed"}  # need a disk that fails


def test_the_identity_of_a_package_is_that_of_its_manifest() -> None:
    assert CASES["a good zip"]["expected"]["final"]["folder"] == package_id("good")[:16]
