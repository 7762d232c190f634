"""CoreML packages whose program was changed inside, as a careful forger would: every hash is made right."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from export.byte_map import address
from export.coreml_weights import CoremlConstants, CoremlWeight, read_coreml_constants
from export.mil.container import CoremlFile, open_coreml
from export.mil.program import Operation
from export.mil.wire import Message
from tests.export.changed_package import change_json

Change = Callable[[bytearray], None]


def change_coreml(package: Path, out: Path, change: Change) -> Path:
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


def open_program(package: Path) -> CoremlFile:
    return open_coreml(package / "model.pte")


def constants(file: CoremlFile, method: str = "forward") -> CoremlConstants:
    return read_coreml_constants(file.methods[method])


def place_in(file: CoremlFile, view: memoryview) -> int:
    """Where a view of a program begins, from the file's start."""
    place = address(view) - address(file.pte.data)
    assert 0 <= place < len(file.pte.data)
    return place


def flip_bytes(file: CoremlFile, view: memoryview, count: int, start: int = 0) -> Change:
    """Turns over the low bit of some bytes that follow each other."""
    place = place_in(file, view) + start

    def change(content: bytearray) -> None:
        for at in range(place, place + count):
            content[at] ^= 1

    return change


def exchange(file: CoremlFile, one: CoremlWeight, other: CoremlWeight) -> Change:
    """Two matrices of one shape change places, scales and all."""

    def change(content: bytearray) -> None:
        for ours, theirs in ((one.content, other.content), (one.scale_content, other.scale_content)):
            assert len(ours) == len(theirs)
            a, b = place_in(file, ours), place_in(file, theirs)
            content[a : a + len(ours)], content[b : b + len(theirs)] = bytes(theirs), bytes(ours)

    return change


def swap_inputs(file: CoremlFile, method: str, operation: Operation, first: str, second: str) -> Change:
    """Two inputs of an operation, whose values have names of one length, change places."""
    message = next(m for m, name in operation_messages(file, method) if name == operation.outputs[0].name)
    bindings = message.entries(2)
    names = [bindings[key].messages(1)[0].content(1) for key in (first, second)]
    assert len(names[0]) == len(names[1]) and bytes(names[0]) != bytes(names[1])

    def change(content: bytearray) -> None:
        for view, new in ((names[0], bytes(names[1])), (names[1], bytes(names[0]))):
            place = place_in(file, view)
            content[place : place + len(new)] = new

    return change


def operation_messages(file: CoremlFile, method: str) -> Iterator[tuple[Message, str]]:
    """Each operation of a method as its message, with the name of its first result."""
    model = file.methods[method]
    mlmodel = next(
        content for files in file.packages.values() for path, content in files.items() if path.endswith(".mlmodel")
    )
    program = Message(mlmodel).message(502)
    assert program is not None
    function = program.entries(2)[model.function_name]
    for entry in function.entries(3)[model.function.opset].messages(3):
        made = entry.messages(3)
        yield entry, made[0].text(1) if made else ""


def swappable(file: CoremlFile, method: str, kind: str, layer: int) -> tuple[Operation, str, str]:
    """An operation of a layer whose inputs x and y are values with names of one length."""
    made = [operation for operation in file.methods[method].function.operations if operation.kind != "const"]
    products = [index for index, operation in enumerate(made) if operation.kind == "linear"]
    results = {value.name for operation in made for value in operation.outputs}
    start, end = (products[7 * layer - 1] if layer else products[0]), products[7 * layer + 6]
    for operation in made[start:end]:
        names = [operation.inputs.get(key, (None,))[0] for key in ("x", "y")]
        if operation.kind == kind and all(name in results for name in names) and len(names[0]) == len(names[1]):
            return operation, "x", "y"
    raise AssertionError(f"no {kind} whose inputs could be exchanged")
