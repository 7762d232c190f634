"""Finds the floats that a program keeps beside its matrices: norm weights, the norms' epsilons, position frequencies.

A `.pte` has no names: what a constant is follows from what it is used for, and which one from the order of the
instructions. Reads bytes only; needs neither torch nor executorch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from export.file_weights import XNNPACK, constant_tensors
from export.pte import Pte
from export.pte_values import DelegateCall, KernelCall, Method, TensorValue
from export.xnn_payload import XnnGraph, read_payload

# aten's names for what XNNPACK calls Multiply, Add and ReciprocalSquareRoot
_KINDS = {"aten::mul": "Multiply", "aten::add": "Add", "aten::rsqrt": "ReciprocalSquareRoot"}
_XNN_FLOAT = "fp32"

Key = tuple[int | None, int]  # a value: the delegate's (None: the method's own) and its number there


@dataclass(frozen=True, kw_only=True)
class FloatConstant:
    """One float32 or float64 constant."""

    place: str
    dtype: str
    sizes: tuple[int, ...]
    content: memoryview = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class FloatConstants:
    """A program's floats, each in the order in which the program uses them."""

    norms: tuple[FloatConstant, ...]  # float32 [dim]
    epsilons: tuple[FloatConstant, ...]  # float32 scalars
    frequencies: tuple[FloatConstant, ...]  # float64 [head_dim / 2]


@dataclass(frozen=True, kw_only=True)
class _Use:
    """One multiplication, addition or reciprocal square root."""

    kind: str
    inputs: tuple[Key, ...]
    constants: tuple[FloatConstant, ...]  # those of its inputs that are
    output: Key


def read_floats(pte: Pte, *, dim: int, head_dim: int, method: str = "forward") -> FloatConstants:
    """Norm weights are the float32 vectors of the model's width that something is multiplied by; an epsilon is what is
    added before a reciprocal square root.

    Raises:
        ValueError: the program is damaged.
    """
    program = pte.method(method)
    uses = list(_uses(pte, program))
    roots = {use.inputs[0] for use in uses if use.kind == "ReciprocalSquareRoot"}
    products = [c for use in uses if use.kind == "Multiply" for c in use.constants]
    sums = [c for use in uses if use.kind == "Add" and use.output in roots for c in use.constants]
    return FloatConstants(
        norms=tuple(c for c in products if c.dtype == "float32" and _is_vector(c.sizes, dim)),
        epsilons=tuple(c for c in sums if c.dtype == "float32" and _is_vector(c.sizes, 1)),
        frequencies=tuple(
            _constant(pte, tensor, "the method's constants")
            for tensor in constant_tensors(program)
            if tensor.dtype == "float64" and _is_vector(tensor.sizes, head_dim // 2)
        ),
    )


def _is_vector(sizes: Sequence[int], length: int) -> bool:
    """Whether these are the sizes of a vector, with any number of leading ones; a scalar is a vector of one."""
    *leading, last = sizes or (1,)
    return last == length and all(size == 1 for size in leading)


def _uses(pte: Pte, program: Method) -> Iterator[_Use]:
    seen: set[int] = set()
    for at, call in enumerate(program.instructions):
        if isinstance(call, KernelCall):
            kind = _KINDS.get(call.operator.partition(".")[0])
            if kind is not None:
                tensors = {i: v for i in call.args[:-1] if isinstance(v := program.value(i), TensorValue)}
                yield _Use(
                    kind=kind,
                    inputs=tuple((None, i) for i in tensors),
                    output=(None, call.args[-1]),
                    constants=tuple(
                        _constant(pte, v, f"instruction {at}") for v in tensors.values() if v.constant is not None
                    ),
                )
        elif isinstance(call, DelegateCall) and call.delegate not in seen:
            seen.add(call.delegate)
            if program.delegate(call.delegate).backend == XNNPACK:
                yield from _delegate_uses(pte, program, call)


def _delegate_uses(pte: Pte, program: Method, call: DelegateCall) -> Iterator[_Use]:
    graph = read_payload(program.delegate(call.delegate).payload)
    outside = dict(zip((*graph.inputs, *graph.outputs), call.args, strict=False))  # the backend's order of arguments
    for at, node in enumerate(graph.nodes):
        if node.kind not in _KINDS.values():
            continue
        where = f"delegate {call.delegate} node {at}"
        found = [_delegate_constant(pte, program, graph, i, outside.get(i), where) for i in node.inputs]
        yield _Use(
            kind=node.kind,
            inputs=tuple((call.delegate, i) for i in node.inputs),
            output=(call.delegate, node.outputs[0]),
            constants=tuple(c for c in found if c is not None),
        )


def _delegate_constant(
    pte: Pte, program: Method, graph: XnnGraph, inside: int, argument: int | None, where: str
) -> FloatConstant | None:
    """The constant behind a delegate's value: of its own, or one that the method hands in."""
    value = graph.value(inside)
    if value.constant and value.datatype == _XNN_FLOAT:
        content = graph.constant(value.constant, pte.named)
        return FloatConstant(place=where, dtype="float32", sizes=value.dims, content=content)
    given = None if argument is None else program.value(argument)
    if isinstance(given, TensorValue) and given.constant is not None:
        return _constant(pte, given, where)
    return None


def _constant(pte: Pte, tensor: TensorValue, where: str) -> FloatConstant:
    return FloatConstant(place=where, dtype=tensor.dtype, sizes=tensor.sizes, content=pte.constant(tensor))
