"""Does a short chat pay for a long context? Decode speed at one depth in packages that differ only in N.

    python -m benchmarks.decode_depth short=PACKAGE long=PACKAGE --depth 100 -n 200 -r 7

Alternates between the packages in one run and reports medians and their ratio: the machine is shared and noisy.
"""

import argparse
import json
import statistics
import time
from datetime import date
from pathlib import Path

from chat.window import Context
from export.package import open_package
from export.runner import PteRunner, open_runner
from runner.machine import describe_machine


def measure(packages: dict[str, Path], *, depth: int, tokens: int, repeats: int) -> dict[str, object]:
    """Tokens a second of each package, alternating, and each median's ratio to the first's."""
    runners: dict[str, PteRunner] = {}
    contexts: dict[str, Context] = {}
    for name, path in packages.items():
        with open_package(path) as package:
            runners[name], contexts[name] = open_runner(package), package.manifest.context
    rates: dict[str, list[float]] = {name: [] for name in runners}
    prompt = [1 + i % 200 for i in range(depth)]
    for repeat in range(repeats + 1):
        for name, runner in runners.items():
            runner.logits(prompt, 0)
            started = time.perf_counter()
            for _ in range(tokens):
                runner.logits([1], depth)  # the same position again: the depth stays what it is
            if repeat:  # the first round warms up
                rates[name].append(tokens / (time.perf_counter() - started))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    first = next(iter(medians.values()))
    return {
        "depth": depth,
        "tokens": tokens,
        "repeats": repeats,
        "packages": {
            name: {
                "context": contexts[name].tokens,
                "tokens_per_s": round(median, 1),
                "quartiles": [round(rate, 1) for rate in statistics.quantiles(rates[name], n=4)],
                "ratio_to_first": round(median / first, 3),
            }
            for name, median in medians.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="+", metavar="NAME=PACKAGE")
    parser.add_argument("--depth", type=int, default=100)
    parser.add_argument("-n", dest="tokens", type=int, default=200)
    parser.add_argument("-r", dest="repeats", type=int, default=7)
    parser.add_argument("-o", dest="output", type=Path, help="also write the result here")
    given = parser.parse_args()
    named = {name: Path(path) for name, _, path in (item.partition("=") for item in given.packages)}
    result: dict[str, object] = {
        "benchmark": "decode_depth",
        "date": date.today().isoformat(),
        "machine": describe_machine(),
    }
    options = f"--depth {given.depth} -n {given.tokens} -r {given.repeats}"
    result["command"] = f"python -m benchmarks.decode_depth {' '.join(named)} {options}"
    result |= measure(named, depth=given.depth, tokens=given.tokens, repeats=given.repeats)
    text = json.dumps(result, indent=2) + "\n"
    print(text, end="")
    if given.output is not None:
        given.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
