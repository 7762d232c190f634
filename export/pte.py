"""Reads a `.pte` without loading it: methods, instructions, delegates, constants and where every byte stands.

The file is mapped, not read; constants are views of the map. Needs neither torch nor executorch: the tables are read
by field number, after executorch/exir/_serialize/program.fbs (1.5.1; FlatBuffers only ever append fields).
"""

import mmap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from export.flatbuffer import READ_ERRORS, Table, read_root
from export.pte_values import (
    SCALAR_TYPES,
    Delegate,
    DelegateCall,
    Free,
    Instruction,
    Jump,
    KernelCall,
    ListValue,
    Method,
    Move,
    TensorValue,
    Value,
)

IDENTIFIER = b"ET12"
HEADER_AT = 8  # after the root's offset and the identifier
HEADER_MAGIC = b"eh00"
_HEADER_BYTES = 32  # magic, length, program bytes, segment base, segment bytes
_SCHEMA_VERSION = 0
_LISTS = {7: "int", 9: "bool", 10: "tensor", 11: "optional tensor"}


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of the file behind the program's tables."""

    offset: int  # from the file's first byte
    size: int


@dataclass(frozen=True, kw_only=True)
class Pte:
    """A parsed `.pte`; `data` maps the file for as long as this lives."""

    path: Path
    data: memoryview
    program_bytes: int  # tables and header, from the file's first byte
    segment_base: int  # where segment offsets count from; 0 without segments
    segments: tuple[Segment, ...]
    constant_segment: int | None
    constant_offsets: tuple[int, ...]
    mutable_segments: tuple[int, ...]  # first contents of mutable buffers
    named_data: dict[str, int]  # key to segment index
    methods: dict[str, Method]

    def method(self, name: str = "forward") -> Method:
        """The method of that name.

        Raises:
            ValueError: the program has none.
        """
        if name not in self.methods:
            raise ValueError(f"{self.path} has no method {name!r}; it has {', '.join(self.methods)}")
        return self.methods[name]

    @property
    def constant_methods(self) -> dict[str, Value | tuple[Value, ...]]:
        """What the methods without instructions return: metadata such as get_max_seq_len; several values as a tuple."""
        found: dict[str, Value | tuple[Value, ...]] = {}
        for name, method in self.methods.items():
            if not method.instructions and method.outputs:
                values = tuple(method.value(index) for index in method.outputs)
                found[name] = values if len(values) > 1 else values[0]
        return found

    def segment(self, index: int) -> memoryview:
        """A segment's bytes, in place."""
        segment = self.segments[index]
        return self.data[segment.offset : segment.offset + segment.size]

    def named(self, key: str) -> memoryview:
        """The bytes of a named blob.

        Raises:
            ValueError: there is none of that name.
        """
        if key not in self.named_data:
            raise ValueError(f"{self.path} has no data named {key!r}; make it again with `pocketlm export`")
        return self.segment(self.named_data[key])

    def constant_place(self, tensor: TensorValue) -> int:
        """Where a constant tensor's bytes begin in the file.

        Raises:
            ValueError: the tensor is no constant of this file, or leads outside of the constant segment.
        """
        if tensor.constant is None or self.constant_segment is None or tensor.constant >= len(self.constant_offsets):
            raise ValueError(f"{self.path}: a tensor {tensor.dtype} {list(tensor.sizes)} is no constant of the file")
        segment, offset = self.segments[self.constant_segment], self.constant_offsets[tensor.constant]
        if offset + tensor.bytes > segment.size:
            raise ValueError(f"{self.path}: the constant at {offset} leads outside of its {segment.size} bytes")
        return segment.offset + offset

    def constant(self, tensor: TensorValue) -> memoryview:
        """A constant tensor's bytes, in place; errors as `constant_place`."""
        place = self.constant_place(tensor)
        return self.data[place : place + tensor.bytes]


def read_pte(path: Path) -> Pte:
    """Maps and parses a program file.

    Raises:
        ValueError: it is missing, no `.pte`, of another version, cut off or damaged.
    """
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise ValueError(f"{path} is empty; make it again with `pocketlm export`")
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError:
        raise ValueError(f"{path} is missing") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder; give a .pte file") from None
    _check_identifier(path, data)
    try:
        return _read(path, data)
    except READ_ERRORS as error:
        raise ValueError(f"{path} is damaged ({error}); make or copy it again") from None


def _check_identifier(path: Path, data: memoryview) -> None:
    found = bytes(data[4:8])
    if found[:2] != IDENTIFIER[:2] or not found[2:].isdigit():
        raise ValueError(f"{path} is not an ExecuTorch program (.pte): it has no ET mark at byte 4")
    if found != IDENTIFIER:
        raise ValueError(f"{path} is a program of version {found.decode()}; this reads {IDENTIFIER.decode()}")


