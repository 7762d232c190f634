"""The steps of an export that are Core ML's: lowering, the checks of the written file, what runs its golden prompt.

The checks and the runner read the file by `export.mil`, which shares no code with the converter.
"""

import gc
import importlib.util
import logging
from collections import Counter
from pathlib import Path

from export.manifest import Manifest
from export.mil.container import open_coreml
from export.mil.execute import MilExecutor
from export.mil.lint import RULES, lint_neural_engine
from export.mil.program import Function, MilProgram
from export.plan import ExportPlan
from export.static_layout import row_chunks
from export.static_runner import Precision, StatefulRunner, StaticRunner
from model.checkpoint import read_info
from model.checkpoint_info import CheckpointInfo
from model.config import ModelConfig
from model.errors import EnvironmentFault

_log = logging.getLogger("pocketlm")

_CACHE_BYTES = 5 << 30  # a golden prompt runs each weight some fifty times: all of a billion stay dequantised


def check_converter() -> None:
    """Whether Core ML's converter is installed.

    Raises:
        EnvironmentFault: it is not, since it has no build for this Python or system.
    """
    if importlib.util.find_spec("coremltools") is None:
        raise EnvironmentFault(
            "coremltools is not installed, and an export for Core ML needs it: it has builds for Python 3.11 to 3.13 "
            "on macOS and on Linux x86-64 (`pip install coremltools==9.0` there); packages made elsewhere run and are "
            "verified here all the same"
        )


def lower_to(program: Path, checkpoint: Path, info: CheckpointInfo, plan: ExportPlan) -> None:
    from export.coreml.lower import lower_coreml

    made = lower_coreml(checkpoint, info, plan, program)
    gc.collect()  # the converter's graphs are circles that hold weights; the golden prompt needs the room
    _log.info("%s: %d bytes, methods %s", program.name, made.program_bytes, ", ".join(made.methods))


def problems(program: Path, checkpoint: Path, plan: ExportPlan) -> list[str]:
    """What is wrong with the written file, a sentence each."""
    from export.coreml_integers import integer_problems

    config, methods = read_info(checkpoint).config, open_coreml(program).methods
    found = [problem for name, model in methods.items() for problem in linear_problems(name, model.function, config)]
    if plan.target.has_lint:
        for each in {id(model.program): model.program for model in methods.values()}.values():
            found += lint_problems(each, plan.allow_lint)
    return found + integer_problems(program, checkpoint)


def linear_problems(method: str, function: Function, config: ModelConfig) -> list[str]:
    """Whether every projection is a `linear`: as something else, its weight would be widened before the product."""
    kinds = Counter(operation.kind for operation in function.operations)
    expected = len(config.layer_matrices) * config.num_layers + len(row_chunks(config.vocab_size))
    if kinds["linear"] == expected:
        return []
    return [f"method {method} has {kinds['linear']} operations linear for {expected} projections"]


def lint_problems(program: MilProgram, allowed: tuple[str, ...]) -> list[str]:
    """What the Neural Engine would refuse or compute elsewhere, but for rules that the user has allowed by name."""
    findings = lint_neural_engine(program)
    for finding in findings:
        if finding.rule in allowed:
            _log.warning("allowed by --allow-lint %s: %s", finding.rule, finding.message)
    return [
        f"the Neural Engine's lint, rule {finding.rule} ({RULES[finding.rule]}): {finding.message}; --allow-lint "
        f"{finding.rule} exports it all the same"
        for finding in findings
        if finding.rule not in allowed
    ]


def runner(program: Path, manifest: Manifest, precision: Precision = "fp16") -> StaticRunner | StatefulRunner:
    """What runs the written file as its app will, with Core ML's float16 simulated or in float32."""
    executor = MilExecutor(program, precision=precision, cache_bytes=_CACHE_BYTES)
    if manifest.runner.kind == "static-kv":
        return StaticRunner(executor, manifest, precision=precision)
    return StatefulRunner(executor, manifest)
