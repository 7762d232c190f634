"""Does an endless chat stay what it was? Memory and speed of one package over hundreds of thousands of tokens.

    python -m benchmarks.endless PACKAGE -n 200000 --every 20000 -o benchmarks/results/DATE-endless.json

Text goes in by whole chunks; at each reading some tokens go in one by one as well, as a reply does. The slope of the
resident memory is of the readings after the first, when the program has touched all that it ever touches.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import torch
from torch import Tensor

from export.package import open_package
from export.runner import PteRunner, open_runner
from kernels.load import in_use
from runner.machine import describe_machine

_REPLY = 64  # tokens that go in one by one at a reading
_PAGE = 4096


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What was seen after so many tokens."""

    tokens: int
    resident_bytes: int
    prefill_tokens_per_s: float  # since the reading before
    decode_tokens_per_s: float  # at this position


def feed(runner: PteRunner, ids: Sequence[int], chunk: int, *, start: int = 0) -> Iterator[tuple[int, Tensor]]:
    """Writes the ids from position `start` on; yields the position of each call's last token, and its logits."""
    for at in range(0, len(ids), chunk):
        part = ids[at : at + chunk]
        yield start + at + len(part) - 1, runner.logits(part, start + at)


def resident_bytes() -> int:
    """Memory of this process that lies in RAM (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def slope(readings: Sequence[Reading]) -> float:
    """Bytes a token by which resident memory grows, by least squares."""
    return statistics.linear_regression(
        [reading.tokens for reading in readings], [reading.resident_bytes for reading in readings]
    ).slope


def measure(path: Path, *, tokens: int, every: int) -> dict[str, object]:
    """Feeds random tokens and reads memory and speed after each `every` of them."""
    with open_package(path) as package:
        runner, manifest = open_runner(package), package.manifest
    generator = torch.Generator().manual_seed(0)
    at, readings = 0, []
    while at < tokens:
        ids = torch.randint(0, manifest.model.config.vocab_size, (every,), generator=generator).tolist()
        started = time.perf_counter()
        for _ in feed(runner, ids[:-_REPLY], manifest.chunk, start=at):
            pass
        filled = time.perf_counter()
        for _ in feed(runner, ids[-_REPLY:], 1, start=at + every - _REPLY):
            pass
        ended = time.perf_counter()
        at += every
        readings.append(
            Reading(
                tokens=at,
                resident_bytes=resident_bytes(),
                prefill_tokens_per_s=round((every - _REPLY) / (filled - started), 1),
                decode_tokens_per_s=round(_REPLY / (ended - filled), 1),
            )
        )
        print(json.dumps(asdict(readings[-1])), flush=True)
    later = readings[1:]
    return {
        "context": {"kind": manifest.context.kind, "tokens": manifest.context.tokens},
        "chunk": manifest.chunk,
        "preset": manifest.model.preset,
        "recipe": manifest.recipe.name,
        "kernels": in_use(),
        "readings": [asdict(reading) for reading in readings],
        "resident_bytes_a_token": round(slope(later), 4),
        "resident_bytes_spread": max(r.resident_bytes for r in later) - min(r.resident_bytes for r in later),
        "last_to_first_prefill": round(later[-1].prefill_tokens_per_s / later[0].prefill_tokens_per_s, 3),
        "last_to_first_decode": round(later[-1].decode_tokens_per_s / later[0].decode_tokens_per_s, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, metavar="PACKAGE")
    parser.add_argument("-n", dest="tokens", type=int, default=200_000)
    parser.add_argument("--every", type=int, default=20_000, help="tokens between two readings")
    parser.add_argument("-o", dest="output", type=Path, help="also write the result here")
    given = parser.parse_args()
    result: dict[str, object] = {
        "benchmark": "endless",
        "date": date.today().isoformat(),
        "machine": describe_machine(),
        "command": f"python -m benchmarks.endless PACKAGE -n {given.tokens} --every {given.every}",
    }
    result |= measure(given.package, tokens=given.tokens, every=given.every)
    text = json.dumps(result, indent=2) + "\n"
    print(text, end="")
    if given.output is not None:
        given.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
