"""What the export checks in the file that it has just written. Every problem is a sentence that names its cause.

The program is read back from the file; nothing here trusts what the lowering believed.
"""

from collections.abc import Iterator

from export.pte_values import DelegateCall, Instruction, Jump, KernelCall, ListValue, Method, Move, TensorValue

MATRIX_PRODUCTS = frozenset(
    f"aten::{name}"
    for name in ("mm", "bmm", "addmm", "baddbmm", "linear", "matmul", "convolution", "_weight_int4pack_mm")
)
_VIEWS = frozenset({"executorch_prim::et_view"})


def undelegated_products(method: Method) -> list[str]:
    """Matrix products that run as portable kernels: slow, and in float."""
    found: dict[str, list[str]] = {}
    for call in method.instructions:
        if isinstance(call, KernelCall) and _base(call.operator) in MATRIX_PRODUCTS:
            shapes = [str(list(t.sizes)) for t in _tensors(method, call.args)[:2]]
            found.setdefault(call.operator, []).append(" x ".join(shapes))
    return [
        f"{len(shapes)} matrix products run outside of the delegate, as {operator} (the first is {shapes[0]})"
        for operator, shapes in found.items()
    ]


def cache_copies(method: Method) -> list[str]:
    """Values as large as a whole cache that are not the cache: a copy of it at every step, in whatever order of axes.

    A cache that is no longer than a chunk is left out: a chunk's own keys have its shape.
    """
    chunk = method.tensor(method.inputs[0]).sizes[-1]
    own = {method.tensor(i).planned for i in method.mutable_buffers}
    caches = {_axes(method.tensor(i)) for i in method.mutable_buffers if method.tensor(i).sizes[1:2] > (chunk,)}
    problems: dict[str, None] = {}
    for call in method.instructions:
        if not isinstance(call, KernelCall | DelegateCall):
            continue
        for tensor in _tensors(method, call.args):
            if _axes(tensor) in caches and tensor.constant is None and tensor.planned not in own:
                problems[f"{_name(call)} handles a copy of a whole cache {list(tensor.sizes)} at every step"] = None
    return list(problems)


def stale_branch_results(method: Method) -> list[str]:
    """Results of a branch that are read after a later branch may have overwritten them.

    ExecuTorch 1.5.1 plans all branches into one piece of memory (exir/memory_planning.py, `_apply_algo_to_submodules`),
    so what `torch.cond` returns is whole only until the next one runs.
    """
    problems: list[str] = []
    epoch = 0
    made_in: dict[int, int] = {}  # value that aliases a branch's result -> the cond that made it
    for at, call in enumerate(method.instructions):
        if any(made_in.get(index, epoch) < epoch for index in _read_by(method, call)):
            problems.append(f"instruction {at} ({_name(call)}) reads a branch's result that a later branch overwrites")
        if isinstance(call, Jump):
            epoch += method.values[call.condition] is not False  # the jump over the other branch is constant
        elif isinstance(call, Move):
            made_in[call.target] = epoch
        elif isinstance(call, KernelCall) and _base(call.operator) in _VIEWS and call.args[0] in made_in:
            made_in[call.args[-1]] = made_in[call.args[0]]
    if any(made_in.get(index, epoch) < epoch for index in method.outputs):
        problems.append("the method returns a branch's result that a later branch overwrites")
    return problems


def _read_by(method: Method, call: Instruction) -> Iterator[int]:
    """Indices of the values that an instruction touches, those inside of lists too."""
    if isinstance(call, Jump):
        yield call.condition
    elif isinstance(call, Move):
        yield call.source
    elif isinstance(call, KernelCall | DelegateCall):
        for index in call.args:
            value = method.values[index]
            yield from value.items if isinstance(value, ListValue) and value.kind == "tensor" else (index,)


def cache_bytes_differ(method: Method, expected: int) -> list[str]:
    """Whether the program's own mutable buffers are the caches that the manifest promises."""
    planned = method.planned_mutable_bytes
    if planned == expected:
        return []
    return [f"the program keeps {planned} bytes between calls, its caches are {expected}"]


def _axes(tensor: TensorValue) -> tuple[int, ...]:
    return tuple(sorted(tensor.sizes))


def _name(call: Instruction) -> str:
    if isinstance(call, KernelCall):
        return call.operator
    return f"delegate {call.delegate}" if isinstance(call, DelegateCall) else type(call).__name__.lower()


def _base(operator: str) -> str:
    return operator.split(".")[0]


def _tensors(method: Method, args: tuple[int, ...]) -> list[TensorValue]:
    return list(_each_tensor(method, args))


def _each_tensor(method: Method, args: tuple[int, ...]) -> Iterator[TensorValue]:
    for index in args:
        value = method.values[index]
        if isinstance(value, TensorValue):
            yield value
        elif isinstance(value, ListValue) and value.kind == "tensor":
            yield from (method.tensor(i) for i in value.items)
