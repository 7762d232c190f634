"""Reads one XNNPACK delegate's payload: the nodes that it runs, their values, and where constant data stands.

The tables are read by field number, after executorch/backends/xnnpack/serialization/runtime_schema.fbs (1.5.1).
Needs neither torch nor executorch.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from export.flatbuffer import READ_ERRORS, Table, read_root

_MAGIC = b"XH00"  # at byte 4; then u16 header bytes, u32 table offset, u32 table bytes, u32 data offset, u64 data bytes
_HEADER_BYTES = 30
_IDENTIFIER = b"XN"
_NO_OFFSET = (1 << 64) - 1
NO_VALUE = (1 << 32) - 1  # id of an input that a node does not have

DATATYPES = (
    "invalid",
    "fp32",
    "fp16",
    "qint8",
    "quint8",
    "qint32",
    "qcint8",
    "qcint32",
    "qcint4",
    "qdint8",
    "qbint4",
    "qpint8",
    "int32",
    "pfp32",
    "bf16",
)

# XNodeUnion in its order, without the leading XNN.
_KINDS = (
    "None",
    "Add",
    "FullyConnected",
    "Softmax",
    "Sigmoid",
    "StaticTranspose",
    "Clamp",
    "Conv2d",
    "Div",
    "StaticResizeBilinear2D",
    "StaticConstantPad",
    "AvgPooling2d",
    "Minimum",
    "DepthwiseConv2d",
    "MaxPooling2d",
    "Multiply",
    "Subtract",
    "Floor",
    "Convert",
    "GlobalAvgPooling2d",
    "StaticReshape",
    "ArgMaxPooling2d",
    "SquareRoot",
    "Ceiling",
    "Hardswish",
    "LeakyReLU",
    "Maximum",
    "Negate",
    "Square",
    "ELU",
    "Abs",
    "PReLU",
    "Concatenate2",
    "Concatenate3",
    "Concatenate4",
    "StaticSlice",
    "ScaledDotProductAttention",
    "BatchMatrixMultiply",
    "Concatenate5",
    "ConvTranspose2d",
    "ReciprocalSquareRoot",
    "Log",
    "Gelu",
    "Tanh",
    "Exp",
    "Sin",
    "Copy",
    "Cos",
)
# Field numbers of (inputs, outputs, flags); what is not listed has one input and one output.
_ONE = ((0,), (1,), 2)
_TWO = ((0, 1), (2,), 3)
_CONVOLUTION = ((15, 16, 17), (18,), 19)
_POOLING = ((8,), (9,), 10)
_FIELDS: dict[str, tuple[tuple[int, ...], tuple[int, ...], int]] = {
    **dict.fromkeys(("Add", "Div", "Minimum", "Multiply", "Subtract", "Maximum", "PReLU", "BatchMatrixMultiply"), _TWO),
    **dict.fromkeys(("Conv2d", "DepthwiseConv2d", "ConvTranspose2d"), _CONVOLUTION),
    **dict.fromkeys(("AvgPooling2d", "MaxPooling2d"), _POOLING),
    "FullyConnected": ((0, 1, 2), (3,), 4),
    "StaticTranspose": ((2,), (3,), 4),
    "StaticResizeBilinear2D": ((2,), (3,), 4),
    "StaticConstantPad": ((3,), (4,), 5),
    "ELU": ((1,), (2,), 3),
    "StaticReshape": ((2,), (3,), 4),
    "StaticSlice": ((3,), (4,), 5),
    "LeakyReLU": ((1,), (2,), 3),
    "ScaledDotProductAttention": ((0, 1, 2, 3, 4), (5,), 6),
    "ArgMaxPooling2d": ((6,), (7, 8), 9),
    "Concatenate2": ((1, 2), (5,), 6),
    "Concatenate3": ((1, 2, 3), (5,), 6),
    "Concatenate4": ((1, 2, 3, 4), (5,), 6),
    "Concatenate5": ((1, 2, 3, 4, 7), (5,), 6),
}


@dataclass(frozen=True, kw_only=True)
class Node:
    """One operation; `inputs` and `outputs` are ids of values."""

    kind: str  # "FullyConnected"
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    flags: int


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How a value's integers are meant. Exactly one of `scales_buffer` and `scales` is filled for constants."""

    kind: str  # "channel", "tensor", "token", "group"
    axis: int = 0
    group_size: int | None = None
    scales_buffer: int = 0  # index into the graph's constants; 0 means none
    num_scales: int = 0
    scales: tuple[float, ...] = ()
    zero_point: int = 0


@dataclass(frozen=True, kw_only=True)
class XnnValue:
    """A tensor inside the delegate."""

    id: int
    datatype: str
    dims: tuple[int, ...]
    constant: int  # index into the graph's constants; 0 means that it is computed or handed in
    flags: int
    quantization: Quantization | None = None


@dataclass(frozen=True, kw_only=True)
class ConstantData:
    """Where constant bytes stand: under a key of the program's named data, or in the payload itself."""

    size: int
    key: str = ""
    content: memoryview = field(default=memoryview(b""), compare=False)


