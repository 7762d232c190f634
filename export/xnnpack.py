"""Lowers a Program to a `.pte` for XNNPACK. Knows one backend and one method, `forward`."""

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from executorch.exir import ExecutorchBackendConfig, ExecutorchProgramManager
from executorch.exir.passes import MemoryPlanningPass
from executorch.exir.passes.sym_shape_eval_pass import ConstraintBasedSymShapeEvalPass
from torch.export import Dim, ExportedProgram

from export.edge import is_in_default_layout, to_edge
from export.partition import Partitioner, quick_cutting, told
from export.program import Program

_log = logging.getLogger("pocketlm")

_TRACE_TOKENS = 4  # any length from 2 to the chunk traces the same graph


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
    num_layers = program.model.config.num_layers
    _log.info("decomposing %d layers into core operators", num_layers)
    with torch.no_grad():
        backend = Partitioner()
        edge = to_edge(traced, backend, constants)
        del traced
        _log.info("cutting %d layers into delegates of XNNPACK", num_layers)
        with quick_cutting(), told(backend):
            edge = edge.to_backend({"forward": backend})
        edge.compile_config._skip_dim_order = is_in_default_layout(edge)
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
