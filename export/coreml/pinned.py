"""Makes the same bytes of the same input: identifiers, dates and orders that the converter leaves to chance are fixed.

Four things differ from run to run: the model's identifier (a random UUID, by which phones cache what they have
compiled), the UUIDs inside of an mlpackage, the date of the conversion, and the order of a protobuf's maps. The
identifier becomes a hash of the file itself, so that two different programs never share one.
"""

import contextlib
import hashlib
import json
import mmap
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_PLACEHOLDER = uuid.UUID("706f636b-6574-4c4d-8000-000000000000")
_NAMES = uuid.UUID("706f636b-6574-4c4d-8000-000000000001")  # namespace of an mlpackage's items
_DATE = "com.github.apple.coremltools.conversion_date"
_MANIFEST, _PROGRAM = "Manifest.json", "model.mlmodel"
_DEBUG = ("debug_info.json", "executorch_debug_handle_mapping.json")  # for tracing events; no runtime needs them


@contextlib.contextmanager
def pinned(folder: Path) -> Iterator[None]:
    """While the block lasts, executorch's CoreML backend writes what is the same every time.

    Args:
        folder: where it keeps its intermediate files, some times the size of the weights.
    """
    from executorch.backends.apple.coreml.compiler import coreml_preprocess as backend

    native = backend.executorchcoreml

    def flatten(path: str) -> bytes:
        settle(Path(path))
        flat: bytes = native.flatten_directory_contents(path)
        return flat

    replaced: dict[str, Any] = {
        "uuid": SimpleNamespace(uuid4=lambda: _PLACEHOLDER),
        "tempfile": SimpleNamespace(gettempdir=lambda: str(folder), mkdtemp=lambda: tempfile.mkdtemp(dir=folder)),
        "executorchcoreml": SimpleNamespace(flatten_directory_contents=flatten),
    }
    kept = {name: getattr(backend, name) for name in replaced}
    for name, value in replaced.items():
        setattr(backend, name, value)
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(backend, name, value)


def settle(folder: Path) -> None:
    """Rewrites the mlpackages below a folder in their one form, without what only the converter's authors read."""
    from coremltools.proto.Model_pb2 import Model

    for name in _DEBUG:
        for path in sorted(folder.rglob(name)):
            path.unlink()
    for path in sorted(folder.rglob(_PROGRAM)):
        model = Model()
        model.ParseFromString(path.read_bytes())
        model.description.metadata.userDefined.pop(_DATE, None)
        path.write_bytes(model.SerializeToString(deterministic=True))
    for path in sorted(folder.rglob(_MANIFEST)):
        path.write_text(json.dumps(_renamed(json.loads(path.read_text())), indent=4, sort_keys=True) + "\n")


def _renamed(manifest: dict[str, Any]) -> dict[str, Any]:
    """An mlpackage's manifest whose items are named by their paths."""
    items = manifest["itemInfoEntries"]
    names = {old: str(uuid.uuid5(_NAMES, item["path"])).upper() for old, item in items.items()}
    entries = {names[old]: item for old, item in items.items()}
    return manifest | {"itemInfoEntries": entries, "rootModelIdentifier": names[manifest["rootModelIdentifier"]]}


def identify(path: Path) -> str:
    """Gives a written `.pte` the identifier that its own content makes, in place; returns it."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        identifier = str(uuid.UUID(bytes=hashlib.sha256(content).digest()[:16], version=4))
        placeholder = str(_PLACEHOLDER).encode()
        at = content.find(placeholder)
        assert at >= 0  # every CoreML delegate carries one
        while at >= 0:
            content[at : at + len(placeholder)] = identifier.encode()
            at = content.find(placeholder, at + 1)
    return identifier
