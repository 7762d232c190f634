"""What was measured, as data and as a table for people."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.peers.catalogue import OURS, PYTHON, Peer
from benchmarks.peers.measure import Measure, Samples, median_ratio

BESIDE = (OURS, PYTHON)  # of ours, whom a peer is compared with


def rows(samples: Samples) -> list[dict[str, Any]]:
    """One record for each peer and measure: median, all repeats, and how many times faster ours are."""
    found = []
    for (name, measure), rates in samples.items():
        row: dict[str, Any] = {
            "peer": name,
            measure.what: measure.size,
            "threads": measure.threads,
            "tokens_per_s": round(statistics.median(rates), 2),
            "repeats": [round(rate, 2) for rate in rates],
        }
        for own in BESIDE:
            if (own, measure) in samples and name not in BESIDE:
                row[f"{own}_times_faster"] = round(median_ratio(samples[own, measure], rates), 3)
        found.append(row)
    return found


def table(samples: Samples, peers: Sequence[Peer], own: str = OURS) -> str:
    """Medians in tokens a second of what `own` was timed in, and in brackets how many times faster it is; Markdown."""
    measures = sorted(
        {measure for name, measure in samples if name == own}, key=lambda m: (m.threads, m.what != "prefill", m.size)
    )
    heads = [f"{m.what} {'' if m.what == 'prefill' else 'at '}{m.size}, {m.threads} thr." for m in measures]
    lines = [f"| tokens/s | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for peer in peers:
        cells = [_cell(samples, peer.name, measure, own) for measure in measures]
        lines.append(f"| {peer.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(samples: Samples, name: str, measure: Measure, own: str) -> str:
    rates = samples.get((name, measure))
    if rates is None:
        return "–"
    median = f"{statistics.median(rates):.1f}"
    if name in BESIDE or (own, measure) not in samples:
        return median
    return f"{median} ({median_ratio(samples[own, measure], rates):.2f}x)"


def footprints(peers: Mapping[str, Any]) -> str:
    """The files in MB, how large ours is beside each, and each process's memory at the end; `peers` is the result's.

    A Python process holds torch besides, and one of llama.cpp serves every number of threads.
    """
    lines = [
        "| | file, MB | ours beside it | resident, MiB | of it anonymous | peak |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for peer in peers.values():
        size, memory = peer["file_bytes"], next(iter(peer["memory_mib"].values()))
        beside = peers[OURS]["file_bytes"] / size
        cells = [f"{size / 1e6:.1f}", f"{beside:.3f}", *(str(memory[key]) for key in ("resident", "anonymous", "peak"))]
        lines.append(f"| {peer['title']} | {' | '.join(cells)} |")
    return "\n".join(lines)
