"""Finds every static weight matrix in a `.pte` and reads its codes and scales from the bytes that will run.

XNNPACK's layout (executorch/backends/xnnpack/operators/node_visitor.py, 1.5.1): 4-bit codes as code + 8, the even
column in the low nibble, bf16 scales [N, K / group] or fp32 scales [N]; 8-bit codes as int8 with fp32 scales [N].
Legend: N rows (output channels), K columns (inputs), S scales a row.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from export.pte import Pte
from export.pte_values import DelegateCall, KernelCall, Method, TensorValue
from export.xnn_payload import Node, XnnGraph, XnnValue, read_payload
from quant.packing import unpack_int4
from quant.recipe import SchemeName

XNNPACK = "XnnpackBackend"
FULLY_CONNECTED = "FullyConnected"
EMBEDDINGS = ("quantized_decomposed::embedding_4bit", "quantized_decomposed::embedding_byte", "aten::embedding")
_RESHAPES = ("StaticReshape", "Copy")
_TRANSPOSED = 1  # XNN_FLAG_TRANSPOSE_WEIGHTS (xnnpack.h): the filter is [K, N]
_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
_FLOATS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class FileWeight:
    """One weight matrix of the file; bytes stay in the map until they are asked for."""

    delegate: int | None  # None: the table of an embedding kernel
    node: int  # of the delegate, or the instruction of the kernel
    kind: SchemeName
    shape: tuple[int, int]  # N, K
    group_size: int | None = None
    activations: Literal["int8-dynamic", "float"] = "float"
    even_high: bool = False  # the even column is in the high nibble (an embedding whose rows are used as they come)
    transposed: bool = False
    content: memoryview = field(repr=False)
    content_dtype: torch.dtype = torch.uint8
    scale_content: memoryview = field(repr=False, default=memoryview(b""))
    scale_dtype: torch.dtype = torch.float32

    @property
    def place(self) -> str:
        where = "table of kernel" if self.delegate is None else f"delegate {self.delegate} node"
        return f"{where} {self.node} ([{self.shape[0]}, {self.shape[1]}], {self.kind})"

    @property
    def codes_bytes(self) -> int:
        return len(self.content)

    @property
    def scales_bytes(self) -> int:
        return len(self.scale_content)

    def codes(self, rows: slice = slice(None)) -> torch.Tensor:
        """int8 codes [N, K], or of some rows.

        Raises:
            ValueError: the weight is float.
        """
        if self.kind == "float":
            raise ValueError(f"{self.place} has no codes: it is {self.content_dtype}")
        if self.kind == "int8-channel":
            return _rows(self.content, torch.int8, self.shape, rows)
        packed = _rows(self.content, torch.uint8, (self.shape[0], self.shape[1] // 2), rows)
        pairs = np.take(_pair_table(self.even_high), packed.numpy())  # ten times faster than shifting and stacking
        return torch.from_numpy(pairs.view(np.int8))

    def scales(self, rows: slice = slice(None)) -> torch.Tensor:
        """Scales [N, S] in the file's own type, or of some rows.

        Raises:
            ValueError: the weight is float.
        """
        if self.kind == "float":
            raise ValueError(f"{self.place} has no scales: it is {self.content_dtype}")
        width = len(self.scale_content) // (self.scale_dtype.itemsize * self.shape[0])
        return _rows(self.scale_content, self.scale_dtype, (self.shape[0], width), rows)

    def floats(self, rows: slice = slice(None)) -> torch.Tensor:
        """A float weight [N, K], or some rows of it.

        Raises:
            ValueError: the weight is integers.
        """
        if self.kind != "float":
            raise ValueError(f"{self.place} holds codes, not floats")
        if self.transposed:
            return _rows(self.content, self.content_dtype, (self.shape[1], self.shape[0]), slice(None)).t()[rows]
        return _rows(self.content, self.content_dtype, self.shape, rows)


@functools.cache
def _pair_table(even_high: bool) -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    """The two codes of each possible byte, as the int16 that holds both in memory."""
    every = torch.arange(256, dtype=torch.uint8)
    swapped = (every >> 4) | (every << 4)
    return unpack_int4((swapped if even_high else every)[:, None]).numpy().view(np.int16).reshape(256)


def _rows(content: memoryview, dtype: torch.dtype, shape: tuple[int, int], rows: slice) -> torch.Tensor:
    """Some rows of a matrix, copied out of the map."""
    start, stop, _ = rows.indices(shape[0])
    width = shape[1] * dtype.itemsize
    part = bytearray(content[start * width : stop * width])  # torch.frombuffer wants memory that may be written to
    return torch.frombuffer(part, dtype=dtype).view(stop - start, shape[1]) if part else torch.empty(0, shape[1])


def read_weights(pte: Pte, method: str = "forward") -> Iterator[FileWeight]:
    """Every static weight of a fully-connected node and every embedding table, in the order of the instructions.

    Inside a delegate the nodes come as XNNPACK runs them, which need not be the order of the model's lines.

    Raises:
        ValueError: the program is damaged or uses a layout that this does not know.
    """
    program = pte.method(method)
    seen: set[int] = set()
    for at, call in enumerate(program.instructions):
        if isinstance(call, KernelCall) and call.operator.partition(".")[0] in EMBEDDINGS:
            yield _table(pte, program, at, call)
        elif isinstance(call, DelegateCall) and call.delegate not in seen:
            seen.add(call.delegate)
            delegate = program.delegate(call.delegate)
            if delegate.backend == XNNPACK:
                yield from delegate_weights(pte, call.delegate, read_payload(delegate.payload))


def delegate_weights(pte: Pte, index: int, graph: XnnGraph) -> Iterator[FileWeight]:
    """The static weights of one delegate's fully-connected nodes; errors as `read_weights`."""
    for at, node in enumerate(graph.nodes):
        if node.kind == FULLY_CONNECTED and len(node.inputs) > 1:
            value = graph.value(node.inputs[1])
            if value.constant:
                yield _filter(pte, graph, index, at, node, value)


