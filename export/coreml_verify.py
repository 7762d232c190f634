"""Runs a CoreML package's program and holds what it computes against the eager model, which has no cache.

The integers of a file say which numbers it has; what is done with them shows only here: a changed operation, an
exchanged input, a wrong slot. Each method runs in float32, where only the order of sums differs from the eager model,
and in simulated float16. Keys and values are compared layer by layer, so that a fault has a place.

Shapes: T tokens of a call, P calls, V vocabulary, G key-value heads, D head width.
"""

import gc
import itertools
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.checkpoint_weights import CheckpointWeights
from export.coreml_calls import SMALL, call_sizes, ring_lengths, token_ids
from export.coreml_execution import Execution
from export.coreml_reference import FileFloat, Reference, file_constants, run_reference
from export.coreml_twins import odd_operations
from export.coreml_weights import read_coreml_constants
from export.golden import repeat_golden
from export.manifest import Manifest
from export.mil.container import open_coreml
from export.mil.execute import MAX_HALF, MilExecutor
from export.static_runner import Precision, StatefulRunner, StaticRunner

BOUND_FP32 = 1e-5  # of max(1, max |logit|), and of max(1, max |key or value|) of a layer; docs/numerics.md
NOISE_MARGIN = 2.0  # a margin is a difference of two logits, each off by the noise
MOST_NOISE = 8.0  # times the eager model's own: what simulated float16 may be off by
_log = logging.getLogger("pocketlm")

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One pass over all calls with one precision."""

    logits: Tensor  # float32 [P, V]
    new: list[dict[str, Array]]  # of each call: the outputs by name, if the host writes the caches
    methods: list[str]
    peaks: dict[str, float]


def verify_execution(
    program: Path, manifest: Manifest, weights: CheckpointWeights, *, steps: int | None = None
) -> tuple[Execution | None, list[str]]:
    """Executes the program in both precisions.

    Args:
        steps: calls of the program in each precision; None: what `call_sizes` chooses.

    Returns:
        What was found (None if the program cannot be run to the end), and a sentence for each problem.

    Raises:
        ValueError: the file or the checkpoint is damaged.
    """
    file = open_coreml(program)
    floats = read_coreml_constants(file.methods["forward"]).linears[0].scale_dtype
    sizes = call_sizes(manifest, steps)
    ids = token_ids(manifest, sum(sizes))
    places = [end - 1 for end in itertools.accumulate(sizes)]
    is_static = manifest.runner.kind == "static-kv"
    half: FileFloat = "float16" if floats == "float16" else "float32"
    constants = file_constants(weights.info.config, half, "float32" if is_static else half)
    _log.info("computing %d tokens with the eager model", len(ids))
    reference = run_reference(weights, ids, places, context=manifest.context.tokens, constants=constants)
    problems: list[str] = []
    runs: dict[Precision, _Run] = {}
    golden = None
    wanted: tuple[Precision, ...] = ("fp32", "fp16") if half == "float16" else ("fp32",)  # a float32 twin is no package
    for precision in wanted:
        _log.info("executing %d calls of the program in %s", len(sizes), precision)
        try:
            runs[precision], found = _run(program, manifest, sizes, ids, precision, steps)
            golden = found if precision == "fp16" else golden
        except ValueError as error:  # a GateError, or tensors that are not the manifest's
            problems.append(f"execution in {precision}: {error}")
        gc.collect()
    if "fp32" in runs:
        problems += _fp32_problems(runs["fp32"], reference, sizes, manifest)
        if problems:
            problems += odd_operations(file)
        problems += _peak_problems(runs["fp32"].peaks)
    if "fp16" in runs and not problems:
        problems += _fp16_problems(runs["fp16"], reference, sizes)
    if len(runs) < 2:
        return None, problems
    return _describe(runs["fp32"], runs["fp16"], reference, manifest, sizes, floats, golden), problems


class _Recorder:
    """An executor that keeps what its last call gave."""

    def __init__(self, executor: MilExecutor) -> None:
        self._executor = executor
        self.method, self.outputs = "", [np.empty(0)]

    def execute(self, method: str, inputs: Sequence[Array], /) -> list[Array]:
        self.method, self.outputs = method, self._executor.execute(method, inputs)
        return self.outputs

    def reset_state(self) -> None:
        self._executor.reset_state()


def _run(
    program: Path, manifest: Manifest, sizes: Sequence[int], ids: Sequence[int], precision: Precision, steps: int | None
) -> tuple[_Run, int | None]:
    """One pass; in fp16 the golden prompt afterwards, where a model is small enough."""
    executor = MilExecutor(program, precision=precision, trace=precision == "fp32")
    recorder = _Recorder(executor)
    runner: StaticRunner | StatefulRunner
    if manifest.runner.kind == "static-kv":
        runner = StaticRunner(recorder, manifest, precision=precision)
    else:
        runner = StatefulRunner(recorder, manifest)
    rows, new, methods, at = [], [], [], 0
    for size in sizes:
        rows.append(runner.logits(ids[at : at + size], at))
        specs = manifest.methods[recorder.method].outputs
        outputs = {spec.name: array for spec, array in zip(specs, recorder.outputs, strict=True)}
        new.append({name: array for name, array in outputs.items() if precision == "fp32" and "_new_" in name})
        methods.append(recorder.method)
        at += size
    peaks = dict(executor.peaks)
    golden = None
    if precision == "fp16" and manifest.model.parameters <= SMALL and steps is None:
        runner.reset()
        golden = repeat_golden(runner, manifest.golden)
    return _Run(logits=torch.stack(rows), new=new, methods=methods, peaks=peaks), golden


def _fp32_problems(run: _Run, reference: Reference, sizes: Sequence[int], manifest: Manifest) -> list[str]:
    """The first layer whose keys or values are wrong, and the logits."""
    at = 0
    worst: dict[tuple[int, str], tuple[float, str]] = {}
    for size, method, new in zip(sizes, run.methods, run.new, strict=True):
        for layer in range(len(reference.keys)):
            for side, wanted_TGD in (("k", reference.keys[layer]), ("v", reference.values[layer])):
                if f"{side}_new_{layer}" not in new:
                    continue
                wanted = wanted_TGD[at : at + size]
                found = torch.from_numpy(new[f"{side}_new_{layer}"][0, :, :size].astype(np.float32)).transpose(0, 1)
                error = float((found - wanted).abs().max()) / max(1.0, float(wanted.abs().max()))
                if not error <= BOUND_FP32 and (layer, side) not in worst:
                    worst[layer, side] = error, f"{method} of {size} tokens at position {at}"
        at += size
    problems = []
    if worst:
        (layer, side), (error, where) = min(worst.items())
        what = "keys" if side == "k" else "values"
        before = "the input table" if layer == 0 else f"layers.{layer - 1} behind its own keys and values"
        problems.append(
            f"layers.{layer}: the {what} that the program computes are off by {error:.2g} of their largest ({where}), "
            f"and earlier layers' are right: the fault lies in {before}, or in this layer's attention_norm, "
            f"{side}_proj or rotation"
        )
    scale = max(1.0, float(reference.logits.abs().max()))
    error_P = (run.logits - reference.logits).abs().amax(-1)
    if not bool((error_P <= BOUND_FP32 * scale).all()):
        first = int((~(error_P <= BOUND_FP32 * scale)).nonzero()[0])
        last = len(reference.keys) - 1
        behind = "" if worst else f": the fault lies in layers.{last} behind its keys and values, in norm, or in head"
        if manifest.runner.kind != "static-kv":
            behind = ""
        problems.append(
            f"logits: in float32 the program is off by {float(error_P.max()):.2g} at a scale of {scale:.3g} (allowed: "
            f"{BOUND_FP32 * scale:.2g}), first in call {first + 1}, {run.methods[first]} of {sizes[first]} tokens at "
            f"position {sum(sizes[:first])}{behind}"
        )
    return problems


def _peak_problems(peaks: dict[str, float]) -> list[str]:
    over = {name: peak for name, peak in peaks.items() if peak > MAX_HALF}
    return [
        f"operation {name.partition('/')[2]} of method {name.partition('/')[0]} reaches {peak:,.0f}; float16 ends at "
        f"{MAX_HALF:,.0f}, so a phone would overflow"
        for name, peak in list(over.items())[:1]
    ]


def _noise(reference: Reference) -> float:
    """How far the eager model moves when every result is rounded to float16; at least float32's own noise."""
    scale = max(1.0, float(reference.logits.abs().max()))
    return max(BOUND_FP32 * scale, float((reference.rounded - reference.logits).abs().max()))


