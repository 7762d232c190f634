"""Runs CoreML packages by the app's own loop, on top of whatever executes their methods: the reference for Swift.

Here that is the verifier (export/mil): Core ML itself runs on Apple's systems only. Caches, rows and masks are numpy
arrays; what goes into them is decided by chat/static_kv.py.

Shapes: T tokens of a call, S slots, G key-value heads, D head width, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chat.sampling import SeededSampler
from chat.static_kv import (
    MASKED,
    SEEN,
    Call,
    calls,
    half_bits,
    inverse_frequencies,
    mask,
    rope_rows,
    temperatures,
)
from chat.window import Context, context_end_sentence
from export.manifest import Manifest
from export.manifest_parts import TensorSpec
from export.package import Package
from export.runner import stream_ids
from export.static_constants import is_coreml, loop_of_manifest

Precision = Literal["fp16", "fp32"]
Array = NDArray[Any]


class Executor(Protocol):
    """Runs a method of a program."""

    def execute(self, method: str, inputs: Sequence[Array], /) -> list[Array]:
        """The outputs of a method in calling order."""


class StatefulExecutor(Executor, Protocol):
    """The same for a program that keeps its caches itself."""

    def reset_state(self) -> None:
        """Fills the caches with zeros."""


class _Runner:
    """What both kinds of runner share: prompts and generation over `logits`."""

    def __init__(self, context: Context, stop_ids: Sequence[int]) -> None:
        self._context, self._stop_ids = context, frozenset(stop_ids)

    def logits(self, ids: Sequence[int], position: int) -> Tensor:
        """Writes the ids from `position` on and returns the last one's logits, float32 [V]."""
        raise NotImplementedError

    def prefill(self, ids: Sequence[int], position: int) -> None:
        """Writes the ids to the caches; see `logits`."""
        self.logits(ids, position)

    def generate_ids(
        self, prompt_ids: Sequence[int], position: int, max_new_tokens: int, sampler: SeededSampler
    ) -> Iterator[int]:
        """Writes the prompt and yields new ids, each computed when it is asked for; ends after a stop id.

        A bounded context ends the stream, without an error, before a token that would not fit.

        Raises:
            ValueError: see `logits`.
        """
        return stream_ids(
            lambda ids, at: sampler.pick(self.logits(ids, at).tolist()),
            prompt_ids,
            position,
            max_new_tokens,
            context=self._context,
            stop_ids=self._stop_ids,
        )


class StaticRunner(_Runner):
    """`chat.engine.IdRunner` over a static-kv program: the caches are here, and they last between calls.

    Args:
        executor: runs `prefill` and `forward` as the manifest lists their tensors.
        precision: fp16 hands over what a phone's app does. fp32 keeps rows and caches in float32, for a comparison
            that the host's own rounding is no part of.

    Raises:
        ValueError: the manifest is not of a static-kv package.
    """

    def __init__(self, executor: Executor, manifest: Manifest, *, precision: Precision = "fp16") -> None:
        super().__init__(manifest.context, manifest.tokenizer.stop_ids)
        self._executor, self._methods = executor, manifest.methods
        self._program = loop_of_manifest(manifest)
        self._precision: Precision = precision
        self._dtype = np.float16 if precision == "fp16" else np.float32
        self._frequencies = inverse_frequencies(self._program.rope)
        heads, width = self._program.num_kv_heads, self._program.rope.head_dim
        self._caches = {  # zeros, for what a mask hides is still multiplied
            f"{side}_cache_{layer}": np.zeros((1, heads, slots, width), dtype=self._dtype)
            for layer, slots in enumerate(self._program.slots)
            for side in ("k", "v")
        }

    def logits(self, ids: Sequence[int], position: int) -> Tensor:
        """Writes the ids from `position` on, in the calls that `chat.static_kv.calls` makes of them.

        Returns:
            The last id's logits, float32 [V].

        Raises:
            ValueError: no ids, one that is none of the vocabulary, or a bounded context ends before they are written;
                nothing is written then. Or the program gives other tensors than its manifest says.
        """
        logits = np.empty(0)
        for call in calls(ids, position, self._program):
            logits = self._run(call)
        return torch.from_numpy(logits.astype(np.float32))

    def reset(self) -> None:
        """Nothing to clear: at position 0 no query sees a slot. The caller goes on there."""

    def _run(self, call: Call) -> Array:
        """One call, and the new tokens' keys and values into their slots. Returns logits [V]."""
        specs = self._methods[call.method]
        values = self._rows(call) | self._caches
        given = self._executor.execute(call.method, [values[spec.name] for spec in specs.inputs])
        outputs = _named(call.method, specs.outputs, given)
        for layer, slots in enumerate(self._program.slots):
            written = call.slots(slots)
            for side in ("k", "v"):
                new = outputs[f"{side}_new_{layer}"]  # [1, G, T, D]
                self._caches[f"{side}_cache_{layer}"][:, :, written] = new[:, :, : len(call.ids)]
        pieces = [outputs[spec.name] for spec in specs.outputs if spec.name.startswith("logits")]
        return np.concatenate([piece[0] for piece in pieces])

    def _rows(self, call: Call) -> dict[str, Array]:
        """Every input but the caches, by name."""
        program, at, length = self._program, call.position, call.length
        cos, sin = rope_rows(at, length, self._frequencies)
        rows = {
            "tokens": np.array([call.tokens], dtype=np.int32),
            "last": np.array([call.last], dtype=self._dtype),
            "cos": self._float(cos),
            "sin": self._float(sin),
        }
        if program.temperature_floor:
            factors = temperatures(at, length, floor=program.temperature_floor, scale=program.temperature_scale)
            rows["temperature"] = self._float([[factor] for factor in factors])
        for name, is_global in (("mask_local", False), ("mask_global", True)):
            slots = program.kind_slots(is_global=is_global)
            if slots is not None:
                rows[name] = np.where(mask(at, length, slots), SEEN, MASKED).astype(self._dtype)
        return rows

    def _float(self, rows: Sequence[Sequence[float]]) -> Array:
        """Doubles as the program takes them, each rounded once."""
        if self._precision == "fp32":
            return np.array(rows, dtype=np.float32)
        return np.array([[half_bits(value) for value in row] for row in rows], dtype=np.uint16).view(np.float16)


