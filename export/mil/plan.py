"""A function of a MIL program made ready to run: every operation known, every type checked, every constant at hand.

Nothing is computed here. What an operation may take is its numpy function's signature (arithmetic.py, movement.py).
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from export.mil.arithmetic import ARITHMETIC, CASTS, COMPARISONS
from export.mil.constants import DEQUANTISE, Dequantised, Fixed, Stored, WeightCache, constant_source, dequantised
from export.mil.container import MethodModel
from export.mil.movement import MOVEMENT
from export.mil.program import Function, Operation
from export.mil.values import Constant, Value
from model.errors import GateError

Precision = Literal["fp16", "fp32"]
Source = str | Fixed | Stored | Dequantised  # the name of a value, or a constant

_STATE = {"read_state": {"input"}, "write_state": {"input", "data"}}
_VARIADIC = "values"
# Inputs that must be of one type, which is the result's too unless a rule below says otherwise.
_ALIKE = ("x", "y", "a", "b", "weight", "bias", "update", "values", "epsilon", "alpha", "beta", "data")
_ROUNDS_NOTHING = frozenset(MOVEMENT)  # moving rounded numbers leaves them rounded


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One operation."""

    operation: Operation
    compute: Callable[..., Any] | None  # None: it reads or writes a state
    sources: tuple[tuple[str, tuple[Source, ...]], ...]  # parameter to what it takes
    is_moving: bool
    dead: tuple[str, ...]  # values that nothing reads after it

    @property
    def label(self) -> str:
        return f"operation {self.operation.name} ({self.operation.kind})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A function, ready to run."""

    function: Function
    steps: tuple[Step, ...]
    outputs: tuple[tuple[Value, Source], ...]  # in the order of the delegate call


def make_plan(model: MethodModel, cache: WeightCache, precision: Precision) -> Plan:
    """Checks all operations of what a method runs and looks up its constants.

    Raises:
        GateError: an operation is unknown, lacks an input, has one of another type, or declares another type than it
            makes; each names the operation.
    """
    maker = _Maker(model, cache, precision)
    for operation in model.function.operations:
        try:
            maker.add(operation)
        except ValueError as error:
            raise GateError(
                f"operation {operation.name} ({operation.kind}) of method {model.method.name}: {error}"
            ) from None
    return maker.plan()


