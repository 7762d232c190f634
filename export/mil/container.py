"""Takes the CoreML packages out of a `.pte`: which function of which program each method runs, and its weights.

A delegate's bytes are the package itself, or, where methods share one, `CMJR` and a JSON object that names it among the
file's named data (executorch 1.5.1, backends/apple/coreml/compiler/coreml_preprocess.py).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.mil.memory_files import read_memory_files
from export.mil.program import Function, MilProgram, read_program
from export.mil.weights import WeightFile
from export.pte import Pte, read_pte
from export.pte_values import DelegateCall, Method

BACKEND = "CoreMLBackend"
_REFERENCE = b"CMJR"
_PACKAGE = "model.mlpackage/"
_METADATA = "metadata.json"
_AGAIN = "make the package again with `pocketlm export`"


@dataclass(frozen=True, kw_only=True, eq=False)
class MethodModel:
    """What one method of the `.pte` runs."""

    method: Method  # its values and instructions
    identifier: str  # of the package, under which the phone caches it compiled
    function_name: str
    program: MilProgram
    weights: WeightFile
    weights_path: str  # as the program's constants name the file
    input_names: tuple[str, ...]  # of the function, in the order of the delegate call's arguments
    output_names: tuple[str, ...]

    @property
    def function(self) -> Function:
        return self.program.function(self.function_name)


@dataclass(frozen=True, kw_only=True, eq=False)
class CoremlFile:
    """A `.pte` whose methods are CoreML delegates."""

    pte: Pte
    methods: dict[str, MethodModel]  # by the name of the `.pte`'s method; those with instructions
    packages: dict[str, dict[str, memoryview]]  # identifier to the mlpackage's files, by path inside model.mlpackage


@dataclass(frozen=True, kw_only=True, eq=False)
class _Container:
    """One package with what stands beside it."""

    identifier: str
    metadata: dict[str, Any]
    files: dict[str, memoryview]
    program: MilProgram
    weights: WeightFile
    weights_path: str


def open_coreml(path: Path) -> CoremlFile:
    """Reads a `.pte` for CoreML; weights are views of the mapped file.

    Raises:
        ValueError: it is no `.pte`, a method is not one CoreML delegate, or something inside is damaged.
    """
    pte = read_pte(path)
    running = {name: method for name, method in pte.methods.items() if method.instructions}
    if not running:
        raise ValueError(f"{path} has no method that runs anything")
    containers: dict[str, _Container] = {}
    try:
        methods = {name: _method_model(pte, method, containers) for name, method in running.items()}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    packages = {container.identifier: container.files for container in containers.values()}
    if len(packages) != len(containers):
        raise ValueError(f"{path}: two packages have the same identifier; a phone would take one for the other")
    return CoremlFile(pte=pte, methods=methods, packages=packages)


def is_coreml_program(pte: Pte) -> bool:
    """Whether any of its delegates is CoreML's."""
    return any(delegate.backend == BACKEND for method in pte.methods.values() for delegate in method.delegates)


def _method_model(pte: Pte, method: Method, containers: dict[str, _Container]) -> MethodModel:
    if len(method.delegates) != 1 or method.delegates[0].backend != BACKEND:
        found = ", ".join(delegate.backend for delegate in method.delegates) or "none"
        raise ValueError(f"method {method.name} must be one {BACKEND} delegate; it has {found}")
    payload = method.delegates[0].payload
    function = ""
    key = method.name
    if bytes(payload[: len(_REFERENCE)]) == _REFERENCE:
        reference = _json(payload[len(_REFERENCE) :], f"the reference of method {method.name}")
        key, function = _text(reference, "key"), _text(reference, "functionName")
        payload = pte.named(key)
    if key not in containers:
        containers[key] = _container(payload)
    container = containers[key]
    entry: Any = container.metadata
    if "methods" in entry:
        listed = entry["methods"]
        entry = listed.get(method.name) if isinstance(listed, dict) else None
        if not isinstance(entry, dict):
            raise ValueError(f"{_METADATA} does not list method {method.name}; {_AGAIN}")
    model = MethodModel(
        method=method,
        identifier=container.identifier,
        function_name=function or container.program.default_function,
        program=container.program,
        weights=container.weights,
        weights_path=container.weights_path,
        input_names=_names(entry, "inputNames"),
        output_names=_names(entry, "outputNames"),
    )
    _check(model)
    return model


def _container(payload: memoryview) -> _Container:
    files = read_memory_files(payload)
    if _METADATA not in files:
        raise ValueError(f"a CoreML delegate has no {_METADATA}; {_AGAIN}")
    metadata = _json(files[_METADATA], _METADATA)
    package = {path.removeprefix(_PACKAGE): data for path, data in files.items() if path.startswith(_PACKAGE)}
    manifest = _json(package.get("Manifest.json", memoryview(b"{}")), "Manifest.json of the mlpackage")
    root = manifest.get("rootModelIdentifier")
    items = manifest.get("itemInfoEntries")
    item = items.get(root) if isinstance(items, dict) else None
    model = f"Data/{_text(item, 'path')}" if isinstance(item, dict) else ""
    if model not in package:
        raise ValueError(
            f"the mlpackage's Manifest.json leads to {model or 'no model'!r}, which is not there; {_AGAIN}"
        )
    weights = f"{model.rsplit('/', 1)[0]}/weights/weight.bin"
    if weights not in package:
        raise ValueError(f"the mlpackage has no {weights}; {_AGAIN}")
    return _Container(
        identifier=_text(metadata, "identifier"),
        metadata=metadata,
        files=package,
        program=read_program(package[model]),
        weights=WeightFile(package[weights]),
        weights_path="@model_path/weights/weight.bin",
    )


def _check(model: MethodModel) -> None:
    """Function, metadata and delegate call speak of the same tensors."""
    function, name = model.function, model.method.name
    taken = {value.name for value in function.inputs}
    if set(model.input_names) != taken or len(model.input_names) != len(taken):
        raise ValueError(f"{_METADATA} gives {name} the inputs {list(model.input_names)}; it takes {sorted(taken)}")
    if set(model.output_names) - set(function.outputs) or len(set(model.output_names)) != len(model.output_names):
        raise ValueError(
            f"{_METADATA} gives {name} the outputs {list(model.output_names)}; it makes {list(function.outputs)}"
        )
    arguments = len(model.input_names) + len(model.output_names)
    for call in model.method.instructions:
        if isinstance(call, DelegateCall) and (call.delegate or len(call.args) != arguments):
            raise ValueError(f"method {name} calls its delegate with {len(call.args)} values instead of {arguments}")


def _json(data: memoryview, what: str) -> dict[str, Any]:
    try:
        found = json.loads(bytes(data))
    except (ValueError, RecursionError):
        raise ValueError(f"{what} is no JSON; {_AGAIN}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{what} is no JSON object; {_AGAIN}")
    return found


def _text(table: dict[str, Any], key: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key!r} is missing beside a CoreML program; {_AGAIN}")
    return value


def _names(table: dict[str, Any], key: str) -> tuple[str, ...]:
    value = table.get(key)
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{_METADATA} has no list {key!r}; {_AGAIN}")
    return tuple(value)
