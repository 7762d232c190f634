"""Lowers a quantized checkpoint to a `.pte` for Core ML through ExecuTorch's backend, on any system.

One method or two; two share one multifunction package in which each weight stands once. Each method becomes exactly one
delegate call: what Core ML cannot hold is an error here, never an operator beside it.
"""

import gc
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from torch import nn
from torch.export import ExportedProgram

from export.checkpoint_weights import CheckpointWeights, open_weights
from export.coreml.decoder import Constants, Decoder
from export.coreml.pinned import identify, pinned
from export.coreml.quiet import quiet
from export.coreml.stateful import StatefulProgram
from export.coreml.static import StaticProgram, example_inputs
from export.plan import ExportPlan
from export.static_constants import Constant, static_constant_methods
from export.static_layout import static_methods
from export.text_constants import text_constant_methods
from model.checkpoint_info import CheckpointInfo

Precision = Literal["fp16", "fp32"]
_DTYPES = {"fp16": torch.float16, "fp32": torch.float32}

_log = logging.getLogger("pocketlm")


@dataclass(frozen=True, kw_only=True)
class LoweredSummary:
    """What was written."""

    identifier: str  # by which a phone keeps what it has compiled
    methods: tuple[str, ...]
    program_bytes: int


def lower_coreml(
    checkpoint: Path, info: CheckpointInfo, plan: ExportPlan, out_pte: Path, *, precision: Precision = "fp16"
) -> LoweredSummary:
    """Writes the program of a plan; the same input gives the same bytes.

    Args:
        info: the checkpoint's description, with a tokenizer or without.
        plan: for a target of Core ML.
        out_pte: the file; intermediate files of a few times its size lie beside it meanwhile.
        precision: "fp32" gives the twin whose every float16 tensor is float32, for tests; phones run "fp16".

    Raises:
        ValueError: the checkpoint is damaged or not quantized.
        GateError: a scale that float16 cannot hold; the message names the layer.
    """
    assert plan.compute_unit is not None  # `plan_export` has found it
    dtype = _DTYPES[precision]
    programs = _modules(open_weights(checkpoint), plan, dtype)
    _log.info("tracing %s", ", ".join(programs))
    with torch.no_grad():
        traced = {name: _trace(module, inputs) for name, (module, inputs) in programs.items()}
    del programs
    gc.collect()
    with TemporaryDirectory(dir=out_pte.parent, prefix=".coreml-") as folder, quiet(), pinned(Path(folder)):
        _log.info("converting %s for %s", ", ".join(traced), plan.compute_unit)
        names = tuple(traced)
        _write(traced, _specs(plan.compute_unit, precision), _constants(info, plan), out_pte)
    return LoweredSummary(identifier=identify(out_pte), methods=names, program_bytes=out_pte.stat().st_size)


def _modules(
    weights: CheckpointWeights, plan: ExportPlan, dtype: torch.dtype
) -> dict[str, tuple[nn.Module, dict[str, torch.Tensor]]]:
    """Each method's module and example inputs by name; all share one decoder."""
    _log.info("reading the checkpoint's codes and scales")
    decoder = Decoder(Constants(weights, dtype))
    if plan.methods is None:
        module = StatefulProgram(decoder, plan.cache.layers, plan.context.tokens, dtype)
        one = {"tokens": torch.zeros(1, 1, dtype=torch.int64), "position": torch.zeros(1, dtype=torch.int64)}
        return {"forward": (module, one)}
    methods = static_methods(decoder.config, plan.cache.layers, chunk=plan.chunk, methods=plan.methods)
    return {name: (StaticProgram(decoder, method), example_inputs(method, dtype)) for name, method in methods.items()}


def _trace(module: nn.Module, inputs: dict[str, torch.Tensor]) -> ExportedProgram:
    return torch.export.export(module.eval().requires_grad_(False), (), inputs, strict=False)


def _specs(unit: str, precision: Precision) -> list[Any]:
    """Compile specs: iOS 18, an mlpackage (only a Mac can compile), weights shared by all methods."""
    import coremltools
    from executorch.backends.apple.coreml.compiler import CoreMLBackend
    from executorch.backends.apple.coreml.compiler.coreml_preprocess import MULTIMETHOD_WEIGHT_SHARING_STRATEGY

    exact = coremltools.precision.FLOAT16 if precision == "fp16" else coremltools.precision.FLOAT32
    return [
        *CoreMLBackend.generate_compile_specs(
            compute_unit=coremltools.ComputeUnit[unit],
            minimum_deployment_target=coremltools.target.iOS18,
            compute_precision=exact,
            model_type=CoreMLBackend.MODEL_TYPE.MODEL,
        ),
        CoreMLBackend.generate_multimethod_weight_sharing_strategy_compile_spec(
            MULTIMETHOD_WEIGHT_SHARING_STRATEGY.POSITIONAL
        ),
    ]


def _write(
    traced: dict[str, ExportedProgram], specs: list[Any], constants: Mapping[str, Constant], out_pte: Path
) -> None:
    from executorch.backends.apple.coreml.partition import CoreMLPartitioner
    from executorch.exir import to_edge_transform_and_lower

    lowered = to_edge_transform_and_lower(
        traced,
        partitioner=[CoreMLPartitioner(compile_specs=specs, take_over_mutable_buffer=True, lower_full_graph=True)],
        constant_methods=dict(constants),
    )
    traced.clear()
    gc.collect()
    _log.info("writing %s", out_pte.name)
    program = lowered.to_executorch()
    with out_pte.open("wb") as file:
        program.write_to_file(file)


def _constants(info: CheckpointInfo, plan: ExportPlan) -> dict[str, Constant]:
    """What the app's loop, or the phones' text runner, asks the program for."""
    if plan.methods is None:
        return {**text_constant_methods(info, plan)}
    tokenizer = info.tokenizer
    methods = static_methods(info.config, plan.cache.layers, chunk=plan.chunk, methods=plan.methods)
    return static_constant_methods(
        info.config,
        plan.cache.layers,
        plan.context,
        chunk=plan.chunk,
        methods=methods,
        bos_id=None if tokenizer is None else tokenizer.bos_id,
        stop_ids=() if tokenizer is None else tokenizer.stop_ids,
    )