class _Maker:
    def __init__(self, model: MethodModel, cache: WeightCache, precision: Precision) -> None:
        self._model, self._cache, self._half = model, cache, precision == "fp16"
        function = model.function
        self._states = {value.name: value for value in function.states}
        self._values = {value.name: value for value in function.inputs} | self._states
        self._constants: dict[str, Fixed | Stored | Dequantised] = {}
        self._steps: list[tuple[Operation, Callable[..., Any] | None, tuple[tuple[str, tuple[Source, ...]], ...]]] = []

    def add(self, operation: Operation) -> None:
        if operation.kind == "const":
            self._add_constant(operation, operation.attributes.get("val"))
        elif operation.kind == DEQUANTISE:
            self._add_dequantised(operation)
        elif operation.kind in _STATE:
            self._check_state(operation)
            self._steps.append((operation, None, self._state_sources(operation)))
        else:
            compute = ARITHMETIC.get(operation.kind) or MOVEMENT.get(operation.kind)
            if compute is None:
                raise ValueError("no operation of this kind is known here, so what it computes is not verified")
            _check_parameters(operation, compute)
            self._check_types(operation)
            self._steps.append((operation, compute, self._sources(operation)))
        self._values |= {value.name: value for value in operation.outputs}

    def plan(self) -> Plan:
        last = {
            name: index
            for index, (_, _, sources) in enumerate(self._steps)
            for _, group in sources
            for name in group
            if isinstance(name, str)
        }
        kept = set(self._model.output_names)
        dead: list[list[str]] = [[] for _ in self._steps]
        for name, index in last.items():
            if name not in kept:
                dead[index].append(name)
        steps = tuple(
            Step(
                operation=operation,
                compute=compute,
                sources=sources,
                is_moving=operation.kind in _ROUNDS_NOTHING,
                dead=tuple(names),
            )
            for (operation, compute, sources), names in zip(self._steps, dead, strict=True)
        )
        if kept & self._states.keys():
            raise GateError(f"method {self._model.method.name} returns a state, {sorted(kept & self._states.keys())}")
        outputs = tuple((self._values[name], self._constants.get(name, name)) for name in self._model.output_names)
        return Plan(function=self._model.function, steps=steps, outputs=outputs)

    def _add_constant(self, operation: Operation, constant: Constant | None) -> None:
        if constant is None or len(operation.outputs) != 1:
            raise ValueError("it has no value")
        _check_declared(operation.outputs[0], constant.dtype, constant.shape)
        source = constant_source(constant, self._model.weights, self._model.weights_path, self._cache)
        self._constants[operation.outputs[0].name] = source

    def _add_dequantised(self, operation: Operation) -> None:
        model = self._model
        half = self._half and all(value.dtype == "float16" for value in operation.outputs)
        source = dequantised(operation, model.weights, model.weights_path, self._cache, half=half)
        if len(operation.outputs) != 1:
            raise ValueError("it has no value")
        _check_declared(operation.outputs[0], source.scale.dtype, source.data.shape)
        self._constants[operation.outputs[0].name] = source

    def _sources(self, operation: Operation) -> tuple[tuple[str, tuple[Source, ...]], ...]:
        return tuple(
            (name, tuple(self._source(argument) for argument in arguments))
            for name, arguments in operation.inputs.items()
        )

    def _state_sources(self, operation: Operation) -> tuple[tuple[str, tuple[Source, ...]], ...]:
        """As `_sources`, with the state by its name."""
        data = [("data", (self._source(argument),)) for argument in operation.inputs.get("data", ())]
        return (("input", (str(operation.inputs["input"][0]),)), *data)

    def _source(self, argument: str | Constant) -> Source:
        if isinstance(argument, Constant):
            return constant_source(argument, self._model.weights, self._model.weights_path, self._cache)
        if argument in self._states:
            raise ValueError(f"it uses the state {argument!r} as a value; read_state and write_state alone may")
        return self._constants.get(argument, argument)

    def _dtype(self, argument: str | Constant) -> str:
        return argument.dtype if isinstance(argument, Constant) else self._values[argument].dtype

    def _check_types(self, operation: Operation) -> None:
        found = {name: {self._dtype(a) for a in group} for name, group in operation.inputs.items() if name in _ALIKE}
        if len(set().union(*found.values())) > 1:
            raise ValueError(f"its inputs are of several types: { ({k: sorted(v) for k, v in found.items()}) }")
        wanted = self._result(operation)
        for value in operation.outputs:
            if value.dtype != wanted:
                raise ValueError(f"it declares {value.name} as {value.dtype}, but makes {wanted}")

    def _result(self, operation: Operation) -> str:
        if operation.kind in COMPARISONS:
            return "bool"
        if operation.kind == "shape":
            return "int32"
        if operation.kind == "cast":
            text = self._source(operation.inputs["dtype"][0])
            name = text.value if isinstance(text, Fixed) and isinstance(text.value, str) else ""
            return CASTS.get(name, f"the unknown type {name!r}")
        source = {"fill": "value", "range_1d": "start"}.get(operation.kind)
        names = (source,) if source else [name for name in _ALIKE if name in operation.inputs]
        if not names or names[0] not in operation.inputs:
            return "float32"  # fill's default
        return self._dtype(operation.inputs[names[0]][0])

    def _check_state(self, operation: Operation) -> None:
        wanted = _STATE[operation.kind]
        if set(operation.inputs) != wanted or any(len(group) != 1 for group in operation.inputs.values()):
            raise ValueError(f"it takes {sorted(operation.inputs)}; {sorted(wanted)} belong there")
        name = operation.inputs["input"][0]
        if not isinstance(name, str) or name not in self._states:
            raise ValueError(f"{name!r} is no state; the function has {list(self._states)}")
        state = self._states[name]
        for value in operation.outputs:
            _check_declared(value, state.dtype, state.shape)
        if "data" in operation.inputs and self._dtype(operation.inputs["data"][0]) != state.dtype:
            raise ValueError(f"it writes {self._dtype(operation.inputs['data'][0])} to a state {state.dtype}")


@cache
def _parameters(compute: Callable[..., Any]) -> tuple[frozenset[str], frozenset[str]]:
    """(all, required) parameters."""
    found = inspect.signature(compute).parameters
    return frozenset(found), frozenset(name for name, p in found.items() if p.default is inspect.Parameter.empty)


def _check_parameters(operation: Operation, compute: Callable[..., Any]) -> None:
    known, required = _parameters(compute)
    given = set(operation.inputs)
    if given - known or required - given:
        raise ValueError(f"it takes {sorted(given)}; {sorted(required)} are needed, {sorted(known)} are known")
    for name, group in operation.inputs.items():
        if not group or (len(group) > 1 and name != _VARIADIC):
            raise ValueError(f"its input {name!r} is {len(group)} values")


def _check_declared(value: Value, dtype: str, shape: tuple[int | None, ...]) -> None:
    if value.dtype != dtype or value.shape != shape:
        raise ValueError(f"it declares {value.dtype} {list(value.shape)}, but is {dtype} {list(shape)}")
