"""What the export checks in the file that it has just written. Every problem is a sentence that names its cause.

The program is read back from the file; nothing here trusts what the lowering believed.
"""

from collections.abc import Iterator

from export.pte_values import DelegateCall, Jump, KernelCall, ListValue, Method, Move, TensorValue

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
    """Values as large as a whole cache that are not the cache: a copy of it at every step."""
    caches = {method.tensor(i).sizes: i for i in method.mutable_buffers}
    own = {(method.tensor(i).planned) for i in method.mutable_buffers}
    problems: dict[str, None] = {}
    for call in method.instructions:
        if not isinstance(call, KernelCall | DelegateCall):
            continue
        for tensor in _tensors(method, call.args):
            if tensor.sizes in caches and tensor.constant is None and tensor.planned not in own:
                name = call.operator if isinstance(call, KernelCall) else f"delegate {call.delegate}"
                problems[f"{name} handles a copy of a whole cache {list(tensor.sizes)} at every step"] = None
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
        if isinstance(call, Jump):
            epoch += method.values[call.condition] is not False  # the jump over the other branch is constant
        elif isinstance(call, Move):
            made_in[call.target] = epoch
        elif isinstance(call, KernelCall | DelegateCall):
            for index in call.args:
                if made_in.get(index, epoch) < epoch:
                    name = call.operator if isinstance(call, KernelCall) else f"delegate {call.delegate}"
                    problems.append(f"instruction {at} ({name}) reads a branch's result that a later branch overwrites")
            if isinstance(call, KernelCall) and _base(call.operator) in _VIEWS and call.args[0] in made_in:
                made_in[call.args[-1]] = made_in[call.args[0]]
    return problems


def cache_bytes_differ(method: Method, expected: int) -> list[str]:
    """Whether the program's own mutable buffers are the caches that the manifest promises."""
    planned = method.planned_mutable_bytes
    return [] if planned == expected else [f"the program keeps {planned} bytes between calls, its caches are {expected}"]


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
