"""Runs a package's program in ExecuTorch's Python runtime, token ids in and out. The reference for every other runner.

The cache lives in the loaded program and lasts between calls; position 0 starts over without clearing it, because no
query ever sees a slot that was not written since.
"""

from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from chat.window import Context, context_end_sentence
from export.package import Package
from export.static_constants import check_runs_in_executorch
from kernels.load import Wanted, choose
from model.sampling import Sampler


def load_method(program_path: Path, *, kernels: Wanted | None = None) -> Any:
    """The `forward` of a `.pte`, mapped from the file.

    Args:
        kernels: what attention runs with, as in kernels/load.py; None: as the environment says.

    Raises:
        ValueError: the runtime refuses the file; the message carries the runtime's own.
        EnvironmentFault: our own kernels are wanted and cannot be built.
    """
    from executorch.runtime import Runtime

    from export.native_child import load_kernels

    load_kernels()
    choose(kernels)
    try:
        return Runtime.get().load_program(program_path).load_method("forward")
    except RuntimeError as error:
        raise ValueError(
            f"{program_path}: ExecuTorch cannot load it ({str(error).strip()}); export it again with this version"
        ) from None


class LogitsRunner(Protocol):
    """What measures a program needs of whatever runs it: `PteRunner`, or a runner of CoreML packages."""

    def logits(self, ids: Sequence[int], position: int) -> Tensor:
        """Writes the ids from `position` on and returns the last one's logits, float32 [V]."""

    def prefill(self, ids: Sequence[int], position: int) -> None:
        """Writes the ids to the cache."""


def stream_ids(
    next_id: Callable[[Sequence[int], int], int],
    prompt_ids: Sequence[int],
    position: int,
    max_new_tokens: int,
    *,
    context: Context,
    stop_ids: Container[int],
) -> Iterator[int]:
    """New ids, each computed when it is asked for, until a stop id or before a bounded context would be overrun.

    Args:
        next_id: writes ids from a position on and picks the one that follows.
    """
    pending, at = list(prompt_ids), position
    for index in range(max_new_tokens):
        if index and context.kind == "bounded" and at + 1 > context.tokens:
            return
        token = next_id(pending, at)
        at += len(pending)
        pending = [token]
        yield token
        if token in stop_ids:
            return


class PteRunner:
    """`chat.engine.IdRunner` over a program file.

    Args:
        program_path: a `.pte` of the `text-llm` kind.
        chunk: most tokens of one call.
        context: where a bounded program ends; an endless one has no end.
        stop_ids: `generate_ids` ends after one of them.
        kernels: see `load_method`.
    """

    def __init__(
        self,
        program_path: Path,
        *,
        chunk: int,
        context: Context,
        stop_ids: Sequence[int] = (),
        kernels: Wanted | None = None,
    ) -> None:
        self._method = load_method(program_path, kernels=kernels)
        self._chunk, self._context = chunk, context
        self._stop_ids = frozenset(stop_ids)

    def logits(self, ids: Sequence[int], position: int) -> Tensor:
        """Writes the ids from `position` on, in chunks, and returns the last one's logits, float32 [V].

        Raises:
            ValueError: no ids, or a bounded context ends before they are written; nothing is written then.
        """
        if not ids:
            raise ValueError("there is nothing to run: no token ids were given")
        if self._context.kind == "bounded" and position + len(ids) > self._context.tokens:
            raise ValueError(context_end_sentence(self._context))
        logits = torch.empty(0)
        for start in range(0, len(ids), self._chunk):
            tokens = torch.tensor([list(ids[start : start + self._chunk])], dtype=torch.int64)
            logits = self._method.execute((tokens, torch.tensor([position + start], dtype=torch.int64)))[0]
        return logits[0]

    def prefill(self, ids: Sequence[int], position: int) -> None:
        """Writes the ids to the cache; see `logits`."""
        self.logits(ids, position)

    def generate_ids(
        self, prompt_ids: Sequence[int], position: int, max_new_tokens: int, sampler: Sampler
    ) -> Iterator[int]:
        """Writes the prompt and yields new ids, each computed when it is asked for; ends after a stop id.

        A bounded context ends the stream, without an error, before a token that would not fit.

        Raises:
            ValueError: see `logits`.
        """
        return stream_ids(
            lambda ids, at: sampler.pick(self.logits(ids, at)),
            prompt_ids,
            position,
            max_new_tokens,
            context=self._context,
            stop_ids=self._stop_ids,
        )

    def reset(self) -> None:
        """Nothing to clear: see above. The caller goes on at position 0."""


def open_runner(package: Package) -> PteRunner:
    """A runner of an opened package.

    Raises:
        ValueError: the package is for another kind of runner.
    """
    manifest = package.manifest
    check_runs_in_executorch(manifest)
    context = Context(kind=manifest.context.kind, tokens=manifest.context.tokens)
    return PteRunner(
        package.path("program"), chunk=manifest.chunk, context=context, stop_ids=manifest.tokenizer.stop_ids
    )
