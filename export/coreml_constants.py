"""The floats of a CoreML method beside its matrices: norm weights, scalars, rows of positions.

Each is found by what uses it and held against what the checkpoint and its configuration make it. Whatever is left is a
problem: a program of ours takes no other number.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from chat.static_kv import MASKED
from export.checkpoint_weights import CheckpointWeights
from export.coreml_weights import CoremlConstants, CoremlScalar, CoremlVector
from model.config import ModelConfig
from model.transformer import Transformer

LEAST_SCALE = 2.0**-5  # what a norm's row is divided by at least (export/coreml/arithmetic.py)
_TINY = 1e-10  # Core ML's rsqrt adds a number of its own, 1e-12, which float16 makes 0
_STEP = 2.0**-11  # of a float16 from 0.5 to 1; a row's angle comes from float64, whose last bits differ
_Expected = dict[tuple[str, float], tuple[str, int | None]]  # kind and value to its meaning and count (None: any)


def compare_floats(where: str, found: CoremlConstants, weights: CheckpointWeights) -> list[str]:
    """What differs, a sentence each, beginning with the norm's name or with `where`."""
    config = weights.info.config
    norms, rows, other = [], [], []
    for vector in found.vectors:
        if vector.kind == "mul" and _is_vector(vector, config.dim):
            norms.append(vector)
        elif vector.kind == "gather":
            rows.append(vector)
        elif vector.kind != "linear" or vector.values.any():  # coremltools gives each linear a bias of zeros
            other.append(vector)
    return [
        *_compare_norms(where, norms, weights),
        *_compare_scalars(where, found.scalars, config),
        *_compare_rows(where, rows, config),
        *(
            f"{where}: operation {vector.operation} ({vector.kind}) takes {vector.dtype} {list(vector.shape)}, which "
            "nothing in the checkpoint makes"
            for vector in other
        ),
    ]


def settings(found: CoremlConstants, config: ModelConfig) -> tuple[str, ...]:
    """What `compare_floats` has compared with the configuration, in words."""
    lines = [
        f"{_num_norms(config)} norms with sqrt({config.norm_eps}), {config.num_layers} query scales of "
        f"{config.head_dim}**-0.5, as {found.linears[0].scale_dtype}"
    ]
    positions = [vector for vector in found.vectors if vector.kind == "gather"]
    if positions:
        lines.append(f"{len(positions)} tables of rows for {positions[0].shape[0]:,} positions, within {_STEP:.2g}")
    return tuple(lines)


def _num_norms(config: ModelConfig) -> int:
    with_rope = sum(config.uses_rope(layer) for layer in range(config.num_layers))
    return 2 * config.num_layers + 1 + (2 * with_rope if config.qk_norm else 0)


def _is_vector(vector: CoremlVector, length: int) -> bool:
    *leading, last = vector.shape
    return last == length and all(size == 1 for size in leading)


def _compare_norms(where: str, found: Sequence[CoremlVector], weights: CheckpointWeights) -> Iterator[str]:
    """Norms in the program's order; one whose weights are all 1 is not there, for coremltools drops such a product."""
    expected = [(name, tensor) for name, tensor in weights.norms() if not bool((tensor.to(torch.float16) == 1).all())]
    if len(found) != len(expected):
        yield (
            f"{where} multiplies by {len(found)} vectors of norm weights, the checkpoint has {len(expected)} that are "
            "not all 1"
        )
        return
    for vector, (name, tensor) in zip(found, expected, strict=True):
        ours = vector.values.reshape(-1).astype(np.float32)
        theirs = tensor.to(torch.float16).float().numpy()
        places = np.flatnonzero(ours.view(np.int32) != theirs.view(np.int32))
        if len(places):
            first = int(places[0])
            yield (
                f"{name}: {len(places)} of {len(ours)} weights are not the checkpoint's as float16, first at [{first}]:"
                f" {float(ours[first])!r} in place of {float(theirs[first])!r} (operation {vector.operation})"
            )


def _expected(config: ModelConfig, dtype: str) -> _Expected:
    """The scalars of a program, as a float of that type holds them."""

    def kept(value: float) -> float:
        return float(np.dtype(dtype).type(value))

    norms = _num_norms(config)
    return {
        ("mul", kept(config.norm_eps**0.5)): (f"sqrt(norm_eps) of {config.norm_eps}", norms),
        ("maximum", kept(LEAST_SCALE)): (f"a norm's least scale {LEAST_SCALE}", norms),
        ("mul", kept(config.head_dim**-0.5)): (f"the query scale {config.head_dim}**-0.5", config.num_layers),
        ("mul", MASKED): ("the mask's number", None),
    }


def _compare_scalars(where: str, found: Sequence[CoremlScalar], config: ModelConfig) -> Iterator[str]:
    counts: Counter[tuple[str, float]] = Counter()
    expected: _Expected = {}
    for scalar in found:
        if scalar.kind == "rsqrt" and scalar.argument == "epsilon" and 0.0 <= scalar.value <= _TINY:
            continue
        expected = expected or _expected(config, scalar.dtype)
        key = (scalar.kind, scalar.value)
        counts[key] += 1
        if key not in expected:
            likely = [f"{what} ({value!r})" for (kind, value), (what, _) in expected.items() if kind == scalar.kind]
            yield (
                f"{where}: operation {scalar.operation} ({scalar.kind}) takes {scalar.value!r}, which the "
                f"configuration does not make; a {scalar.kind} takes {', '.join(likely) or 'no number'}"
            )
    for key, (what, count) in expected.items():
        if count is not None and counts[key] != count:
            yield f"{where} takes {what} {counts[key]} times; the configuration makes that {count}"


def _compare_rows(where: str, found: Sequence[CoremlVector], config: ModelConfig) -> Iterator[str]:
    """A stateful program looks its rows up: cosines, sines, and temperatures where the model has them."""
    if not found:
        return
    with torch.device("meta"):
        positions = Transformer(config).positions  # for these alone; it holds no weights
    made = positions(torch.arange(found[0].shape[0]))
    named = [("cosines", made.cos), ("sines", made.sin), ("temperatures", made.temperature)]
    wanted = [(name, tensor) for name, tensor in named if tensor is not None]
    if len(found) != len(wanted):
        yield f"{where} looks up {len(found)} tables of floats; the configuration makes {len(wanted)} of positions"
        return
    for vector, (name, tensor) in zip(found, wanted, strict=True):
        theirs = tensor.flatten(1).to(torch.float16).float().numpy()
        ours = vector.values.astype(np.float32)
        if ours.shape != theirs.shape:
            yield f"{where}: the {name} are {list(ours.shape)}, the configuration makes {list(theirs.shape)}"
        elif not (np.abs(ours - theirs) <= _STEP * np.maximum(1.0, np.abs(theirs))).all():
            row = int(np.argwhere(np.abs(ours - theirs) > _STEP * np.maximum(1.0, np.abs(theirs)))[0][0])
            yield (
                f"{where}: the {name} of position {row} are not the configuration's (operation {vector.operation}): "
                "rope or temperature"
            )
