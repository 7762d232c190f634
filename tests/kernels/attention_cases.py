"""Cases of attention, their answer in float64 from the same integers, and ways to have our kernels compute them.

Shapes: B batch, T query tokens, S cache slots, H query heads, G key-value heads, D head width.
"""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kernels import calls
from kernels.calls import MODES, Calls

Mode = Literal["prefix", "causal", "mask"]


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """(codes - zeros) * scales; codes int8 [B, tokens, heads, D], the others [B, tokens, heads, 1]."""

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    zeros: NDArray[np.int8]

    def values(self) -> NDArray[np.float64]:
        return (self.codes.astype(np.float64) - self.zeros) * self.scales.astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One call of an attention kernel. q, k, v are float32 arrays or Quantized."""

    q: NDArray[np.float32] | Quantized  # [B, T, H, D]
    k: NDArray[np.float32] | Quantized  # [B, S, G, D]
    v: NDArray[np.float32] | Quantized
    mode: Mode
    start: int = 0
    mask: NDArray[np.float32] | None = None  # [T, S]
    heads_first: bool = False  # the arrays are handed over as [B, heads, tokens, D]
    scale: float

    @property
    def is_int8(self) -> bool:
        return isinstance(self.q, Quantized)

    def shape(self, which: str) -> tuple[int, ...]:
        array = getattr(self, which)
        return (array.codes if isinstance(array, Quantized) else array).shape

    def added(self) -> NDArray[np.float64]:
        """What is added to the scores, -inf where a row must not look: [T, S]."""
        tokens, slots = self.shape("q")[1], self.shape("k")[1]
        if self.mode == "mask":
            assert self.mask is not None
            return self.mask.astype(np.float64)
        last = self.start + (np.arange(tokens) if self.mode == "causal" else np.full(tokens, tokens - 1))
        return np.where(np.arange(slots) <= last[:, None], 0.0, -np.inf)


def values(array: NDArray[np.float32] | Quantized) -> NDArray[np.float64]:
    return array.values() if isinstance(array, Quantized) else array.astype(np.float64)


def reference(case: Case) -> NDArray[np.float64]:
    """The definition, in float64: [B, T, H, D]. Slots that no row sees are left out before anything is computed."""
    added = case.added()
    seen = np.flatnonzero((added > -np.inf).any(axis=0))
    q, k, v = values(case.q), values(case.k)[:, seen], values(case.v)[:, seen]
    group = q.shape[2] // k.shape[2]
    k, v = k.repeat(group, axis=2), v.repeat(group, axis=2)
    scores = np.einsum("bthd,bshd->bhts", q, k) * np.float64(np.float32(case.scale)) + added[:, seen]
    scores -= scores.max(axis=-1, keepdims=True)
    weights = np.exp(scores)
    return np.einsum("bhts,bshd->bthd", weights / weights.sum(axis=-1, keepdims=True), v)


def quantize(x: NDArray[np.float32]) -> Quantized:
    """Per (token, head), the range holds zero, as model/int8.py has it (up to rounding: any codes are fair here)."""
    low, high = np.minimum(x.min(-1, keepdims=True), 0), np.maximum(x.max(-1, keepdims=True), 0)
    scales = np.maximum((high - low) / 255, 6.1e-5).astype(np.float32)
    zeros = np.clip(np.round(-128 - low / scales), -128, 127)
    codes = np.clip(np.round(x / scales) + zeros, -128, 127)
    return Quantized(codes=codes.astype(np.int8), scales=scales, zeros=zeros.astype(np.int8))


def as_handed_over(case: Case) -> dict[str, NDArray[np.generic]]:
    """The contiguous arrays of a case by their names in `calls.Case`."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for which in ("q", "k", "v"):
        array = getattr(case, which)
        if isinstance(array, Quantized):
            arrays |= {which: array.codes, f"{which}_scales": array.scales, f"{which}_zeros": array.zeros}
        else:
            arrays[which] = array
    if case.heads_first:
        arrays = {name: array.transpose(0, 2, 1, 3) for name, array in arrays.items()}
    if case.mask is not None:
        arrays["mask"] = case.mask
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def numbers(case: Case, *, is_serial: bool) -> list[int]:
    """The numbers of `calls.Case`, in its order."""
    batch, tokens, heads, width = case.shape("q")
    slots, kv_heads = case.shape("k")[1:3]
    shape = [batch, tokens, slots, heads, kv_heads, width, case.start]
    return [*shape, MODES.index(case.mode), int(case.heads_first), int(case.is_int8), int(is_serial)]


