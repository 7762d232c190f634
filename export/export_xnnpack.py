"""The steps of an export that are XNNPACK's: lowering, the checks of the written file, what runs its golden prompt."""

import gc
import logging
from pathlib import Path

from chat.window import Context
from export import checks
from export.checkpoint_weights import open_weights
from export.integers import compare_integers
from export.plan import ExportPlan
from export.program import Program
from export.pte import read_pte
from export.runner import PteRunner
from export.text_constants import text_constant_methods
from export.xnnpack import lower, write_pte
from kernels.load import library_of
from model.checkpoint_info import CheckpointInfo
from quant.checkpoint import build_model
from quant.recipe import find_recipe

_log = logging.getLogger("pocketlm")


def lower_to(program: Path, checkpoint: Path, info: CheckpointInfo, plan: ExportPlan) -> None:
    constants = text_constant_methods(info, plan)
    saved = write_pte(lower(_program(checkpoint, info, plan), constants), program)
    gc.collect()  # the compiler's graphs are circles that hold weights; the golden prompt needs the room
    _log.info("%s: %d bytes, %d saved by storing each table once", program.name, program.stat().st_size, saved)


def _program(checkpoint: Path, info: CheckpointInfo, plan: ExportPlan) -> Program:
    """The module to lower; whoever is given it holds the only reference to a model of a byte a weight."""
    assert info.quantization is not None
    _log.info("building the integer model")
    return Program(
        build_model(checkpoint).requires_grad_(False),
        context=plan.context.tokens,
        chunk=plan.chunk,
        bounded=plan.is_bounded,
        cache_dtype=find_recipe(info.quantization.recipe).cache,
    )


def problems(program: Path, checkpoint: Path, plan: ExportPlan) -> list[str]:
    """What is wrong with the written file, a sentence each."""
    pte = read_pte(program)
    method = pte.method()
    return [
        *checks.undelegated_products(method),
        *checks.cache_copies(method),
        *checks.stale_branch_results(method),
        *checks.cache_bytes_differ(method, plan.cache.bytes),
        *compare_integers(pte, open_weights(checkpoint).layers()),
    ]


def golden_runners(program: Path, *, chunk: int, context: Context) -> tuple[PteRunner, PteRunner | None]:
    """What the golden prompt is measured with: ExecuTorch's kernels, as phones have them, and ours as a second opinion.

    Both attend over the same INT8 cache in another order of additions, as another processor's kernels do; None where
    ours cannot be built, which is said.
    """
    stock = PteRunner(program, chunk=chunk, context=context, kernels="stock")
    if library_of("auto") is None:
        _log.warning("the golden prompt's noise floor knows ExecuTorch's kernels alone; with a C++ compiler, ours too")
        return stock, None
    return stock, PteRunner(program, chunk=chunk, context=context, kernels="own")
