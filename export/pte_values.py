"""What an ExecuTorch program is made of, as frozen data: values, instructions, delegates, methods.

Knows no file layout; export/pte.py reads these from a `.pte`.
"""

import math
from dataclasses import dataclass

# executorch/exir/_serialize/scalar_type.fbs: number to (name, bytes an element)
SCALAR_TYPES: dict[int, tuple[str, int]] = {
    0: ("uint8", 1),
    1: ("int8", 1),
    2: ("int16", 2),
    3: ("int32", 4),
    4: ("int64", 8),
    5: ("float16", 2),
    6: ("float32", 4),
    7: ("float64", 8),
    11: ("bool", 1),
    15: ("bfloat16", 2),
    27: ("uint16", 2),
    28: ("uint32", 4),
    29: ("uint64", 8),
}
ITEM_BYTES = dict(SCALAR_TYPES.values())


@dataclass(frozen=True, kw_only=True)
class TensorValue:
    """A tensor of a method: a constant of the file, planned memory, or what the caller hands in."""

    dtype: str
    sizes: tuple[int, ...]  # the largest sizes
    constant: int | None = None  # index into the constant segment's offsets
    initial: int | None = None  # index into the mutable segment's offsets: planned memory with a first content
    planned: tuple[int, int] | None = None  # memory id and byte offset inside that memory
    name: str = ""  # of a mutable buffer, when the export wrote names

    @property
    def bytes(self) -> int:
        return math.prod(self.sizes) * ITEM_BYTES[self.dtype]


@dataclass(frozen=True)
class ListValue:
    """A list; `items` of the kinds int, bool and tensor are indices of values or the numbers themselves."""

    kind: str
    items: tuple[int, ...]


Value = TensorValue | ListValue | int | float | bool | str | None


@dataclass(frozen=True)
class KernelCall:
    """One operator applied to values (inputs first, then the outputs that it writes)."""

    operator: str  # "aten::add.out"
    args: tuple[int, ...]


@dataclass(frozen=True)
class DelegateCall:
    """One delegate run on values (inputs, then outputs)."""

    delegate: int
    args: tuple[int, ...]


@dataclass(frozen=True)
class Jump:
    """Goes on at `destination` when the value `condition` is false."""

    condition: int
    destination: int


@dataclass(frozen=True)
class Move:
    """Makes value `target` what value `source` is."""

    source: int
    target: int


@dataclass(frozen=True)
class Free:
    """Lets go of a value's memory."""

    value: int


Instruction = KernelCall | DelegateCall | Jump | Move | Free


@dataclass(frozen=True, kw_only=True)
class Delegate:
    """A part of a method that a backend runs."""

    backend: str  # "XnnpackBackend"
    segment: int | None  # None: the payload stands inside the program's own tables
    payload: memoryview


@dataclass(frozen=True, kw_only=True)
class Method:
    """One entry point."""

    name: str
    values: tuple[Value, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[str, ...]
    instructions: tuple[Instruction, ...]
    delegates: tuple[Delegate, ...]
    buffer_sizes: tuple[int, ...]  # planned memory by memory id; the first is reserved

    def value(self, index: int) -> Value:
        """The value at `index`.

        Raises:
            ValueError: there is none.
        """
        if not 0 <= index < len(self.values):
            raise ValueError(f"method {self.name} names value {index}; it has {len(self.values)}")
        return self.values[index]

    def delegate(self, index: int) -> Delegate:
        """The delegate at `index`.

        Raises:
            ValueError: there is none.
        """
        if not 0 <= index < len(self.delegates):
            raise ValueError(f"method {self.name} names delegate {index}; it has {len(self.delegates)}")
        return self.delegates[index]

    def tensor(self, index: int) -> TensorValue:
        """The value at `index`, which must be a tensor.

        Raises:
            ValueError: it is none.
        """
        value = self.value(index)
        if not isinstance(value, TensorValue):
            raise ValueError(f"value {index} of method {self.name} is {type(value).__name__}, not a tensor")
        return value

    @property
    def mutable_buffers(self) -> tuple[int, ...]:
        """Indices of the values that keep their content from call to call.

        The emitter writes a graph's placeholders in torch.export's order (parameters and buffers, then what the caller
        hands in) before any other value, so planned memory before the first input is a buffer that the method mutates.
        """
        first = min(self.inputs, default=len(self.values))
        return tuple(
            i
            for i, value in enumerate(self.values)
            if isinstance(value, TensorValue)
            and value.planned is not None
            and value.constant is None
            and (i < first or value.name or value.initial is not None)
        )

    @property
    def planned_mutable_bytes(self) -> int:
        return sum(self.tensor(i).bytes for i in self.mutable_buffers)
