"""Which operators may run outside of a delegate, and why. Everything else there is a problem.

A frozen table: an operator that the table lacks, or arithmetic on activations, was meant for the delegate.
"""

from collections import Counter
from dataclasses import dataclass

from export.checks import MATRIX_PRODUCTS
from export.file_weights import XNNPACK
from export.pte_values import DelegateCall, KernelCall, Method, TensorValue
from export.xnn_payload import read_payload

_POSITIONS = "positions, masks and angles, which need int64, bool or float64"
_SHAPES = "moves numbers without computing; XNNPACK takes it in static shapes only"
_CACHE = "writes the cache in place"
_ATTENTION = "fused attention over the cache; XNNPACK has none with a cache"
_CODES = "INT8 codes per token for attention and cache; XNNPACK's own convert is for its products"
_GATHER = "gathers rows of the input table; XNNPACK has no gather"
_SYMBOLS = "arithmetic on the number of tokens"

MAX_POSITION_DIMS = 2  # positions [T], masks [T, S], angles [T, D/2]; activations are [1, T, C] or [1, T, H, D]


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Why an operator is not delegated, and the most dimensions that its result may have (None: any)."""

    reason: str
    max_dims: int | None = None


_ARITHMETIC = (
    "add",
    "sub",
    "mul",
    "div",
    "remainder",
    "neg",
    "floor",
    "log1p",
    "cos",
    "sin",
    "where",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "logical_and",
    "logical_or",
    "logical_not",
    "bitwise_and",
    "bitwise_or",
    "bitwise_not",
    "minimum",
    "maximum",
)
_MOVES = (
    "arange",
    "full",
    "full_like",
    "scalar_tensor",
    "zeros",
    "ones",
    "select_copy",
    "slice_copy",
    "unsqueeze_copy",
    "squeeze_copy",
    "view_copy",
    "expand_copy",
    "permute_copy",
    "split_with_sizes_copy",
    "split_copy",
    "cat",
    "clone",
    "sym_size",
    "_local_scalar_dense",
    "detach_copy",
)

EXPECTED: dict[str, Expected] = {
    **{f"aten::{name}": Expected(reason=_POSITIONS, max_dims=MAX_POSITION_DIMS) for name in _ARITHMETIC},
    **{f"aten::{name}": Expected(reason=_SHAPES) for name in _MOVES},
    "aten::flip": Expected(reason="puts the columns of an INT4 row in order, so that one table serves twice"),
    "aten::mean": Expected(reason="RMS norm; XNNPACK takes mean in 4-D only"),
    "aten::embedding": Expected(reason=_GATHER),
    "quantized_decomposed::embedding_4bit": Expected(reason=_GATHER),
    "quantized_decomposed::embedding_byte": Expected(reason=_GATHER),
    "quantized_decomposed::choose_qparams_per_token_asymmetric": Expected(reason=_CODES),
    "quantized_decomposed::quantize_per_token": Expected(reason=_CODES),
    "dim_order_ops::_to_dim_order_copy": Expected(reason="converts a type; XNNPACK takes float32 and INT8 only"),
    "dim_order_ops::_clone_dim_order": Expected(reason=_SHAPES),
    "llama::update_cache": Expected(reason=_CACHE),
    "llama::update_cache_with_indices": Expected(reason=_CACHE),
    "llama::custom_sdpa": Expected(reason=_ATTENTION),
    "llama::custom_quantized_sdpa": Expected(reason=_ATTENTION),
}
_PRIM = Expected(reason=_SYMBOLS)
_VIEW = Expected(reason=_SHAPES)


@dataclass(frozen=True, kw_only=True)
class OperatorUse:
    """How often one operator stands in a method, and who runs it."""

    operator: str  # "aten::add.out", or the node kind inside a delegate
    backend: str  # "kernel" or the delegate's backend
    count: int
    reason: str | None  # why it is not delegated; None inside a delegate, and where nothing explains it


def list_operators(method: Method) -> tuple[OperatorUse, ...]:
    """Every operator of the instructions and of the XNNPACK delegates, the most frequent first."""
    kernels = Counter(call.operator for call in method.instructions if isinstance(call, KernelCall))
    nodes: Counter[tuple[str, str]] = Counter()
    for index in called_delegates(method):
        delegate = method.delegate(index)
        if delegate.backend == XNNPACK:
            nodes.update((delegate.backend, node.kind) for node in read_payload(delegate.payload).nodes)
        else:
            nodes[delegate.backend, "(not read)"] += 1
    uses = [
        OperatorUse(operator=name, backend="kernel", count=count, reason=found.reason if found else None)
        for name, count in kernels.items()
        for found in [find_expected(name)]
    ]
    uses += [OperatorUse(operator=kind, backend=backend, count=n, reason=None) for (backend, kind), n in nodes.items()]
    return tuple(sorted(uses, key=lambda use: (use.backend == "kernel", -use.count, use.backend, use.operator)))


def called_delegates(method: Method) -> list[int]:
    """Indices of the delegates that instructions call, in that order, each once."""
    return list(dict.fromkeys(call.delegate for call in method.instructions if isinstance(call, DelegateCall)))


def find_expected(operator: str) -> Expected | None:
    """The table's entry for an operator with or without its overload, or None."""
    base = operator.partition(".")[0]
    if base.startswith("executorch_prim::"):
        return _VIEW if "view" in base else _PRIM
    return EXPECTED.get(base)


def unexpected_operators(method: Method) -> list[str]:
    """One line for each operator that runs as a kernel and should not; export.checks tells of matrix products."""
    calls: dict[tuple[str, str], list[TensorValue | None]] = {}
    for call in method.instructions:
        if not isinstance(call, KernelCall) or call.operator.partition(".")[0] in MATRIX_PRODUCTS:
            continue
        expected, result = find_expected(call.operator), _result(method, call)
        if expected is None:
            calls.setdefault((call.operator, "has no reason to run outside of the delegate"), []).append(result)
        elif expected.max_dims is not None and result is not None and len(result.sizes) > expected.max_dims:
            calls.setdefault((call.operator, "computes on activations outside of the delegate"), []).append(result)
    return [
        f"{len(results)} x {operator} {why}" + (f" (the first makes {list(first.sizes)})" if first else "")
        for (operator, why), results in calls.items()
        for first in [results[0]]
    ]


def _result(method: Method, call: KernelCall) -> TensorValue | None:
    value = method.value(call.args[-1]) if call.args else None
    return value if isinstance(value, TensorValue) else None
