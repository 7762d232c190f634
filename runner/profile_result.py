"""Where the time of a call goes: by operator and by layer, for people and programs. The parts add up to the whole."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.etdump import Call
from runner.profile_places import GROUPS, Place

BETWEEN = "between instructions"
OUTSIDE = "outside of the program"
_MS = 1e6  # nanoseconds
_MOST_ROWS = 14  # operators that people see; the rest are one row
_MOST_INSIDE = 6
_NOISE = 0.05  # faster with a trace than without by more than this: the machine's load has changed


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One operator within one stage, over all calls of a phase."""

    stage: str
    operator: str
    group: str
    ns: int
    runs: int


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Prefill or decode: `calls` calls of the program that wrote `tokens` tokens from `start` on."""

    name: str
    start: int
    tokens: int
    calls: int
    wall_ns: int  # of the calls with what the runner does around them: choosing ids, handing them over
    program_ns: int  # of the calls inside of the runtime, by its clock
    cells: tuple[Cell, ...]
    inside: Mapping[str, int]  # operators inside of delegates: nanoseconds, each rounded down to a microsecond
    plain_ms: float | None  # the same work without a trace, median

    @property
    def remainders(self) -> dict[str, int]:
        """Nanoseconds of the program outside of any instruction, and of the runner outside of the program."""
        between = self.program_ns - sum(cell.ns for cell in self.cells)
        return {BETWEEN: between, OUTSIDE: self.wall_ns - self.program_ns}

    @property
    def delegates_ns(self) -> int:
        return sum(cell.ns for cell in self.cells if cell.group in ("matrices", "elementwise"))

    def by_operator(self) -> list[tuple[str, int, int]]:
        """Operator, nanoseconds, runs; the longest first, what is outside of operators last. The sum is the wall's."""
        time: Counter[str] = Counter()
        runs: Counter[str] = Counter()
        for cell in self.cells:
            time[cell.operator] += cell.ns
            runs[cell.operator] += cell.runs
        rows = [(name, time[name], runs[name]) for name in sorted(time, key=lambda n: (-time[n], n))]
        return rows + [(name, ns, 0) for name, ns in self.remainders.items()]

    def by_stage(self, order: Sequence[str]) -> list[tuple[str, int, dict[str, int]]]:
        """Stage, nanoseconds, and those by group, in the order of the model; what is outside of operators last."""
        groups: dict[str, dict[str, int]] = {stage: dict.fromkeys(GROUPS, 0) for stage in order}
        for cell in self.cells:
            groups[cell.stage][cell.group] += cell.ns
        rows = [(stage, sum(groups[stage].values()), groups[stage]) for stage in order]
        return rows + [(name, ns, {}) for name, ns in self.remainders.items()]

    def overhead(self) -> float | None:
        """What tracing cost, as a share of the time without it; None where that is unknown."""
        return self.wall_ns / _MS / self.plain_ms - 1 if self.plain_ms else None

    def to_json(self, order: Sequence[str]) -> dict[str, Any]:
        return {
            "name": self.name,
            "start": self.start,
            "tokens": self.tokens,
            "calls": self.calls,
            "wall_ms": self.wall_ns / _MS,
            "program_ms": self.program_ns / _MS,
            "plain_ms": self.plain_ms,
            "tracing_overhead": self.overhead(),
            "operators": [{"name": n, "ms": ns / _MS, "runs": runs} for n, ns, runs in self.by_operator()],
            "stages": [
                {"name": n, "ms": ns / _MS, "groups_ms": {g: value / _MS for g, value in groups.items()}}
                for n, ns, groups in self.by_stage(order)
            ],
            "cells": [dataclasses.asdict(cell) for cell in self.cells],
            "inside_delegates_ms": {name: ns / _MS for name, ns in self.inside.items()},
            "delegates_ms": self.delegates_ns / _MS,
        }


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The whole answer."""

    package: str
    sha256: str
    threads: int
    runner: Mapping[str, Any]  # as the runner names itself: version, executorch, kernels
    machine: Mapping[str, Any]
    stages: tuple[str, ...]
    phases: tuple[Phase, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "package": self.package,
            "sha256": self.sha256,
            "threads": self.threads,
            "runner": dict(self.runner),
            "machine": dict(self.machine),
            "phases": [phase.to_json(self.stages) for phase in self.phases],
        }

    def lines(self) -> list[str]:
        threads = f"{self.threads} thread{'s' * (self.threads != 1)}"
        found = [f"{self.package}: {self.runner.get('kernels', 'unknown kernels')}, {threads}"]
        for phase in self.phases:
            found += ["", *_phase_lines(phase, self.stages)]
        return found


def sum_up(calls: Iterable[Call], places: Sequence[Place]) -> tuple[int, tuple[Cell, ...], dict[str, int]]:
    """Nanoseconds of the calls, cells and delegates' operators of some calls.

    Args:
        places: of every instruction of the program.

    Raises:
        ValueError: the trace names an instruction that the program does not have.
    """
    total = 0
    time: Counter[Place] = Counter()
    runs: Counter[Place] = Counter()
    inside: Counter[str] = Counter()
    for call in calls:
        total += call.time.ns
        for step in call.steps:
            if step.instruction >= len(places):
                raise ValueError(
                    f"the trace names instruction {step.instruction}, the program has {len(places)}: the trace is of "
                    "another program; profile again"
                )
            place = places[step.instruction]
            time[place] += step.time.ns
            runs[place] += 1
            for name, ns in step.inside:
                inside[name.rpartition(" #")[0] or name] += ns
    cells = tuple(
        Cell(stage=place.stage, operator=place.operator, group=place.group, ns=ns, runs=runs[place])
        for place, ns in time.items()
    )
    return total, cells, dict(sorted(inside.items(), key=lambda item: (-item[1], item[0])))


def describe(phase: Phase) -> str:
    """What was run, in a sentence without its time."""
    tokens = f"{phase.tokens:,} token{'s' * (phase.tokens != 1)}"
    return f"{phase.name}: {tokens} from position {phase.start:,} in {phase.calls:,} call{'s' * (phase.calls != 1)}"


def overhead_sentence(phase: Phase) -> str:
    """What tracing cost."""
    share = phase.overhead()
    if share is None or phase.plain_ms is None:
        return "not compared with a run without tracing"
    if share < -_NOISE:
        return (
            f"{phase.plain_ms:.1f} ms without tracing, later, when the machine was busier: what tracing cost is unknown"
        )
    return f"{phase.plain_ms:.1f} ms without tracing ({100 * share:+.1f} % with it)"


def inside_sentence(phase: Phase) -> str:
    """How much of the delegates' time their own clock names; it counts whole microseconds an operator."""
    if not phase.inside:
        return "this XNNPACK was built without profiling: what happens inside of its delegates is not told apart"
    share = 100 * sum(phase.inside.values()) / max(1, phase.delegates_ns)
    return f"XNNPACK's own clock, whole microseconds an operator, names {share:.0f} % of its delegates' time"


