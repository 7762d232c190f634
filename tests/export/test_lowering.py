"""What the export leaves out of executorch's lowering changes no byte: stock lowering gives the same file."""

import logging
from pathlib import Path

import pytest
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import EdgeCompileConfig, ExecutorchBackendConfig, to_edge_transform_and_lower
from executorch.exir.backend.canonical_partitioners.group_partitioner import GroupBasedPartitioner
from executorch.exir.passes import MemoryPlanningPass
from executorch.exir.passes.sym_shape_eval_pass import ConstraintBasedSymShapeEvalPass
from torch.fx import Graph, GraphModule
from torch.fx.passes.operator_support import OperatorSupportBase

from chat.window import Context
from export import partition, xnnpack
from export.program import Program
from export.pte import read_pte
from export.runner import PteRunner
from export.xnn_payload import read_payload
from model.checkpoint import read_info
from quant.checkpoint import build_model
from quant.recipe import find_recipe
from tests.packages import CHUNK, CONTEXT, Made


def program_of(made: Made, *, bounded: bool = False) -> Program:
    quantization = read_info(made.checkpoint).quantization
    assert quantization is not None
    model = build_model(made.checkpoint).requires_grad_(False)
    cache = find_recipe(quantization.recipe).cache
    return Program(model, context=CONTEXT, chunk=CHUNK, bounded=bounded, cache_dtype=cache)


def stock(made: Made, path: Path, partitioner: XnnpackPartitioner, *, bounded: bool = False) -> Path:
    """The same program through executorch's documented calls."""
    with torch.no_grad():
        edge = to_edge_transform_and_lower(
            xnnpack.trace(program_of(made, bounded=bounded)),
            partitioner=[partitioner],
            constant_methods={"get_max_seq_len": CHUNK},
            compile_config=EdgeCompileConfig(_check_ir_validity=False),
        )
        lowered = edge.to_executorch(
            ExecutorchBackendConfig(
                extract_delegate_segments=True,
                memory_planning_pass=MemoryPlanningPass(alloc_graph_input=False),
                sym_shape_eval_pass=ConstraintBasedSymShapeEvalPass(),
            )
        )
    xnnpack.write_pte(lowered, path)
    return path


def stock_partitioner() -> XnnpackPartitioner:
    """Executorch's, with our choice of preparing passes and nothing else of ours."""
    made = XnnpackPartitioner()
    made.delegation_spec = partition.Partitioner().delegation_spec
    return made


def ours(made: Made, path: Path, *, bounded: bool = False) -> Path:
    xnnpack.write_pte(xnnpack.lower(program_of(made, bounded=bounded), {"get_max_seq_len": CHUNK}), path)
    return path


def test_fewer_passes_write_the_bytes_that_executorchs_own_write_and_tell_of_progress(
    tiny_int4: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reference = stock(tiny_int4, tmp_path / "stock.pte", stock_partitioner())
    with caplog.at_level(logging.INFO, logger="pocketlm"):
        written = ours(tiny_int4, tmp_path / "ours.pte")
    assert written.read_bytes() == reference.read_bytes()
    lines = [record.getMessage() for record in caplog.records if record.name == "pocketlm"]
    count = len(read_pte(written).method().delegates)
    assert f"XNNPACK has {count} of {count} delegates" in lines
    assert [line.split()[0] for line in lines] == ["tracing", "decomposing", "cutting", "XNNPACK", "planning"]


@pytest.mark.slow
@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("name", ["tiny_float", "other_int4", "tiny_mixed", "other_mixed"])
def test_so_they_do_for_every_recipe_and_convention(
    name: str, bounded: bool, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    made: Made = request.getfixturevalue(name)
    reference = stock(made, tmp_path / "stock.pte", stock_partitioner(), bounded=bounded)
    assert ours(made, tmp_path / "ours.pte", bounded=bounded).read_bytes() == reference.read_bytes()


def nodes(path: Path) -> list[list[str]]:
    """The kinds of each delegate's nodes, in order."""
    return [[str(node.kind) for node in read_payload(d.payload).nodes] for d in read_pte(path).method().delegates]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny_int4", "other_int4"])
def test_one_pass_a_delegate_gives_what_all_of_xnnpacks_passes_give(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    made: Made = request.getfixturevalue(name)
    reference = stock(made, tmp_path / "all_passes.pte", XnnpackPartitioner())
    own = made.package / "model.pte"
    assert nodes(own) == nodes(reference)
    context = Context(kind="endless", tokens=CONTEXT)
    left, right = (PteRunner(path, chunk=CHUNK, context=context) for path in (own, reference))
    ids = torch.randint(0, 300, (400,), generator=torch.Generator().manual_seed(5)).tolist()
    for at in range(0, 400, CHUNK):
        assert torch.equal(left.logits(ids[at : at + CHUNK], at), right.logits(ids[at : at + CHUNK], at))


def random_module(seed: int, count: int = 60) -> tuple[GraphModule, list[list[torch.fx.Node]]]:
    """A random graph, its nodes in random order of use, and disjoint groups of them."""
    generator = torch.Generator().manual_seed(seed)
    graph = Graph()
    made = [graph.placeholder(f"x{i}") for i in range(3)]
    for _ in range(count):
        picked = torch.randint(0, len(made), (2,), generator=generator).tolist()
        made.append(graph.call_function(torch.add, tuple(made[i] for i in picked)))
    graph.output(tuple(made[-4:]))
    groups: list[list[torch.fx.Node]] = []
    for at in range(3, 3 + count, 3):
        if int(torch.randint(0, 3, (1,), generator=generator)):
            groups.append(made[at : at + 1 + int(torch.randint(0, 3, (1,), generator=generator))])
    return GraphModule(torch.nn.Module(), graph), groups


@pytest.mark.parametrize("seed", range(20))
def test_bits_group_nodes_as_sets_do(seed: int) -> None:
    class Grouped(OperatorSupportBase):
        def is_node_supported(self, submodules: object, node: torch.fx.Node) -> bool:
            return any(node in group for group in groups)

    module, groups = random_module(seed)
    reference = GroupBasedPartitioner(module, Grouped(), allows_single_node_partition=True, node_groups=groups)
    found = partition._Grouping(module, groups).propose_partitions()
    wanted = reference.propose_partitions()
    assert [(p.id, set(p.nodes)) for p in found] == [(p.id, set(p.nodes)) for p in wanted]
    assert len(found) < len(groups)


@pytest.mark.parametrize("seed", range(20))
def test_sorting_in_place_gives_the_order_of_the_sorted_copy(seed: int) -> None:
    from torch.fx.passes.tools_common import legalize_graph

    (module, _), (copy, _) = random_module(seed), random_module(seed)
    for graph in (module.graph, copy.graph):  # what stands first takes a late node's value: out of order
        late, early = list(graph.nodes)[50], list(graph.nodes)[10]
        early.append(late)
    partition._sort_in_place(module)
    legalize_graph(copy)
    for mine, theirs in zip(module.graph.nodes, copy.graph.nodes, strict=True):
        assert (mine.name, [u.name for u in mine.users]) == (theirs.name, [u.name for u in theirs.users])


def test_a_module_that_was_cut_quickly_still_computes() -> None:
    module, _ = random_module(0)
    inputs = torch.randn(3, 5).unbind()
    expected = module(*inputs)
    with partition.quick_cutting():
        partition._sort_in_place(module)
        last = list(module.graph.nodes)[-1]
        last.args = (last.args[0][0],)
        module.recompile()
    assert torch.equal(module(*inputs), expected[0])
