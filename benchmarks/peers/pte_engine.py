"""A `.pte` in ExecuTorch's Python runtime, timed: ours or export_llm's, with stock kernels or our own."""

import time
from pathlib import Path
from typing import Any, Literal

import torch


class PteEngine:
    """One loaded `forward(tokens [1, T], position [1])`; `benchmarks.peers.worker.Engine`.

    Args:
        model: the program.
        threads: of ExecuTorch's pool and of torch's own, which the stock attention kernels use; for good, because
            XNNPACK's delegates keep the pool that they were made with.
        kernels: `own` or `stock`.
        chunk: most tokens of one call.
    """

    def __init__(self, model: Path, *, threads: int, kernels: Literal["own", "stock"], chunk: int) -> None:
        from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool

        from export.runner import load_method
        from kernels.load import in_use

        torch.set_num_threads(threads)
        _unsafe_reset_threadpool(threads)
        self._threads, self._chunk = threads, chunk
        self._method = load_method(model, kernels=kernels)
        self._kernels = in_use()

    def set_threads(self, threads: int) -> None:
        """Nothing to do: see above."""
        if threads != self._threads:
            raise ValueError(f"this process was loaded for {self._threads} threads; {threads} need another one")

    def rest(self) -> None:
        """XNNPACK's pool sleeps of itself, after about 20 ms (pthreadpool, a million rounds of waiting)."""

    def write(self, tokens: list[int], position: int) -> float:
        """Runs the tokens from `position` on, in chunks, and returns the seconds."""
        started = time.perf_counter()
        for start in range(0, len(tokens), self._chunk):
            ids = torch.tensor([tokens[start : start + self._chunk]], dtype=torch.int64)
            self._method.execute((ids, torch.tensor([position + start], dtype=torch.int64)))
        return time.perf_counter() - started

    def decode(self, token: int, position: int, count: int) -> float:
        """Runs the token at `position` that many times and returns the seconds."""
        return sum(self.write([token], position) for _ in range(count))

    def save(self, path: Path) -> None:
        """Its cache lies in planned memory, out of reach."""
        raise ValueError(f"a program's cache cannot be written to {path}")

    def restore(self, path: Path) -> None:
        """See `save`."""
        raise ValueError(f"a program's cache cannot be read from {path}")

    def facts(self) -> dict[str, Any]:
        """Which kernels run, and the most tokens of a call."""
        return {"kernels": self._kernels, "chunk": self._chunk}