def _phase_lines(phase: Phase, order: Sequence[str]) -> list[str]:
    total = max(1, phase.wall_ns)
    rows, rest = phase.by_operator(), len(phase.remainders)
    shown, others = rows[:-rest][:_MOST_ROWS], rows[:-rest][_MOST_ROWS:]
    if others:
        shown.append((f"{len(others)} others", sum(row[1] for row in others), sum(row[2] for row in others)))
    lines = [f"{describe(phase)}: {phase.wall_ns / _MS:.2f} ms; {overhead_sentence(phase)}"]
    lines.append(f"  {'operator':<58}{'ms':>10}{'share':>8}{'runs':>8}")
    for name, ns, runs in [*shown, *rows[-rest:]]:
        lines.append(f"  {name:<58}{ns / _MS:10.3f}{100 * ns / total:7.1f}%{runs or '':>8}")
    lines.append(f"  {'layer':<24}" + "".join(f"{group:>13}" for group in GROUPS) + f"{'ms':>11}{'share':>8}")
    for name, ns, groups in phase.by_stage(order):
        cells = "".join(f"{groups[group] / _MS:13.3f}" for group in GROUPS) if groups else " " * 13 * len(GROUPS)
        lines.append(f"  {name:<24}{cells}{ns / _MS:11.3f}{100 * ns / total:7.1f}%")
    lines.append(f"  inside of delegates: {inside_sentence(phase)}")
    for name, ns in list(phase.inside.items())[:_MOST_INSIDE]:
        lines.append(f"  {name:<58}{ns / _MS:10.3f}{100 * ns / total:7.1f}%")
    return lines