def _read(path: Path, data: memoryview) -> Pte:
    program_bytes, base = len(data), 0
    if data[HEADER_AT : HEADER_AT + 4] == HEADER_MAGIC:
        header = bytes(data[HEADER_AT : HEADER_AT + _HEADER_BYTES])
        if len(header) < _HEADER_BYTES:
            raise ValueError(f"{path} ends inside its header; copy it again")
        program_bytes, base, size = (int.from_bytes(header[at : at + 8], "little") for at in (8, 16, 24))
        if base + size > len(data) or program_bytes > len(data):
            raise ValueError(f"{path} has {len(data)} bytes, but its header promises {base + size}; copy it again")
    tables = data[:program_bytes]
    root = read_root(tables)
    version = root.integer(0, "u32")
    if version != _SCHEMA_VERSION:
        raise ValueError(f"{path} was written with program schema {version}; this reads {_SCHEMA_VERSION}")
    segments = tuple(Segment(offset=base + t.integer(0, "u64"), size=t.integer(1, "u64")) for t in root.tables(4))
    for index, segment in enumerate(segments):
        if segment.offset + segment.size > len(data):
            end = segment.offset + segment.size
            raise ValueError(f"{path} is cut off: segment {index} ends at byte {end}, the file at {len(data)}")
    constant = root.table(5)
    inline = [t.content(0) for t in root.tables(3)]
    contents = [data[s.offset : s.offset + s.size] for s in segments]
    return Pte(
        path=path,
        data=data,
        program_bytes=program_bytes,
        segment_base=base,
        segments=segments,
        constant_segment=None if constant is None else _index(constant.integer(0, "u32"), segments, "segment"),
        constant_offsets=() if constant is None else constant.numbers(1, "u64"),
        mutable_segments=tuple(_index(t.integer(0, "u32"), segments, "segment") for t in root.tables(6)),
        named_data={t.text(0): _index(t.integer(1, "u32"), segments, "segment") for t in root.tables(7)},
        methods={plan.text(0): _read_method(plan, inline, contents) for plan in root.tables(1)},
    )


def _index(index: int, items: Iterable[object], what: str) -> int:
    count = len(tuple(items))
    if not 0 <= index < count:
        raise IndexError(f"it names {what} {index} of {count}")
    return index


def _read_method(plan: Table, inline: list[memoryview], contents: list[memoryview]) -> Method:
    operators = tuple(".".join(filter(None, (t.text(0), t.text(1)))) for t in plan.tables(6))
    values = tuple(_read_value(t) for t in plan.tables(2))
    inputs, outputs = plan.numbers(3, "i32"), plan.numbers(4, "i32")
    for index in (*inputs, *outputs):
        _index(index, values, "value")
    return Method(
        name=plan.text(0),
        values=values,
        inputs=inputs,
        outputs=outputs,
        operators=operators,
        instructions=tuple(_read_instruction(t, operators) for chain in plan.tables(5) for t in chain.tables(2)),
        delegates=tuple(_read_delegate(t, inline, contents) for t in plan.tables(7)),
        buffer_sizes=plan.numbers(8, "i64"),
    )


def _read_value(evalue: Table) -> Value:
    kind, table = evalue.integer(0, "u8"), evalue.table(1)
    if table is None or kind <= 1:
        return None
    if kind == 2:
        return table.integer(0, "i64")
    if kind == 3:
        return bool(table.integer(0, "bool"))
    if kind == 4:
        return table.real(0, "f64")
    if kind == 5:
        return _read_tensor(table)
    if kind == 6:
        return table.text(0)
    if kind == 8:
        return ListValue("float", ())  # no operator that pocketlm emits takes one
    if kind not in _LISTS:
        raise IndexError(f"it holds a value of the unknown kind {kind}")
    width = {7: "i64", 9: "bool"}.get(kind, "i32")
    return ListValue(_LISTS[kind], table.numbers(0, width))  # type: ignore[arg-type]  # one of the Kinds


def _read_tensor(table: Table) -> TensorValue:
    scalar = table.integer(0, "i8")
    if scalar not in SCALAR_TYPES:
        raise IndexError(f"it holds a tensor of the unknown type {scalar}")
    place, extra, buffer = table.table(6), table.table(9), table.integer(5, "u32")
    planned = None
    if place is not None:
        planned = (place.integer(0, "u32"), place.integer(1, "u32") + (place.integer(2, "u32") << 32))
    return TensorValue(
        dtype=SCALAR_TYPES[scalar][0],
        sizes=table.numbers(2, "i32"),
        planned=planned,
        constant=buffer if buffer and planned is None else None,
        initial=buffer if buffer and planned is not None else None,
        name="" if extra is None else extra.text(1),
    )


def _read_instruction(instruction: Table, operators: tuple[str, ...]) -> Instruction:
    kind, table = instruction.integer(0, "u8"), instruction.table(1)
    if table is None:
        raise IndexError("it holds an instruction without content")
    first = table.integer(0, "i32")
    if kind == 1:
        return KernelCall(operators[_index(first, operators, "operator")], table.numbers(1, "i32"))
    if kind == 2:
        return DelegateCall(first, table.numbers(1, "i32"))
    if kind == 3:
        return Move(first, table.integer(1, "i32"))
    if kind == 4:
        return Jump(first, table.integer(1, "i32"))
    if kind == 5:
        return Free(first)
    raise IndexError(f"it holds an instruction of the unknown kind {kind}")


def _read_delegate(table: Table, inline: list[memoryview], contents: list[memoryview]) -> Delegate:
    reference = table.table(1)
    if reference is None:
        raise IndexError("it holds a delegate without payload")
    in_segment, index = bool(reference.integer(0, "i8")), reference.integer(1, "u32")
    payloads = contents if in_segment else inline
    return Delegate(
        backend=table.text(0),
        segment=index if in_segment else None,
        payload=payloads[_index(index, payloads, "payload")],
    )
