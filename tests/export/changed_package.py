"""Packages and checkpoints with some of their bytes changed, as a careful forger would: every hash is made right."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from export.byte_map import address
from export.file_weights import FileWeight, read_weights
from export.pte import Pte, read_pte
from model.checkpoint import INFO_FILE, WEIGHTS_FILE
from model.files import dump_json


def change_program(package: Path, out: Path, change: Callable[[bytearray], None]) -> Path:
    """A copy of a package whose program was edited in place; the manifest has the new hash."""
    shutil.copytree(package, out)
    content = bytearray((package / "model.pte").read_bytes())
    change(content)
    assert content != (package / "model.pte").read_bytes()
    (out / "model.pte").write_bytes(content)

    def rehash(manifest: dict[str, Any]) -> None:
        program = next(file for file in manifest["files"] if file["path"] == "model.pte")
        program |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}

    change_json(out / "manifest.json", rehash)
    return out


def change_json(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads(file.read_text(encoding="utf-8"))
    change(data)
    file.write_text(dump_json(data), encoding="utf-8")


def change_checkpoint(
    checkpoint: Path,
    out: Path,
    change: Callable[[dict[str, Tensor]], Any] = lambda tensors: None,
    info: Mapping[str, Any] | None = None,
) -> Path:
    """A copy of a checkpoint with its tensors edited and some keys of checkpoint.json set."""
    shutil.copytree(checkpoint, out)
    tensors = load_file(out / WEIGHTS_FILE)
    change(tensors)
    save_file(tensors, out / WEIGHTS_FILE)
    change_json(out / INFO_FILE, lambda data: data.update(info or {}))
    return out


def flip(place: int, mask: int) -> Callable[[bytearray], None]:
    """Turns over some bits of one byte."""

    def change(content: bytearray) -> None:
        content[place] ^= mask

    return change


def place_of(pte: Pte, view: memoryview) -> int:
    """Where a view of a program begins, from the file's start; the view is of this very map."""
    place = address(view) - address(pte.data)
    assert 0 <= place < len(pte.data)
    return place


def find_weight(package: Path, tensor: Tensor) -> tuple[Pte, FileWeight]:
    """The linear weight of a package's program that has these codes."""
    pte = read_pte(package / "model.pte")
    found = [w for w in read_weights(pte) if w.delegate is not None and w.codes().equal(tensor)]
    assert len(found) == 1
    return pte, found[0]