def output(case: Case, flat: NDArray[np.float32]) -> NDArray[np.float32]:
    """[B, T, H, D] of what a kernel wrote."""
    batch, tokens, heads, width = case.shape("q")
    return (
        flat.reshape(batch, heads, tokens, width).swapaxes(1, 2) if case.heads_first else flat.reshape(case.shape("q"))
    )


class Library:
    """Our kernels' C interface in a shared library."""

    def __init__(self, path: Path) -> None:
        self._calls = Calls(path)

    def paths(self) -> list[str]:
        return self._calls.paths()

    def prepare(self, case: Case, *, is_serial: bool = False) -> tuple[calls.Case, NDArray[np.float32], object]:
        """The struct of a case, where its output will be, and what must be kept alive for it."""
        arrays = as_handed_over(case)
        out = np.full(int(np.prod(case.shape("q"))), np.nan, np.float32)
        struct = calls.Case(*numbers(case, is_serial=is_serial), scale=case.scale, out=out.ctypes.data)
        for name, array in arrays.items():
            setattr(struct, name, array.ctypes.data)
        return struct, out, arrays

    def attend(self, case: Case, isa: str = "", *, is_serial: bool = False) -> NDArray[np.float32]:
        struct, out, _kept = self.prepare(case, is_serial=is_serial)
        self._calls.attend(isa, struct)
        return output(case, out)


def relative_error(got: NDArray[np.float32], want: NDArray[np.float64]) -> float:
    """The largest difference, as a share of the output's largest magnitude; inf where there is a NaN."""
    worst = float(np.abs(got - want).max())
    return worst / float(np.abs(want).max()) if worst == worst else float("inf")


def random_case(
    seed: int,
    *,
    tokens: int,
    slots: int,
    heads: int,
    kv_heads: int,
    width: int,
    mode: Mode,
    start: int = 0,
    batch: int = 1,
    is_int8: bool = True,
    spread: float = 1.0,
    mean: float = 0.0,
    mask: NDArray[np.float32] | None = None,
) -> Case:
    """Normal numbers; `spread` widens the scores, `mean` shifts the values (and with them the zero points)."""
    rng = np.random.default_rng(seed)
    q = rng.standard_normal((batch, tokens, heads, width), np.float32) * np.float32(spread)
    k = rng.standard_normal((batch, slots, kv_heads, width), np.float32) * np.float32(1.5) + np.float32(mean / 2)
    v = rng.standard_normal((batch, slots, kv_heads, width), np.float32) + np.float32(mean)
    case = Case(q=q, k=k, v=v, mode=mode, start=start, mask=mask, scale=width**-0.5)
    return replace(case, q=quantize(q), k=quantize(k), v=quantize(v)) if is_int8 else case


class Driver:
    """Our kernels in a program of their own (tests/kernels/driver.cpp), one process for all cases.

    Args:
        command: how the program is started.
        environment: what its environment holds besides this process's.
    """

    def __init__(self, command: list[str], environment: dict[str, str] | None = None) -> None:
        self._command, self._environment = command, {**os.environ, **(environment or {})}
        self._process = self._start("run")

    def paths(self) -> list[str]:
        with self._start() as process:
            return process.communicate()[0].decode().split()

    def attend(self, case: Case, isa: str = "", *, is_serial: bool = False) -> NDArray[np.float32]:
        """Raises ValueError: the program ended; its last words are in the message."""
        process, out = self._process, np.empty(int(np.prod(case.shape("q"))), np.float32)
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        try:
            process.stdin.write(b"".join(self._message(case, isa, is_serial)))
            process.stdin.flush()
            answer = process.stdout.read(out.nbytes)
        except BrokenPipeError:
            answer = b""
        if len(answer) != out.nbytes:
            raise ValueError(process.communicate()[1].decode(errors="replace")[-3000:])
        return output(case, np.frombuffer(answer, np.float32))

    def close(self) -> None:
        self._process.communicate()

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [*self._command, *arguments], stdin=pipe, stdout=pipe, stderr=pipe, env=self._environment
        )

    def _message(self, case: Case, isa: str, is_serial: bool) -> Iterator[bytes]:
        yield np.array(numbers(case, is_serial=is_serial), np.int64).tobytes()
        yield np.float64(case.scale).tobytes()
        yield isa.encode().ljust(16, b"\0")
        arrays = as_handed_over(case)
        for which in ("q", "k", "v"):
            for name in (which, f"{which}_scales", f"{which}_zeros"):
                if name in arrays:
                    yield arrays[name].tobytes()
        if case.mode == "mask":
            yield arrays["mask"].tobytes()
