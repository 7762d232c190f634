"""The measurement: every peer in turn within each repeat, so that what the machine does meanwhile meets all alike.

Prefill runs a prompt from position 0. Decode fills the cache to its depth once and then runs the SAME position again
and again, so the depth stays what it is. Filling is not timed: two processes with one thread fill at the same time, and
llama.cpp's filled cache is kept in a file for the next run.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.processes import Lane

SETTLE = 0.05  # seconds: pools of threads wait actively for a while (benchmarks/peers/pte_engine.py, `rest`)
WARM_UP = 64  # tokens
SHORT = 512  # tokens; a longer prompt is repeated less often, in proportion, but twice at least


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured; see `python -m benchmarks.peers run --help`."""

    threads: tuple[int, ...]
    depths: tuple[int, ...]  # positions in the cache before a decoded token
    prefill: tuple[int, ...]  # tokens of a prompt
    tokens: int  # decoded in one timing
    repeats: int


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One column of the table."""

    what: str  # "prefill" or "decode"
    size: int  # tokens of the prompt, or depth
    threads: int


Samples = dict[tuple[str, Measure], list[float]]  # (name of the peer, measure) -> tokens a second of each repeat


def repeats_of(length: int, repeats: int) -> int:
    """How often a prompt of that length is timed."""
    return repeats if length <= SHORT else max(min(2, repeats), repeats * SHORT // length)


def turns(lanes: Sequence[Lane], repeat: int) -> Iterator[Lane]:
    """All lanes, when the one before has come to rest; each repeat begins with another one."""
    for turn in range(len(lanes)):
        time.sleep(SETTLE)
        yield lanes[(repeat + turn) % len(lanes)]


def measure(lanes: Sequence[Lane], plan: Plan, folder: Path, say: Callable[[str], None]) -> Samples:
    """All samples.

    Args:
        folder: where llama.cpp's filled caches are kept.
    """
    samples: Samples = {}
    for lane in lanes:
        lane.write(WARM_UP, 0)
        lane.decode(2, WARM_UP)
    for length in plan.prefill:
        say(f"prefill of {length}")
        _prefill(lanes, plan, length, samples)
    reached = 0
    for depth in sorted(plan.depths):
        here = [lane for lane in lanes if depth <= lane.peer.deepest]
        say(f"filling to {depth}")
        _fill(here, reached, depth, folder)
        say(f"decode at {depth}")
        _decode(here, plan, depth, samples)
        reached = depth
    return samples


def _prefill(lanes: Sequence[Lane], plan: Plan, length: int, samples: Samples) -> None:
    here = [lane for lane in lanes if length <= lane.peer.longest]
    for repeat in range(repeats_of(length, plan.repeats)):
        for lane in turns(here, repeat):
            seconds = lane.write(length, 0)
            key = (lane.peer.name, Measure(what="prefill", size=length, threads=lane.threads))
            samples.setdefault(key, []).append(length / seconds)


def _decode(lanes: Sequence[Lane], plan: Plan, depth: int, samples: Samples) -> None:
    for lane in lanes:
        lane.decode(2, depth)
    for repeat in range(plan.repeats):
        for lane in turns(lanes, repeat):
            seconds = lane.decode(plan.tokens, depth)
            key = (lane.peer.name, Measure(what="decode", size=depth, threads=lane.threads))
            samples.setdefault(key, []).append(plan.tokens / seconds)


def _fill(lanes: Sequence[Lane], reached: int, depth: int, folder: Path) -> None:
    """Takes every process from one depth to the next, with the most threads that it has."""
    most: dict[int, Lane] = {}
    for lane in lanes:
        known = most.get(id(lane.talk), lane)
        most[id(lane.talk)] = lane if lane.threads >= known.threads else known
    single = [lane for lane in most.values() if lane.threads == 1]
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        list(pool.map(lambda lane: fill(lane, reached, depth, folder), single))
    for lane in most.values():
        if lane not in single:
            fill(lane, reached, depth, folder)


def fill(lane: Lane, reached: int, depth: int, folder: Path) -> None:
    """Takes one process from one depth to the next; llama.cpp's cache comes from a file where one is kept."""
    if lane.peer.kind != "llama.cpp":
        lane.write(depth - reached, reached)
        return
    kept = folder / f"cache-{lane.peer.name}-{depth}.bin"
    if kept.exists():
        lane.talk.ask(do="restore", path=str(kept))
        return
    lane.write(depth - reached, reached)
    partial = kept.with_name(f".{kept.name}.partial")
    lane.talk.ask(do="save", path=str(partial))
    partial.replace(kept)


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """How many times faster the first is: the median of the rounds' own ratios.

    Raises:
        ValueError: not as many rounds of one as of the other.
    """
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
