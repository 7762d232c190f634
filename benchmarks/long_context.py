"""Does a bounded package hold to its last position? Loads it, writes a few chunks here and there, decodes at the end.

    python -m benchmarks.long_context PACKAGE -o benchmarks/results/DATE-long-context.json

The fill is sparse: what was never written are zeros, which a query of the last positions attends to like all else, so
the time is that of a full context. The logits say only that the arithmetic stays finite; tests/export/test_long_context
holds a small package of the same length against the definition.
"""

import argparse
import json
import statistics
import time
from datetime import date
from pathlib import Path

import torch

from benchmarks.endless import resident_bytes
from export.package import open_package
from export.pte import read_pte
from export.runner import open_runner
from kernels.load import in_use
from runner.machine import describe_machine

_DECODED = 16  # tokens, up to the last position


def measure(path: Path) -> dict[str, object]:
    """Loads, fills and decodes.

    Raises:
        ValueError: an endless package, or the program's numbers are not finite.
    """
    with open_package(path) as package:
        manifest, program = package.manifest, package.path("program")
        if manifest.context.kind != "bounded":
            raise ValueError(f"{path} is endless; export it with --bounded")
        method = read_pte(program).method()
        before, started = resident_bytes(), time.perf_counter()
        runner = open_runner(package)
        loaded = time.perf_counter() - started
    end, chunk = manifest.context.tokens, manifest.chunk
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, manifest.model.config.vocab_size, (chunk,), generator=generator).tolist()
    prefill: dict[int, float] = {}
    for start in (0, end // 2, end - chunk - _DECODED):
        started = time.perf_counter()
        runner.logits(ids, start)
        prefill[start] = round(1000 * (time.perf_counter() - started), 1)
    steps = []
    for position in range(end - _DECODED, end):
        started = time.perf_counter()
        logits = runner.logits(ids[:1], position)
        steps.append(1000 * (time.perf_counter() - started))
        if not bool(torch.isfinite(logits).all()):
            raise ValueError(f"the logits at position {position} are not finite")
    planned = sum(method.buffer_sizes)
    return {
        "preset": manifest.model.preset,
        "context": end,
        "chunk": chunk,
        "kernels": in_use(),
        "program_bytes": manifest.memory.program_bytes,
        "cache_bytes": manifest.cache.bytes,
        "planned_bytes": planned,
        "planned_besides_caches": planned - method.planned_mutable_bytes,
        "load_seconds": round(loaded, 2),
        "chunk_ms_at": {str(start): ms for start, ms in prefill.items()},
        "last_position_decoded": end - 1,
        "decode_ms_at_the_end": {"median": round(statistics.median(steps), 1), "best": round(min(steps), 1)},
        "resident_bytes_added": resident_bytes() - before,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, metavar="PACKAGE")
    parser.add_argument("-o", dest="output", type=Path, help="also write the result here")
    given = parser.parse_args()
    result: dict[str, object] = {
        "benchmark": "long_context",
        "date": date.today().isoformat(),
        "machine": describe_machine(),
        "command": "python -m benchmarks.long_context PACKAGE",
    }
    result |= measure(given.package)
    text = json.dumps(result, indent=2) + "\n"
    print(text, end="")
    if given.output is not None:
        given.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