def _filter(pte: Pte, graph: XnnGraph, delegate: int, at: int, node: Node, value: XnnValue) -> FileWeight:
    where = f"delegate {delegate} node {at}"
    if len(value.dims) != 2:
        raise ValueError(f"{where}: a weight of shape {list(value.dims)}; only matrices are known")
    content = graph.constant(value.constant, pte.named)
    shape, transposed = (value.dims[0], value.dims[1]), bool(node.flags & _TRANSPOSED)
    activations: Literal["int8-dynamic", "float"] = "float"
    if graph.value(node.inputs[0]).datatype == "qdint8":
        activations = "int8-dynamic"
    if value.datatype in _FLOATS:
        weight = FileWeight(
            delegate=delegate,
            node=at,
            kind="float",
            content=content,
            content_dtype=_FLOATS[value.datatype],
            shape=shape[::-1] if transposed else shape,
            transposed=transposed,
            activations=activations,
        )
        return _checked(weight, where)
    kinds: dict[str, SchemeName] = {"qbint4": "int4-group", "qcint4": "int4-channel", "qcint8": "int8-channel"}
    quantization = value.quantization
    if value.datatype not in kinds or quantization is None or not quantization.scales_buffer or transposed:
        raise ValueError(f"{where}: a weight of type {value.datatype}; known: {', '.join((*kinds, *_FLOATS))}")
    group = quantization.group_size
    weight = FileWeight(
        delegate=delegate,
        node=at,
        kind=kinds[value.datatype],
        shape=shape,
        group_size=group,
        content=content,
        scale_content=graph.constant(quantization.scales_buffer, pte.named),
        activations=activations,
        scale_dtype=torch.bfloat16 if group else torch.float32,
    )
    return _checked(weight, where)


