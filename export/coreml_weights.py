"""The weight matrices and float constants of a CoreML method, by what uses them; bytes stay in the mapped file.

Names of constants prove nothing and are not looked at: a matrix is what a `linear` or a `gather` takes, a norm's
weights are the vector that something is multiplied by, and which one follows from the order of the operations.
Legend: N rows (output channels), K columns (inputs), S scales a row, C model width.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from export.mil.container import MethodModel
from export.mil.program import Argument, Operation
from export.mil.values import Blob, Constant
from export.mil.weights import unpack_nibbles
from quant.recipe import SchemeName

FORWARD = "forward"  # the method that every program of ours has
COMPRESSED = "constexpr_blockwise_shift_scale"
_KINDS: dict[str, SchemeName] = {"int4": "int4-channel", "int8": "int8-channel"}
_FLOATS = ("float16", "float32")
_AGAIN = "make the package again with `pocketlm export`"

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class CoremlWeight:
    """One weight matrix, or some rows of one, as the file holds it."""

    use: Literal["linear", "gather"]
    operation: str  # that takes it
    kind: SchemeName
    shape: tuple[int, int]  # N, K
    group_size: int | None = None
    content_dtype: str  # int4, int8, float16 or float32
    scale_dtype: str = "float16"
    content: memoryview = field(repr=False)
    scale_content: memoryview = field(repr=False, default=memoryview(b""))
    place: tuple[int, int | None]  # offsets of codes and scales in weight.bin: equal places are one constant

    def codes(self, rows: slice = slice(None)) -> Array:
        """int8 codes [N, K], or of some rows.

        Raises:
            ValueError: the weight is float.
        """
        if self.kind == "float":
            raise ValueError(f"{self.operation} has no codes: its weight is {self.content_dtype}")
        start, stop, _ = rows.indices(self.shape[0])
        columns = self.shape[1]
        if self.content_dtype == "int8":
            part = np.frombuffer(self.content, dtype=np.int8)[start * columns : stop * columns]
        else:  # two a byte, and a row may begin in the middle of one
            low = start * columns // 2
            packed = self.content[low : (stop * columns + 1) // 2]
            first = start * columns - 2 * low
            part = unpack_nibbles(packed, 2 * len(packed), signed=True)[first : first + (stop - start) * columns]
        return part.reshape(stop - start, columns)

    def scales(self, rows: slice = slice(None)) -> Array:
        """Scales [N, S] in the file's own type, or of some rows.

        Raises:
            ValueError: the weight is float.
        """
        if self.kind == "float":
            raise ValueError(f"{self.operation} has no scales: its weight is {self.content_dtype}")
        return np.frombuffer(self.scale_content, dtype=self.scale_dtype).reshape(self.shape[0], -1)[rows]


@dataclass(frozen=True, kw_only=True)
class CoremlVector:
    """A float constant of several numbers that something is multiplied by, added to or picked from."""

    kind: str  # of the operation: "mul"
    operation: str
    dtype: str
    shape: tuple[int, ...]
    offset: int  # in weight.bin; -1 in the program's text
    values: Array = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class CoremlScalar:
    """A single float that an operation takes, as it stands in the program."""

    kind: str
    operation: str
    argument: str  # "y", "epsilon"
    dtype: str
    value: float


@dataclass(frozen=True, kw_only=True)
class CoremlConstants:
    """All constants of one method, each in the order in which operations use them."""

    linears: tuple[CoremlWeight, ...]
    gathers: tuple[CoremlWeight, ...]  # of weight matrices; rows of a table
    vectors: tuple[CoremlVector, ...]
    scalars: tuple[CoremlScalar, ...]


def read_coreml_constants(model: MethodModel) -> CoremlConstants:
    """Everything but integers that count or move (axes, shapes, positions).

    Raises:
        ValueError: the program is damaged, or compresses a constant in a way that is not read.
    """
    return _Reader(model).read()


class _Reader:
    def __init__(self, model: MethodModel) -> None:
        self.model = model
        self.constants: dict[str, Constant] = {}
        self.compressed: dict[str, Operation] = {}
        self.linears: list[CoremlWeight] = []
        self.gathers: list[CoremlWeight] = []
        self.vectors: list[CoremlVector] = []
        self.scalars: list[CoremlScalar] = []

    def read(self) -> CoremlConstants:
        for operation in self.model.function.operations:
            if operation.kind == "const":
                self.constants[operation.outputs[0].name] = operation.attributes["val"]
            elif operation.kind.startswith("constexpr_"):
                if operation.kind != COMPRESSED:
                    raise ValueError(
                        f"operation {operation.name} ({operation.kind}) is no compression of ours; {_AGAIN}"
                    )
                self.compressed[operation.outputs[0].name] = operation
            else:
                self._use(operation)
        return CoremlConstants(
            linears=tuple(self.linears),
            gathers=tuple(self.gathers),
            vectors=tuple(self.vectors),
            scalars=tuple(self.scalars),
        )

    def _use(self, operation: Operation) -> None:
        matrix = {"linear": "weight", "gather": "x"}.get(operation.kind)
        for name, arguments in operation.inputs.items():
            for argument in arguments:
                if isinstance(argument, str) and argument in self.compressed:
                    self._matrix(operation, name, self.compressed[argument])
                    continue
                constant = self.constant(argument)
                if constant is None or constant.dtype not in _FLOATS:
                    continue
                if name == matrix and operation.kind == "linear":
                    self._float_matrix(operation, constant)
                elif math.prod(constant.shape) == 1:
                    value = float(self.array(constant).reshape(()))
                    self.scalars.append(
                        CoremlScalar(
                            kind=operation.kind,
                            operation=operation.name,
                            argument=name,
                            dtype=constant.dtype,
                            value=value,
                        )
                    )
                else:
                    self.vectors.append(
                        CoremlVector(
                            kind=operation.kind,
                            operation=operation.name,
                            dtype=constant.dtype,
                            shape=constant.shape,
                            offset=_offset(constant),
                            values=self.array(constant),
                        )
                    )

    def _matrix(self, operation: Operation, name: str, made: Operation) -> None:
        """A compressed constant where it is used."""
        if (operation.kind, name) not in (("linear", "weight"), ("gather", "x")):
            raise ValueError(
                f"operation {operation.name} ({operation.kind}) takes a compressed constant as {name!r}; only linear "
                f"and gather do in a program of ours; {_AGAIN}"
            )
        data, scale = self._argument(made, "data"), self._argument(made, "scale")
        offset = made.inputs.get("offset", ())
        if offset and (zero := self.constant(offset[0])) is not None and self.array(zero).any():
            raise ValueError(f"the weight of operation {operation.name} has zero points; ours are symmetric; {_AGAIN}")
        if data.dtype not in _KINDS or len(data.shape) != 2 or scale.dtype not in _FLOATS:
            raise ValueError(
                f"the weight of operation {operation.name} is {data.dtype} {list(data.shape)} with {scale.dtype} "
                f"scales; int4 and int8 matrices with float scales are read; {_AGAIN}"
            )
        rows, columns = data.shape
        per_row = scale.shape[1] if len(scale.shape) == 2 else 0
        if len(scale.shape) != 2 or scale.shape[0] != rows or not per_row or columns % per_row:
            raise ValueError(
                f"the weight {list(data.shape)} of operation {operation.name} has scales {list(scale.shape)}; they "
                f"must be [{rows}, S] with S a divisor of {columns}; {_AGAIN}"
            )
        kind = _KINDS[data.dtype]
        if per_row > 1:
            if kind == "int8-channel":
                raise ValueError(f"the 8-bit weight of operation {operation.name} has {per_row} scales a row; {_AGAIN}")
            kind = "int4-group"
        content, scale_content = self.content(data), self.content(scale)
        weight = CoremlWeight(
            use="linear" if operation.kind == "linear" else "gather",
            operation=operation.name,
            kind=kind,
            shape=(rows, columns),
            group_size=columns // per_row if kind == "int4-group" else None,
            content_dtype=data.dtype,
            scale_dtype=scale.dtype,
            content=content,
            scale_content=scale_content,
            place=(_offset(data), _offset(scale)),
        )
        (self.linears if operation.kind == "linear" else self.gathers).append(weight)

    def _float_matrix(self, operation: Operation, constant: Constant) -> None:
        if len(constant.shape) != 2:
            raise ValueError(f"the weight of operation {operation.name} is {list(constant.shape)}, no matrix; {_AGAIN}")
        rows, columns = constant.shape
        self.linears.append(
            CoremlWeight(
                use="linear",
                operation=operation.name,
                kind="float",
                shape=(rows, columns),
                content_dtype=constant.dtype,
                content=self.content(constant),
                place=(_offset(constant), None),
            )
        )

    def _argument(self, operation: Operation, name: str) -> Constant:
        found = operation.inputs.get(name, ())
        constant = self.constant(found[0]) if found else operation.attributes.get(name)
        if constant is None:
            raise ValueError(f"operation {operation.name} ({operation.kind}) has no constant {name!r}; {_AGAIN}")
        return constant

    def constant(self, argument: Argument) -> Constant | None:
        return self.constants.get(argument) if isinstance(argument, str) else argument

    def content(self, constant: Constant) -> memoryview:
        """The bytes of a constant of the file of weights; one in the program's text as bytes of its own."""
        if isinstance(constant.content, Blob):
            return self.model.weights.content(constant.content.offset, constant.dtype, constant.shape)
        if isinstance(constant.content, str) or constant.dtype == "int4":
            raise ValueError(
                f"a constant {constant.dtype} {list(constant.shape)} stands in the program's text; {_AGAIN}"
            )
        return memoryview(np.ascontiguousarray(constant.content).tobytes())

    def array(self, constant: Constant) -> Array:
        if isinstance(constant.content, Blob):
            return self.model.weights.array(constant.content.offset, constant.dtype, constant.shape)
        if isinstance(constant.content, str):
            raise ValueError(f"a text stands where a number belongs; {_AGAIN}")
        return constant.content


def _offset(constant: Constant) -> int:
    """Where in weight.bin a constant lies; those in the program's text have no place that could be shared."""
    return constant.content.offset if isinstance(constant.content, Blob) else -1


def blob_constants(model: MethodModel) -> Iterator[Constant]:
    """Every constant of a method that lies in the file of weights."""
    for operation in model.function.operations:
        held = [*operation.attributes.values(), *(a for group in operation.inputs.values() for a in group)]
        for constant in held:
            if isinstance(constant, Constant) and isinstance(constant.content, Blob):
                yield constant


def by_method(methods: Mapping[str, MethodModel]) -> dict[str, CoremlConstants]:
    """`read_coreml_constants` of each, with the method's name in errors.

    Raises:
        ValueError: the program is damaged, or has no method `forward`.
    """
    if FORWARD not in methods:
        raise ValueError(f"the program has no method {FORWARD!r}, only {', '.join(methods)}; {_AGAIN}")
    found = {}
    for name, model in methods.items():
        try:
            found[name] = read_coreml_constants(model)
        except ValueError as error:
            raise ValueError(f"method {name}: {error}") from None
    return found
