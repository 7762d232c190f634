"""A traced program to ExecuTorch's edge dialect: its own steps, with as few passes over the graph as give the same.

Stock `to_edge_transform_and_lower` (executorch 1.5.1, exir/program/_program.py) decomposes three times and rewrites in
eight passes. Each runs every operator on fake tensors again, which is most of an export's time. One decomposition and
two passes do what the eleven do: tests/export/test_lowering.py compares the files byte for byte.
"""

from collections.abc import Mapping
from typing import Any

import torch
from executorch.exir import EdgeCompileConfig, EdgeProgramManager, passes
from executorch.exir.backend.partitioner import Partitioner
from executorch.exir.graph_module import contains_any_call_fn_target_op
from executorch.exir.pass_base import ExportPass
from executorch.exir.passes.convert_constant_dim_order_pass import convert_constant_dim_order_pass
from executorch.exir.passes.normalize_transpose_pass import NormalizeTransposePass
from executorch.exir.passes.remove_graph_asserts_pass import RemoveNonCoreAtenOpGraphAssertsPass
from executorch.exir.passes.remove_mixed_type_operators import RemoveMixedTypeOperators
from executorch.exir.passes.remove_unused_parameters_pass import remove_unused_parameters_pass
from executorch.exir.program import _program as stock
from executorch.exir.tracer import _default_decomposition_table
from executorch.exir.verification.verifier import EXIREdgeDialectVerifier
from torch._export.passes.replace_view_ops_with_view_copy_ops_pass import get_view_copy_of_view_op
from torch.export import ExportedProgram

_METHOD = "forward"
_NEVER_DECOMPOSED = {torch.ops.aten.sym_size.int}  # stands in the table, and is what it decomposes to


class _CopiesOfViews(ExportPass):
    """torch's ReplaceViewOpsWithViewCopyOpsPass, as a link of a chain."""

    def call_operator(self, op: Any, args: Any, kwargs: Any, meta: Any) -> Any:
        if op == torch.ops.aten._unsafe_view.default:
            op = torch.ops.aten.view_copy.default
        elif not isinstance(op, torch._ops.HigherOrderOperator):
            op = get_view_copy_of_view_op(op._schema) or op
        return super().call_operator(op, args, kwargs, meta)


class _ToFunctional(
    _CopiesOfViews,
    NormalizeTransposePass,
    passes.ReplaceBrokenOpsWithFunctionalOpsPass,
    passes.ScalarToTensorPass,
    passes.SymToTensorPass,
):
    """Five passes in one: each one's `call_operator` hands on to the next, in this order."""


class _ToEdge(RemoveMixedTypeOperators, passes.OpReplacePass, passes.MemoryFormatOpsPass):
    """Three passes in one, as above."""


def to_edge(
    traced: ExportedProgram, partitioner: Partitioner, constants: Mapping[str, int | bool | list[int]]
) -> EdgeProgramManager:
    """The edge program of `forward`, not yet given to a backend.

    Args:
        partitioner: says which operators its backend wants whole.
        constants: constant methods of the program.
    """
    config = EdgeCompileConfig(_check_ir_validity=False)
    program, kept = _decompose(traced, partitioner)
    edge = _rewrite(program, config, kept)
    config._core_aten_ops_exception_list = list({*config._core_aten_ops_exception_list, *kept})
    return EdgeProgramManager({_METHOD: edge}, dict(constants), config, kept)


def _decompose(traced: ExportedProgram, partitioner: Partitioner) -> tuple[ExportedProgram, list[Any]]:
    """The functional program in core ATen, and the operators that stay whole because the backend takes each of them."""
    wanted, _ = partitioner.ops_to_not_decompose(traced)
    table = _default_decomposition_table()
    whole = set(stock._remove_invalid_ops_for_not_decompose(wanted))
    program = traced.run_decompositions({op: how for op, how in table.items() if op not in whole})
    kept = stock._replace_aten_ops_with_transformed_ops(_METHOD, program, {_METHOD: [partitioner]}) or ()
    if contains_any_call_fn_target_op(program.graph_module, set(table) - _NEVER_DECOMPOSED):
        program = program.run_decompositions(table)  # of what it wants whole, the backend refuses some
    stock._restore_transformed_ops_to_aten_ops(program)
    return program, list(kept)


def _rewrite(program: ExportedProgram, config: EdgeCompileConfig, kept: list[Any]) -> ExportedProgram:
    """Stock `_generate_edge_program`; what is not an ExportPass with a `call_operator` of its own stands as it is."""
    program = remove_unused_parameters_pass(program)
    module = program.graph_module
    for step in (
        RemoveNonCoreAtenOpGraphAssertsPass(),
        passes.ReplaceSymSizeOpPass(),
        _ToFunctional(),
        passes.RemoveNoopPass(),
        passes.PruneEmptyTensorsPass(),
        passes.RemoveToCopyPass(),
        passes.FoldRedundantDequantizeQuantizePass(),
        _ToEdge(),
    ):
        module = step(module).graph_module
    verifier = EXIREdgeDialectVerifier(edge_compile_config=config, class_only=True, preserve_ops=kept)
    edge = ExportedProgram(
        root=module,
        graph=module.graph,
        graph_signature=stock._get_updated_graph_signature(program.graph_signature, module),
        state_dict=program.state_dict,
        range_constraints=program.range_constraints,
        module_call_graph=program.module_call_graph,
        example_inputs=program.example_inputs,
        constants=program.constants,
        verifiers=[verifier],
    )
    edge = convert_constant_dim_order_pass(stock.lift_constant_tensor_pass(edge))
    return stock._transform(edge, *passes.base_post_op_replace_passes)


def is_in_default_layout(edge: EdgeProgramManager) -> bool:
    """Whether LegalizePortableDimOrderPass, one more pass over the whole graph, would find nothing to do."""
    legalized = passes.LegalizePortableDimOrderPass._target_ops
    modules = [m for m in edge.exported_program(_METHOD).graph_module.modules() if isinstance(m, torch.fx.GraphModule)]
    values = [n.args[0].meta["val"] for m in modules for n in m.graph.nodes if n.target in legalized]
    return all(tuple(value.dim_order()) == tuple(range(value.dim())) for value in values)
