"""Executes the CoreML methods of a `.pte` in numpy, instruction by instruction, and distrusts each of them.

Every result is compared with the shape that the program declares, types before the first run. In fp16 each operation
computes in float32 and its result is rounded to float16, as a unit with wide accumulators does; how Apple's units
accumulate is not documented, so this is one possible fp16, not theirs bit for bit.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.mil.constants import WeightCache, round_half, storage
from export.mil.container import MethodModel, open_coreml
from export.mil.plan import Plan, Precision, Source, Step, make_plan
from export.mil.values import Value, show
from export.pte_values import DelegateCall, Free, KernelCall
from model.errors import GateError

Array = NDArray[Any]

MAX_HALF = 65_504.0  # the largest float16
_CACHE_BYTES = 1 << 30


class MilExecutor:
    """Runs methods of a package; see the module's sentence.

    Args:
        precision: fp16 rounds wherever the program says float16; fp32 never does.
        trace: keep the largest magnitude that each operation reached, over all calls, in `peaks`.
        cache_bytes: of dequantised weights that are kept between calls.

    Raises:
        ValueError: the file is no `.pte` for CoreML or damaged.
        GateError: a method holds an operation that is unknown here or whose types contradict each other.
    """

    def __init__(
        self, pte_path: Path, *, precision: Precision = "fp16", trace: bool = False, cache_bytes: int = _CACHE_BYTES
    ) -> None:
        self.file = open_coreml(Path(pte_path))
        self.precision: Precision = precision
        self.peaks: dict[str, float] = {}  # "method/operation" to the largest |x| of its floating-point results
        self._half, self._trace = precision == "fp16", trace
        cache = WeightCache(limit_bytes=cache_bytes)
        self._plans = {name: make_plan(model, cache, precision) for name, model in self.file.methods.items()}
        self._states: dict[str, dict[str, Array]] = {}
        self.reset_state()

    def reset_state(self) -> None:
        """Fills the states with zeros, as Core ML makes them; each method has its own."""
        self._states = {
            name: {state.name: np.zeros(_sizes(state), dtype=storage(state.dtype)) for state in plan.function.states}
            for name, plan in self._plans.items()
        }

    def execute(self, method: str, inputs: Sequence[Array]) -> list[Array]:
        """Runs a method of the `.pte`; inputs and outputs in its own order. The inputs are copied.

        Returns:
            Arrays of the program's types; float32 in place of float16 when precision is fp32.

        Raises:
            ValueError: there is no such method, or the inputs do not fit it.
            GateError: an operation contradicts its declared shape, fails, or leaves float16; the error names it. Or
                the method runs something other than its delegate.
        """
        if method not in self._plans:
            raise ValueError(f"there is no method {method!r}; there are {', '.join(self._plans)}")
        model = self.file.methods[method]
        wanted = model.method.inputs
        if len(inputs) != len(wanted):
            raise ValueError(f"method {method} takes {len(wanted)} inputs; {len(inputs)} were given")
        values: dict[int, Array] = dict(zip(wanted, inputs, strict=True))
        for instruction in model.method.instructions:
            if isinstance(instruction, DelegateCall):
                self._call_delegate(model, instruction.args, values)
            elif not isinstance(instruction, Free):
                what = instruction.operator if isinstance(instruction, KernelCall) else type(instruction).__name__
                raise GateError(f"method {method} runs {what} outside of CoreML; every operation belongs inside")
        try:
            return [self._returned(values[index], model.method.tensor(index).dtype) for index in model.method.outputs]
        except KeyError as error:
            raise GateError(f"method {method} returns value {error}, which nothing made") from None

    def _returned(self, array: Array, dtype: str) -> Array:
        return array.astype("float32" if dtype == "float16" and not self._half else dtype)

    def _call_delegate(self, model: MethodModel, args: tuple[int, ...], values: dict[int, Array]) -> None:
        name, plan = model.method.name, self._plans[model.method.name]
        taken = {value.name: value for value in plan.function.inputs}
        environment: dict[str, Array] = {}
        for index, input_name in zip(args, model.input_names, strict=False):
            if index not in values:
                raise GateError(f"method {name} hands value {index} to {input_name}, but nothing made it")
            environment[input_name] = self._taken(values[index], taken[input_name], name)
        self._run(name, plan, environment)
        for index, (value, source) in zip(args[len(taken) :], plan.outputs, strict=True):
            tensor, array = model.method.tensor(index), _load(source, environment)
            types = (tensor.dtype, value.dtype)
            if tensor.sizes != array.shape or (types[0] != types[1] and types != ("int64", "int32")):
                made = f"{value.dtype} {list(array.shape)}"
                promised = f"{tensor.dtype} {list(tensor.sizes)}"
                raise GateError(f"method {name} makes {value.name} as {made}; its .pte promises {promised}")
            values[index] = array

    def _taken(self, given: Array, value: Value, method: str) -> Array:
        """An input as the program holds it."""
        array = np.asarray(given)
        allowed = {"int32": ("int32", "int64"), "float16": ("float16",) if self._half else ("float16", "float32")}
        if array.dtype.name not in allowed.get(value.dtype, (value.dtype,)) or not _fits(array, value):
            found = f"{array.dtype.name} {list(array.shape)}"
            raise ValueError(f"input {value.name} of method {method} is {found}; it must be {show(value)}")
        if array.dtype == np.int64 and array.size and np.abs(array).max() > np.iinfo(np.int32).max:
            raise ValueError(f"input {value.name} of method {method} does not fit int32")
        taken = array.astype(storage(value.dtype))
        if taken.dtype.kind == "f" and not np.isfinite(taken).all():
            raise ValueError(f"input {value.name} of method {method} is not finite")
        return taken

    def _run(self, method: str, plan: Plan, environment: dict[str, Array]) -> None:
        states = self._states[method]
        with np.errstate(all="ignore"):
            for step in plan.steps:
                results: Sequence[Array]
                if step.compute is None:
                    results = _use_state(step, environment, states)
                else:
                    results = _compute(step, environment, method)
                outputs = step.operation.outputs
                if len(results) != len(outputs):
                    raise GateError(f"{step.label} of method {method} makes {len(results)} values, not {len(outputs)}")
                for value, array in zip(outputs, results, strict=True):
                    environment[value.name] = self._checked(step, value, array, method)
                for name in step.dead:
                    environment.pop(name, None)

    def _checked(self, step: Step, value: Value, array: Array, method: str) -> Array:
        """A result, rounded; its shape is the declared one and its numbers are finite."""
        if not _fits(array, value):
            raise GateError(f"{step.label} of method {method} makes {list(array.shape)}; it declares {show(value)}")
        if array.dtype.kind != "f" or (step.is_moving and not self._trace) or not array.size:
            return array.astype(storage(value.dtype), copy=False)
        peak = max(float(array.max()), -float(array.min()))
        half = self._half and value.dtype == "float16"
        if not peak <= (MAX_HALF if half else np.finfo(np.float32).max):
            where = f"{step.label} of method {method}"
            if peak != peak or not half:
                raise GateError(f"{where} makes numbers that are not finite")
            raise GateError(f"{where} reaches {peak:,.0f}; float16 ends at {MAX_HALF:,.0f}, so a phone would overflow")
        if self._trace:
            key = f"{method}/{step.operation.name}"
            self.peaks[key] = max(peak, self.peaks.get(key, 0.0))
        return round_half(array) if half and not step.is_moving else array


def _load(source: Source, environment: dict[str, Array]) -> Any:
    return environment[source] if isinstance(source, str) else source.load()


def _compute(step: Step, environment: dict[str, Array], method: str) -> Sequence[Array]:
    assert step.compute is not None
    arguments: dict[str, Any] = {}
    for name, sources in step.sources:
        loaded = [_load(source, environment) for source in sources]
        arguments[name] = loaded if name == "values" else loaded[0]
    try:
        result = step.compute(**arguments)
    except (ValueError, IndexError, TypeError, AttributeError, OverflowError) as error:
        raise GateError(f"{step.label} of method {method} fails: {error}") from None
    return result if isinstance(result, list) else (np.asarray(result),)


def _use_state(step: Step, environment: dict[str, Array], states: dict[str, Array]) -> Sequence[Array]:
    sources = dict(step.sources)
    name = sources["input"][0]
    assert isinstance(name, str)
    if step.operation.kind == "read_state":
        return (states[name],)
    data = _load(sources["data"][0], environment)
    if data.shape != states[name].shape:
        raise GateError(f"{step.label} writes {list(data.shape)} to the state {name}, {list(states[name].shape)}")
    states[name] = data
    return ()


def _fits(array: Array, value: Value) -> bool:
    if array.shape == value.shape:
        return True
    return len(array.shape) == len(value.shape) and all(
        told is None or told == found for told, found in zip(value.shape, array.shape, strict=True)
    )


def _sizes(state: Value) -> tuple[int, ...]:
    if None in state.shape:
        raise ValueError(f"the state {state.name} has no fixed shape: {show(state)}")
    return tuple(size for size in state.shape if size is not None)
