"""Which operation of a CoreML program is unlike its twins: the same step of other layers and of the other method.

All layers compute alike and so do both methods, but for lengths. Where execution has found something wrong, the odd one
out is named here; nothing is refused for being odd alone, and what is changed everywhere alike is not found.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from export.mil.container import CoremlFile, MethodModel
from export.mil.program import Argument, Operation
from export.mil.values import Blob, Constant

_PRODUCTS = 7  # linear operations of one layer: q, k, v, o, gate, up, down
_MOST = 3  # operations that are named


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """The operations of one layer of one method, up to its last product."""

    method: str
    layer: int
    operations: list[Operation]
    forms: list[str]  # of each: what it does, in words that are equal for all layers


def odd_operations(file: CoremlFile) -> list[str]:
    """A sentence for each operation that most of its twins contradict; none if there are too few twins to tell."""
    layers = [layer for name, model in file.methods.items() for layer in _layers(name, model)]
    if len(layers) < 2:
        return []
    length = Counter(len(layer.forms) for layer in layers[1:]).most_common(1)[0][0]
    told: list[str] = []
    for back in range(1, length + 1):  # from the last product, because the first layer begins with the table
        at = [layer for layer in layers if len(layer.forms) >= back]
        counts = Counter(layer.forms[-back] for layer in at)
        usual, count = counts.most_common(1)[0]
        odd = [layer for layer in at if layer.forms[-back] != usual]
        if odd and 2 * count > len(at) and len(odd) <= len(file.methods):
            told += [_sentence(layer, back, usual) for layer in odd]
    for back in range(1, length + 1):
        if told:
            break
        told = list(_between_methods(layers, back))
    return told[:_MOST]


def _between_methods(layers: list[_Layer], back: int) -> Iterator[str]:
    """The same layer in both methods, where layers are too few or too different to outvote one."""
    by_layer: dict[int, list[_Layer]] = {}
    for layer in layers:
        if len(layer.forms) >= back:
            by_layer.setdefault(layer.layer, []).append(layer)
    for twins in by_layer.values():
        if len({twin.forms[-back] for twin in twins}) > 1:
            names = " and ".join(f"{t.operations[-back].name} of {t.method}" for t in twins)
            forms = " against ".join(twin.forms[-back] for twin in twins)
            yield f"layers.{twins[0].layer}: operation {names} are not the same step: {forms}"


def _sentence(layer: _Layer, back: int, usual: str) -> str:
    return (
        f"layers.{layer.layer}: operation {layer.operations[-back].name} of method {layer.method} is unlike the same "
        f"step elsewhere: {layer.forms[-back]} in place of {usual}"
    )


def _layers(method: str, model: MethodModel) -> Iterator[_Layer]:
    constants = {
        operation.outputs[0].name: operation.attributes["val"]
        for operation in model.function.operations
        if operation.kind == "const"
    }
    operations = [o for o in model.function.operations if o.kind != "const" and not o.kind.startswith("constexpr_")]
    made = {value.name: index for index, operation in enumerate(operations) for value in operation.outputs}
    products = [index for index, operation in enumerate(operations) if operation.kind == "linear"]
    start = 0
    for number in range(len(products) // _PRODUCTS):
        end = products[_PRODUCTS * number + _PRODUCTS - 1] + 1
        forms = [_form(operations[index], index, start, made, constants) for index in range(start, end)]
        yield _Layer(method=method, layer=number, operations=operations[start:end], forms=forms)
        start = end


def _form(operation: Operation, index: int, start: int, made: dict[str, int], constants: dict[str, Constant]) -> str:
    """An operation with its inputs told by where they come from: so many steps back, a constant's value, an input."""
    words = []
    for name, arguments in sorted(operation.inputs.items()):
        words += [f"{name}={_source(argument, index, start, made, constants)}" for argument in arguments]
    return f"{operation.kind}({', '.join(words)})"


def _source(argument: Argument, index: int, start: int, made: dict[str, int], constants: dict[str, Constant]) -> str:
    constant = constants.get(argument) if isinstance(argument, str) else argument
    if constant is not None:
        if isinstance(constant.content, Blob):
            return "weights"
        if isinstance(constant.content, str):
            return constant.content
        if constant.content.dtype.kind == "f" and math.prod(constant.shape) == 1:
            return f"{float(constant.content.reshape(())):.6g}"
        return "numbers" if np.size(constant.content) else "nothing"  # sizes and axes: methods differ in lengths
    assert isinstance(argument, str)
    if argument not in made:
        return re.sub(r"_(\d+|local|global)$", "", argument)  # an input, or a compressed constant
    return f"{index - made[argument]} back" if made[argument] >= start else "an earlier layer's"
