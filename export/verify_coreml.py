"""What `verify` compares and executes of a package for Core ML."""

import logging
from collections.abc import Iterator

from export.certificate import Found
from export.checkpoint_weights import CheckpointWeights
from export.coreml_execution import Execution
from export.coreml_integers import coreml_comparison
from export.coreml_verify import verify_execution
from export.manifest import Manifest
from export.mil.container import open_coreml
from export.pte import Pte

_log = logging.getLogger("pocketlm")


def compare_coreml(pte: Pte, manifest: Manifest, weights: CheckpointWeights, steps: int | None) -> Found:
    """Integers and floats, then, if those are right, what the program makes of them.

    Args:
        steps: calls that are executed in each precision; 0: none; None: as many as the model's size allows.

    Raises:
        ValueError: the program or the checkpoint is damaged.
    """
    compared = coreml_comparison(open_coreml(pte.path), weights)
    execution, problems = None, list(compared.problems)
    if not problems and steps != 0:
        execution, problems = verify_execution(pte.path, manifest, weights, steps=steps)
    return Found(
        problems=tuple(problems),
        settings=compared.settings,
        not_compared=tuple(_not_compared(execution, is_asked=steps != 0)),
        execution=execution,
    )


def _not_compared(execution: Execution | None, *, is_asked: bool) -> Iterator[str]:
    if execution is not None:
        yield from execution.not_executed()
    elif is_asked:
        yield "what the program computes, to the end: see the problems"
    else:
        yield "what the program computes: nothing was executed (--steps 0), and which operation takes what is not shown"
    yield "Core ML itself: its own float16, which unit runs what, speed and memory; only an iPhone or a Mac shows them"
