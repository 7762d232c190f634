"""What is left of a program's constants when those that were compared are taken away: nothing may hide in a file."""

from collections import Counter
from collections.abc import Iterable, Iterator

from export.byte_map import address
from export.file_weights import constant_tensors
from export.pte import Pte
from export.pte_values import DelegateCall, KernelCall, ListValue, Method, TensorValue

_BLOB = "blob"  # a delegate's own data, whose type only the delegate's graph knows


def list_leftover(pte: Pte, compared: Iterable[memoryview], method: str = "forward") -> Iterator[str]:
    """One line for the constants that instructions or delegates read, one for those that nothing reads.

    Args:
        compared: views of the file's bytes that are accounted for.
    """
    program, base = pte.method(method), address(pte.data)
    places = {address(view) - base for view in compared if len(view)}
    read = {pte.constant_place(tensor) for tensor in _read_constants(program)}
    found = {pte.constant_place(t): (t.dtype, t.bytes) for t in constant_tensors(program) if t.bytes}
    blobs = [pte.segments[index] for index in set(pte.named_data.values())]
    found |= {blob.offset: (_BLOB, blob.size) for blob in blobs if blob.size}
    used: list[tuple[str, int]] = []
    unused: list[tuple[str, int]] = []
    for place, kind in found.items():
        if place not in places:
            (used if place in read or kind[0] == _BLOB else unused).append(kind)
    for kinds, what in ((used, "of no checkpoint"), (unused, "that nothing reads")):
        if kinds:
            counts = ", ".join(f"{count} x {dtype}" for dtype, count in Counter(dtype for dtype, _ in kinds).items())
            noun = "constant" if len(kinds) == 1 else "constants"
            yield f"{len(kinds)} {noun} {what}: {counts}, {sum(size for _, size in kinds):,} bytes"


def _read_constants(program: Method) -> Iterator[TensorValue]:
    """The constants that an instruction is handed, by itself or in a list."""
    calls = [call for call in program.instructions if isinstance(call, KernelCall | DelegateCall)]
    for index in {index for call in calls for index in call.args}:
        value = program.value(index)
        items = [value]
        if isinstance(value, ListValue) and "tensor" in value.kind:
            items = [program.value(item) for item in value.items if item >= 0]
        yield from (item for item in items if isinstance(item, TensorValue) and item.constant is not None)
