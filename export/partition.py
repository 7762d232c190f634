"""Which operators form a delegate, and cutting them out: executorch 1.5.1's own outcome, in less than its time squared.

Stock grouping keeps a Python set of all nodes downstream and upstream of every node (2 GB for 30 layers); here a bit in
one integer stands for a node. Stock cutting copies and recompiles the whole graph for every delegate; here the nodes
change places, and code is compiled when somebody calls it. tests/export/test_lowering.py compares the files.
"""

import collections
import copy
import logging
import operator
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.xnnpack_preprocess import XnnpackBackend
from executorch.exir import lowered_backend_module
from executorch.exir.backend.canonical_partitioners.group_partitioner import GroupBasedPartitioner
from executorch.exir.backend.compile_spec_schema import CompileSpec
from executorch.exir.backend.partitioner import DelegationSpec, PartitionResult
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.fx.passes.infra.partitioner import Partition
from torch.fx.passes.utils.fuser_utils import validate_partition

_log = logging.getLogger("pocketlm")

_SILENCE = 5.0  # seconds between two lines of progress

# What torch.fx.passes.tools_common.legalize_graph puts before all else that is ready.
_FIRST = {
    *(operator.add, operator.mul, operator.sub, operator.floordiv, operator.truediv, operator.mod),
    *(operator.le, operator.lt, operator.ge, operator.gt, operator.eq, operator.ne),
    torch.ops.aten.sym_constrain_range.default,
    torch.ops.aten.sym_constrain_range_for_size.default,
    torch.ops.aten._assert_async.msg,
    torch.ops.aten.scalar_tensor.default,
    torch.ops.aten._assert_scalar.default,
}


class Partitioner(XnnpackPartitioner):
    """XNNPACK's partitioner, whose delegates run one preparing pass (addmm to linear) in place of seventeen.

    The other sixteen (batch norm, upsampling, PReLU, channels-last, ...) change nothing in our delegates but take a
    third of the lowering, since each runs once a delegate. tests/export/test_lowering.py compares the outcome with
    theirs. The key is executorch's own: backends/xnnpack/xnnpack_preprocess.py, `preprocess`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.delegation_spec: DelegationSpec = DelegationSpec(
            XnnpackBackend.__name__, [CompileSpec("dqlinear_partitioner", b"")]
        )
        self.num_partitions = 0

    def partition(self, exported_program: ExportedProgram) -> PartitionResult:
        return super(XnnpackPartitioner, self).partition(exported_program)  # its own only warns of `to_backend`

    def generate_partitions(self, ep: ExportedProgram) -> list[Partition]:
        made = _Grouping(ep.graph_module, self.get_matched_nodes_from_configs(ep)).propose_partitions()
        self.num_partitions = len(made)
        return made


class _Grouping(GroupBasedPartitioner):
    """The stock algorithm; what it asks of sets of nodes is answered by bits."""

    def __init__(self, module: GraphModule, groups: list[list[Node]]) -> None:
        # Not super().__init__: it would build the sets.
        self.graph_module, self.allows_single_node_partition = module, True
        self.node_groups = [set(group) for group in groups]
        self.node_to_group = {node: index for index, group in enumerate(groups) for node in group}
        self.all_nodes_in_groups = set(self.node_to_group)
        self._bit = {node: 1 << index for index, node in enumerate(module.graph.nodes)}
        self._downstream: dict[Node, int] = {}
        for node in reversed(module.graph.nodes):
            found = 0
            for user in node.users:
                found |= self._bit[user] | self._downstream[user]
            self._downstream[node] = found

    def _is_node_supported(self, node: Node) -> bool:
        return node in self.all_nodes_in_groups

    def _can_merge_partitions(self, p1: int, p2: int, partitions_by_id: dict[int, Partition]) -> bool:
        """Whether no path leaves the two partitions and comes back."""
        nodes = [*partitions_by_id[p1].nodes, *partitions_by_id[p2].nodes]
        inside = users = 0
        for node in nodes:
            inside |= self._bit[node]
        for node in nodes:
            for user in node.users:
                if not self._bit[user] & inside:
                    users |= self._downstream[user]
        return not users & inside and validate_partition(nodes)


@contextmanager
def quick_cutting() -> Iterator[None]:
    """While it lasts, graphs are sorted in place, compiled when called, have short names in (unread) debug logs, and
    the copies that XNNPACK works on share their weights, which it does not change."""
    compile_now = GraphModule.recompile

    def call_compiled(self: GraphModule, *args: Any, **kwargs: Any) -> Any:
        compile_now(self)
        return self(*args, **kwargs)

    def compile_later(self: GraphModule) -> None:
        if "_wrapped_call" not in vars(type(self)):
            compile_now(self)
        type(self).forward = call_compiled

    with (
        _replaced(GraphModule, "recompile", compile_later),
        _replaced(GraphModule, "__str__", GraphModule._get_name),
        _replaced(lowered_backend_module, "legalize_graph", _sort_in_place),
        _replaced(XnnpackBackend, "copy_exported_program_for_preprocess", classmethod(_copy_without_weights)),
    ):
        yield


@contextmanager
def told(partitioner: Partitioner) -> Iterator[None]:
    """While it lasts, a line now and then says how many delegates XNNPACK has been given."""
    preprocess: Callable[..., Any] = XnnpackBackend.preprocess
    count, last = 0, time.monotonic()

    def counted(*given: Any) -> Any:
        nonlocal count, last
        made = preprocess(*given)
        count += 1
        if time.monotonic() - last >= _SILENCE or count == partitioner.num_partitions:
            last = time.monotonic()
            _log.info("XNNPACK has %d of %d delegates", count, partitioner.num_partitions)
        return made

    with _replaced(XnnpackBackend, "preprocess", staticmethod(counted)):
        yield


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    is_inherited = name not in vars(owner)
    kept = None if is_inherited else vars(owner)[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        if is_inherited:
            delattr(owner, name)
        else:
            setattr(owner, name, kept)


def _copy_without_weights(_: type, program: ExportedProgram, __: list[CompileSpec]) -> ExportedProgram:
    weights = [*program.state_dict.values(), *program.constants.values()]
    return copy.deepcopy(program, {id(weight): weight for weight in weights})


def _sort_in_place(module: GraphModule) -> GraphModule:
    """The order of nodes, and of each node's users, that `legalize_graph` gives to its copy."""
    graph = module.graph
    missing = {node: len(node.all_input_nodes) for node in graph.nodes}
    ready = collections.deque(node for node in graph.nodes if not missing[node])
    users: dict[Node, dict[Node, None]] = {node: {} for node in graph.nodes}
    while ready:
        node = ready.popleft()
        graph._root.prepend(node)
        for source in node.all_input_nodes:
            users[source][node] = None
        for user in node.users:
            missing[user] -= 1
            if not missing[user]:
                ready.appendleft(user) if user.op == "call_function" and user.target in _FIRST else ready.append(user)
    if any(missing.values()):
        raise RuntimeError("the graph has a cycle; report this as a bug")
    for node, ordered in users.items():
        node.users = ordered
    module.recompile()
    return module