class StatefulRunner(_Runner):
    """`chat.engine.IdRunner` over a program that keeps its caches as Core ML's state: one token a call.

    Raises:
        ValueError: the manifest is not of such a package.
    """

    def __init__(self, executor: StatefulExecutor, manifest: Manifest) -> None:
        super().__init__(manifest.context, manifest.tokenizer.stop_ids)
        if manifest.runner.kind != "text-llm" or manifest.chunk != 1:
            raise ValueError(
                f"this package needs a {manifest.runner.kind!r} runner with chunks of {manifest.chunk}; a stateful "
                "CoreML program takes one token a call of 'text-llm'"
            )
        self._executor, self._forward = executor, manifest.methods["forward"]
        self._vocab_size = manifest.model.config.vocab_size

    def logits(self, ids: Sequence[int], position: int) -> Tensor:
        """Writes the ids one by one; see `StaticRunner.logits`."""
        if not ids:
            raise ValueError("there is nothing to run: no token ids were given")
        for token in ids:
            if not 0 <= token < self._vocab_size:
                raise ValueError(f"id {token} is none of the vocabulary; ids go from 0 to {self._vocab_size - 1}")
        if self._context.kind == "bounded" and position + len(ids) > self._context.tokens:
            raise ValueError(context_end_sentence(self._context))
        tokens, at = (np.dtype(spec.dtype) for spec in self._forward.inputs)
        logits = np.empty(0)
        for index, token in enumerate(ids):
            inputs = [np.array([[token]], dtype=tokens), np.array([position + index], dtype=at)]
            outputs = _named("forward", self._forward.outputs, self._executor.execute("forward", inputs))
            logits = outputs["logits"][0]
        return torch.from_numpy(logits.astype(np.float32))

    def reset(self) -> None:
        """Empties the state."""
        self._executor.reset_state()


def _named(method: str, specs: Sequence[TensorSpec], given: Sequence[Array]) -> dict[str, Array]:
    """A method's outputs by name.

    Raises:
        ValueError: another number of tensors, or another shape, than the manifest says.
    """
    if len(given) != len(specs):
        raise ValueError(f"{method} gave {len(given)} tensors; the manifest lists {len(specs)}")
    for spec, array in zip(specs, given, strict=True):
        if array.shape != spec.shape:
            raise ValueError(f"{method} gave {spec.name} of shape {list(array.shape)}, not {list(spec.shape)}")
    return {spec.name: array for spec, array in zip(specs, given, strict=True)}


def open_coreml_runner(package: Package, *, precision: Precision = "fp16") -> StaticRunner | StatefulRunner:
    """A runner of an opened CoreML package, over the verifier's execution of its program.

    Raises:
        ValueError: the package is for another kind of runner, or its program cannot be read.
        GateError: while it runs: a value too large for float16, or an operation that is not what it declares.
    """
    manifest = package.manifest
    if not is_coreml(manifest):
        raise ValueError(f"this package is for the target {manifest.target}; only CoreML packages run here")
    from export.mil.execute import MilExecutor

    executor = MilExecutor(package.path("program"), precision=precision)
    if manifest.runner.kind == "static-kv":
        return StaticRunner(executor, manifest, precision=precision)
    return StatefulRunner(executor, manifest)
