"""What a bench found, for programs and people: speeds with their spread, and each beside what the machine can do."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from runner.traffic import Traffic

_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Median and quartiles of some repeats."""

    median: float
    low: float  # first quartile
    high: float  # third quartile

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        if len(values) == 1:
            return cls(median=values[0], low=values[0], high=values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median=median, low=low, high=high)

    def to_json(self) -> dict[str, float]:
        return {"median": self.median, "q1": self.low, "q3": self.high}

    def text(self, places: int = 1) -> str:
        if self.low == self.high:
            return f"{self.median:,.{places}f}"
        return f"{self.median:,.{places}f} ({self.low:,.{places}f} to {self.high:,.{places}f})"


@dataclass(frozen=True, kw_only=True)
class Speed:
    """One kind of work at one depth: every repeat, and what the machine could do of it."""

    kind: Literal["prefill", "decode"]
    depth: int
    tokens: int
    ms: tuple[float, ...]
    work: float  # decode: bytes read a token; prefill: integer operations a token
    ceiling: float  # as many a second: bandwidth in bytes, or the integer peak

    @property
    def tokens_per_s(self) -> Spread:
        return Spread.of([1000 * self.tokens / ms for ms in self.ms])

    @property
    def share(self) -> float:
        """Of the ceiling, at the median."""
        return self.work * self.tokens_per_s.median / self.ceiling

    def to_json(self) -> dict[str, Any]:
        names = {
            "decode": ("bytes_per_token", "share_of_bandwidth"),
            "prefill": ("operations_per_token", "share_of_int8_peak"),
        }
        work, share = names[self.kind]
        return {
            "depth": self.depth,
            "tokens": self.tokens,
            "ms": list(self.ms),
            "tokens_per_s": self.tokens_per_s.to_json(),
            work: self.work,
            share: self.share,
        }