@dataclass(frozen=True, kw_only=True)
class XnnGraph:
    """One parsed payload."""

    nodes: tuple[Node, ...]  # in the order in which they run
    values: dict[int, XnnValue]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    constants: tuple[ConstantData, ...]  # the first is reserved
    table_bytes: int

    def value(self, index: int) -> XnnValue:
        """The value of that id.

        Raises:
            ValueError: there is none.
        """
        if index not in self.values:
            raise ValueError(f"an XNNPACK delegate names value {index}, which it does not define")
        return self.values[index]

    def constant(self, index: int, named: Callable[[str], memoryview]) -> memoryview:
        """The bytes of a constant.

        Args:
            named: looks up the program's named data.

        Raises:
            ValueError: the index is not one of this graph's, or the data has another size than the graph says.
        """
        if not 0 < index < len(self.constants):
            raise ValueError(f"an XNNPACK delegate names constant {index}; it has 1 to {len(self.constants) - 1}")
        constant = self.constants[index]
        content = named(constant.key) if constant.key else constant.content
        if len(content) != constant.size:
            raise ValueError(f"data {constant.key!r} has {len(content)} bytes; the delegate expects {constant.size}")
        return content


def read_payload(payload: memoryview) -> XnnGraph:
    """Parses the payload of an `XnnpackBackend` delegate.

    Raises:
        ValueError: it is none, or damaged.
    """
    try:
        return _read(payload)
    except READ_ERRORS as error:
        raise ValueError(f"an XNNPACK delegate is damaged ({error}); make or copy the program again") from None


def _read(payload: memoryview) -> XnnGraph:
    if payload[4:8] != _MAGIC or len(payload) < _HEADER_BYTES:
        raise ValueError(f"an XNNPACK delegate begins with {bytes(payload[4:8])!r}; only {_MAGIC!r} is known")
    start, size, data_start = (int.from_bytes(payload[at : at + 4], "little") for at in (10, 14, 18))
    data_size = int.from_bytes(payload[22:30], "little")
    if start + size > len(payload) or data_start + data_size > len(payload):
        raise IndexError(f"its header leads outside of {len(payload)} bytes")
    tables, data = payload[start : start + size], payload[data_start : data_start + data_size]
    if tables[4:6] != _IDENTIFIER:
        raise ValueError(f"an XNNPACK graph begins with {bytes(tables[4:8])!r}; only {_IDENTIFIER!r} is known")
    root = read_root(tables)
    values = [_read_value(t) for t in root.tables(2)]
    return XnnGraph(
        nodes=tuple(_read_node(t) for t in root.tables(1)),
        values={value.id: value for value in values},
        inputs=root.numbers(4, "u32"),
        outputs=root.numbers(5, "u32"),
        table_bytes=size,
        constants=tuple(_read_constant(t, data) for t in root.tables(8)),
    )


def _read_node(xnode: Table) -> Node:
    number, table = xnode.integer(0, "u8"), xnode.table(1)
    if table is None or not 0 < number < len(_KINDS):
        raise IndexError(f"it holds a node of the unknown kind {number}")
    kind = _KINDS[number]
    inputs, outputs, flags = _FIELDS.get(kind, _ONE)
    ids = tuple(table.integer(i, "u32") for i in inputs)
    return Node(
        kind=kind,
        inputs=tuple(i for i in ids if i != NO_VALUE),
        outputs=tuple(table.integer(i, "u32") for i in outputs),
        flags=table.integer(flags, "u32"),
    )


def _read_value(xvalue: Table) -> XnnValue:
    kind, table = xvalue.integer(0, "u8"), xvalue.table(1)
    quantization = None
    if kind == 2 and table is not None:
        quantization, table = _read_quantization(table), table.table(0)
    if table is None or kind not in (1, 2):
        raise IndexError(f"it holds a value of the unknown kind {kind}")
    datatype = table.integer(0, "i16")
    if not 0 <= datatype < len(DATATYPES):
        raise IndexError(f"it holds a value of the unknown type {datatype}")
    return XnnValue(
        id=table.integer(6, "u32"),
        datatype=DATATYPES[datatype],
        dims=table.numbers(2, "u32"),
        constant=table.integer(3, "u32"),
        flags=table.integer(5, "u32"),
        quantization=quantization,
    )


def _read_quantization(value: Table) -> Quantization:
    kind, table = value.integer(1, "u8"), value.table(2)
    if table is None:
        raise IndexError("it holds a quantized value without parameters")
    if kind == 1:
        return Quantization(
            kind="channel",
            axis=table.integer(1, "i32"),
            scales=table.numbers(0, "f32"),
            scales_buffer=table.integer(2, "u32"),
            num_scales=table.integer(3, "u32"),
        )
    if kind == 2:
        return Quantization(kind="tensor", scales=(table.real(0, "f32"),), zero_point=table.integer(1, "i32"))
    if kind == 3:
        return Quantization(kind="token")
    if kind == 4:
        return Quantization(
            kind="group",
            axis=table.integer(1, "i32"),
            scales=table.numbers(0, "f32"),
            group_size=table.integer(2, "i32"),
            scales_buffer=table.integer(4, "u32"),
            num_scales=table.integer(5, "u32"),
        )
    raise IndexError(f"it holds quantization of the unknown kind {kind}")


def _read_constant(table: Table, data: memoryview) -> ConstantData:
    offset, size, key = table.integer(0, "u64"), table.integer(1, "u64"), table.text(2)
    if key or offset == _NO_OFFSET:
        return ConstantData(size=size, key=key)
    if offset + size > len(data):
        raise IndexError(f"constant data at {offset} leads outside of {len(data)} bytes")
    return ConstantData(size=size, content=data[offset : offset + size])
