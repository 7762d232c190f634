"""Lowers a Program to a `.pte` for XNNPACK. Knows one backend and one method, `forward`."""

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import (
    EdgeCompileConfig,
    ExecutorchBackendConfig,
    ExecutorchProgramManager,
    to_edge_transform_and_lower,
)
from executorch.exir.backend.compile_spec_schema import CompileSpec
from executorch.exir.backend.partitioner import DelegationSpec
from executorch.exir.passes import MemoryPlanningPass
from executorch.exir.passes.sym_shape_eval_pass import ConstraintBasedSymShapeEvalPass
from torch.export import Dim, ExportedProgram

from export.program import Program

_log = logging.getLogger("pocketlm")

_TRACE_TOKENS = 4  # any length from 2 to the chunk traces the same graph


def partitioner() -> XnnpackPartitioner:
    """XNNPACK's partitioner, whose delegates run one preparing pass (addmm to linear) in place of seventeen.

    The other sixteen (batch norm, upsampling, PReLU, channels-last, ...) change nothing in our delegates but take a
    third of the lowering, since each runs once a delegate. tests/export/test_lowering.py compares the outcome with
    theirs. The key is executorch's own: backends/xnnpack/xnnpack_preprocess.py, `preprocess`.
    """
    made = XnnpackPartitioner()
    backend = made.delegation_spec.backend_id
    made.delegation_spec = DelegationSpec(backend, [CompileSpec("dqlinear_partitioner", b"")])
    return made


def trace(program: Program) -> ExportedProgram:
    """torch.export of `forward` with T from 1 to the chunk."""
    tokens = torch.zeros(1, min(_TRACE_TOKENS, program.chunk), dtype=torch.int64)
    position = torch.zeros(1, dtype=torch.int64)
    length = {1: Dim("T", min=1, max=program.chunk)} if program.chunk > 1 else None
    with torch.no_grad():
        return torch.export.export(
            program.eval(), (tokens, position), dynamic_shapes={"tokens": length, "position": None}, strict=False
        )


def lower(program: Program, constants: Mapping[str, int | bool | list[int]]) -> ExecutorchProgramManager:
    """Traces, partitions and plans.

    Args:
        constants: constant methods that the phones' runner asks for (`get_max_seq_len`, ...).
    """
    _log.info("tracing forward(tokens [1, 1..%d], position [1])", program.chunk)
    traced = trace(program)
    _log.info("lowering %d layers through XNNPACK", program.model.config.num_layers)
    with torch.no_grad():
        edge = to_edge_transform_and_lower(
            traced,
            partitioner=[partitioner()],
            constant_methods=dict(constants),
            compile_config=EdgeCompileConfig(_check_ir_validity=False),
        )
        del traced
        _log.info("planning memory")
        return edge.to_executorch(
            ExecutorchBackendConfig(
                extract_delegate_segments=True,
                memory_planning_pass=MemoryPlanningPass(alloc_graph_input=False),
                sym_shape_eval_pass=ConstraintBasedSymShapeEvalPass(),
            )
        )


def write_pte(lowered: ExecutorchProgramManager, path: Path) -> int:
    """Writes the program with each constant stored once; returns the bytes that sharing saved."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".lowered-") as folder:
        whole = Path(folder) / "model.pte"
        with whole.open("wb") as file:
            lowered.write_to_file(file)
        from export.dedupe import share_constants

        return share_constants(whole, path)