@dataclass(frozen=True, kw_only=True)
class Series:
    """What one number of threads gave."""

    threads: int
    first_token_ms: tuple[float, ...]  # of a prompt of the prefill's length at depth 0; empty without a prefill
    bandwidth_gb_s: tuple[float, ...]
    int8_peak_gops: tuple[float, ...]
    speeds: tuple[Speed, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "threads": self.threads,
            "first_token_ms": list(self.first_token_ms),
            "bandwidth_gb_s": {"repeats": list(self.bandwidth_gb_s), **Spread.of(self.bandwidth_gb_s).to_json()},
            "int8_peak_gops": {"repeats": list(self.int8_peak_gops), **Spread.of(self.int8_peak_gops).to_json()},
            "prefill": [speed.to_json() for speed in self.speeds if speed.kind == "prefill"],
            "decode": [speed.to_json() for speed in self.speeds if speed.kind == "decode"],
        }


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """The whole answer; `runner`, `load_ms` and `memory` are the native runner's own words."""

    package: str
    sha256: str
    program_bytes: int
    context: str  # "endless context of 8,192 tokens"
    chunk: int
    machine: Mapping[str, Any]
    runner: Mapping[str, Any]
    weights_cache: str
    load_ms: Mapping[str, float]
    memory: Mapping[str, Any]
    matrix_bytes: int
    series: tuple[Series, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "package": self.package,
            "sha256": self.sha256,
            "program_bytes": self.program_bytes,
            "context": self.context,
            "chunk": self.chunk,
            "machine": dict(self.machine),
            "runner": dict(self.runner),
            "weights_cache": self.weights_cache,
            "load_ms": dict(self.load_ms),
            "memory": dict(self.memory),
            "matrix_bytes": self.matrix_bytes,
            "results": [series.to_json() for series in self.series],
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        load, memory = self.load_ms, self.memory
        machine = f"{self.machine.get('processor', 'unknown processor')}, {self.machine.get('cores', '?')} cores"
        lines = [
            f"{self.package}: {_mib(self.program_bytes)} of program, {self.context}, chunk {self.chunk}",
            f"  {self.runner['kernels']}; ExecuTorch {self.runner['executorch']}; {machine}",
            f"  load: {load['map']:.1f} ms to map, {load['method']:.0f} ms for the method, {load['first_call']:.0f} ms "
            f"for the first call{_CACHE_WORDS[self.weights_cache]}",
            f"  memory: {_mib(memory['steady_bytes'])} steady ({_mib(memory['anonymous_bytes'])} its own, "
            f"{_mib(memory['file_bytes'])} of mapped files), {_mib(memory['peak_bytes'])} at its peak; "
            f"{_mib(memory['large_page_bytes'])} in large pages",
        ]
        for series in self.series:
            lines += ["", *_series_lines(series)]
        return [*lines, *(f"note: {note}" for note in self.notes)]


_CACHE_WORDS = {
    "none": "",
    "made": "; packed weights written to the weights cache",
    "mapped": "; packed weights mapped from the weights cache",
}


def read_result(found: Any, traffic: Traffic, **facts: Any) -> BenchResult:
    """The native runner's JSON beside what the package costs.

    Args:
        facts: the fields of `BenchResult` that the runner does not know.

    Raises:
        ValueError: a part of the JSON is missing or of another kind.
    """
    try:
        return BenchResult(
            runner=found["runner"],
            weights_cache=found.get("weights_cache", "none"),
            load_ms={name: float(found["load_ms"][name]) for name in ("map", "method", "first_call")},
            memory=found["memory"],
            matrix_bytes=traffic.matrix_bytes,
            series=tuple(_read_series(one, traffic) for one in found["results"]),
            **facts,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"the native runner's answer has no {error}; runner and pocketlm are of different versions: build it again"
        ) from None


def _read_series(found: Mapping[str, Any], traffic: Traffic) -> Series:
    bandwidth = tuple(float(value) for value in found["bandwidth_gb_s"])
    peak = tuple(float(value) for value in found["int8_peak_gops"])
    speeds = []
    for kind, ceilings in (("prefill", peak), ("decode", bandwidth)):
        for row in found[kind]:
            depth, tokens = int(row["depth"]), int(row["tokens"])
            decode = kind == "decode"
            work = traffic.decode_bytes(depth, tokens) if decode else traffic.prefill_operations(tokens) / tokens
            speeds.append(
                Speed(
                    kind="decode" if decode else "prefill",
                    depth=depth,
                    tokens=tokens,
                    ms=tuple(float(ms) for ms in row["ms"]),
                    work=work,
                    ceiling=1e9 * Spread.of(ceilings).median,
                )
            )
    return Series(
        threads=int(found["threads"]),
        first_token_ms=tuple(float(value) for value in found["first_token_ms"]),
        bandwidth_gb_s=bandwidth,
        int8_peak_gops=peak,
        speeds=tuple(speeds),
    )


def _series_lines(series: Series) -> list[str]:
    first = f", first token after {Spread.of(series.first_token_ms).text(0)} ms" if series.first_token_ms else ""
    lines = [
        f"{series.threads} thread{'s' * (series.threads != 1)}{first}; this machine reads "
        f"{Spread.of(series.bandwidth_gb_s).median:.1f} GB/s and does "
        f"{Spread.of(series.int8_peak_gops).median:,.0f} Gop/s in 8 bits",
        f"  {'':<8}{'depth':>8}{'tokens':>8}  {'tokens/s, median (quartiles)':<32}{'a token':>18}  of the machine's",
    ]
    for speed in series.speeds:
        decode = speed.kind == "decode"
        work = f"reads {speed.work / _MIB:.1f} MiB" if decode else f"takes {speed.work / 1e9:.2f} Gop"
        limit = "bandwidth" if decode else "integer peak"
        lines.append(
            f"  {speed.kind:<8}{speed.depth:>8,}{speed.tokens:>8,}  {speed.tokens_per_s.text():<32}{work:>18}  "
            f"{100 * speed.share:.0f} % of {limit}"
        )
    return lines


def _mib(num_bytes: float) -> str:
    return f"{num_bytes / _MIB:.1f} MiB"