def _table(pte: Pte, method: Method, at: int, call: KernelCall) -> FileWeight:
    where, operator = f"instruction {at} ({call.operator})", call.operator.partition(".")[0]
    if len(call.args) < 4:
        raise ValueError(f"{where}: {len(call.args)} arguments; an embedding has at least 4")
    weight = method.tensor(call.args[0])
    if len(weight.sizes) != 2 or weight.constant is None:
        raise ValueError(f"{where}: its table is no constant matrix of the file")
    rows, columns = weight.sizes
    if operator == "aten::embedding":
        if weight.dtype not in _DTYPES:
            raise ValueError(f"{where}: a table of {weight.dtype}; known: {', '.join(_DTYPES)}")
        return _checked(
            FileWeight(
                delegate=None,
                node=at,
                kind="float",
                shape=(rows, columns),
                content=pte.constant(weight),
                content_dtype=_DTYPES[weight.dtype],
            ),
            where,
        )
    scales = method.tensor(call.args[1])
    if scales.dtype not in _DTYPES:
        raise ValueError(f"{where}: scales of {scales.dtype}; known: {', '.join(_DTYPES)}")
    if isinstance(method.value(call.args[2]), TensorValue):
        raise ValueError(f"{where}: the table has zero points; pocketlm's are symmetric")
    four = operator.endswith("4bit")
    columns *= 2 if four else 1
    groups = scales.sizes[1] if len(scales.sizes) == 2 else 1
    if not groups or columns % groups or (not four and groups > 1):
        raise ValueError(f"{where}: scales {list(scales.sizes)} do not fit a table of {columns} columns")
    return _checked(
        FileWeight(
            delegate=None,
            node=at,
            kind="int4-group" if four else "int8-channel",  # one scale a row is a group as wide as the row
            shape=(rows, columns),
            group_size=columns // groups if four else None,
            content=pte.constant(weight),
            scale_content=pte.constant(scales),
            scale_dtype=_DTYPES[scales.dtype],
            even_high=four and not _swapped_later(method, at, call),
        ),
        where,
    )


def _swapped_later(method: Method, at: int, call: KernelCall) -> bool:
    """Whether the program swaps neighbours of the rows that this kernel writes (export/table.py)."""
    same = {call.args[-1]}
    for later in method.instructions[at + 1 :]:
        if isinstance(later, DelegateCall) and same.intersection(later.args):
            same |= _reshaped(method, later, same)
        elif isinstance(later, KernelCall) and same.intersection(later.args[:1]):
            if later.operator.startswith("aten::flip"):
                return True
            if "view" in later.operator:
                same.add(later.args[-1])
    return False


def _reshaped(method: Method, call: DelegateCall, same: set[int]) -> set[int]:
    """The values that a delegate writes and that are some of its inputs in another shape."""
    delegate = method.delegate(call.delegate)
    if delegate.backend != XNNPACK:
        return set()
    graph = read_payload(delegate.payload)
    ids = (*graph.inputs, *graph.outputs)  # the backend's order of arguments
    if len(ids) != len(call.args):
        raise ValueError(f"delegate {call.delegate} has {len(ids)} inputs and outputs, its call {len(call.args)}")
    values = dict(zip(ids, call.args, strict=True))
    reached = {inside for inside in graph.inputs if values[inside] in same}
    for node in graph.nodes:
        if node.kind in _RESHAPES and node.inputs[0] in reached:
            reached.update(node.outputs)
    return {values[inside] for inside in graph.outputs if inside in reached}


def _checked(weight: FileWeight, where: str) -> FileWeight:
    rows, columns = weight.shape
    size = rows * columns * weight.content_dtype.itemsize
    if weight.kind in ("int4-group", "int4-channel"):
        size //= 2
    scales = 0
    if weight.kind != "float":
        scales = rows * (columns // weight.group_size if weight.group_size else 1) * weight.scale_dtype.itemsize
    if (len(weight.content), len(weight.scale_content)) != (size, scales):
        raise ValueError(
            f"{where}: {len(weight.content)} bytes of codes and {len(weight.scale_content)} of scales; a {weight.kind} "
            f"matrix [{rows}, {columns}] has {size} and {scales}"
        )
    return weight


def constant_tensors(method: Method) -> Iterator[TensorValue]:
    """The constants that a method's own kernels and delegates are handed, each value once."""
    for value in method.values:
        if isinstance(value, TensorValue) and value.constant is not None:
            yield value