def _margins(reference: Reference) -> Tensor:
    """By how much the best logit of each call leads, [P]."""
    best = reference.logits.topk(2, dim=-1).values
    return best[:, 0] - best[:, 1]


def _fp16_problems(run: _Run, reference: Reference, sizes: Sequence[int]) -> list[str]:
    noise, margins_P = _noise(reference), _margins(reference)
    problems = []
    error = float((run.logits - reference.logits).abs().max())
    if not error <= MOST_NOISE * noise:
        problems.append(
            f"logits: in simulated float16 the program is off by {error:.2g}, {error / noise:.1f} times what rounding "
            f"moves the eager model by ({noise:.2g}); allowed: {MOST_NOISE:g} times"
        )
    wanted_P, found_P = reference.logits.argmax(-1), run.logits.argmax(-1)
    wrong = ((margins_P > NOISE_MARGIN * noise) & (wanted_P != found_P)).nonzero().flatten().tolist()
    if wrong:
        first = wrong[0]
        problems.append(
            f"logits: in simulated float16 the first choice of call {first + 1} (position "
            f"{sum(sizes[: first + 1]) - 1}) is id {int(found_P[first])} in place of {int(wanted_P[first])}, which "
            f"leads by {float(margins_P[first]):.3g}; the noise floor is {NOISE_MARGIN * noise:.3g}"
        )
    return problems


def _describe(
    exact: _Run,
    half: _Run,
    reference: Reference,
    manifest: Manifest,
    sizes: Sequence[int],
    floats: str,
    golden: int | None,
) -> Execution:
    scale = max(1.0, float(reference.logits.abs().max()))
    noise, tokens = _noise(reference), sum(sizes)
    is_clear = _margins(reference) > NOISE_MARGIN * noise
    is_same = half.logits.argmax(-1) == reference.logits.argmax(-1)
    peak_operation, peak = max(exact.peaks.items(), key=lambda item: item[1])
    return Execution(
        calls=len(sizes),
        methods=dict(Counter(exact.methods)),
        tokens=tokens,
        wrapped=tuple(slots for slots in ring_lengths(manifest) if tokens > slots),
        not_wrapped=tuple(slots for slots in ring_lengths(manifest) if tokens <= slots),
        floats=floats,
        scale=scale,
        error_fp32=float((exact.logits - reference.logits).abs().max()),
        bound_fp32=BOUND_FP32 * scale,
        error_fp16=float((half.logits - reference.logits).abs().max()),
        noise_fp16=noise,
        compared=int(is_clear.sum()),
        equal=int((is_clear & is_same).sum()),
        golden=golden,
        peak=peak,
        peak_operation=peak_operation,
        peaks=exact.peaks,
    )
