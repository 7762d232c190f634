"""What it takes to make a package at full size: random weights, quantized, exported and inspected, each by the command.

    flock /tmp/heavy.lock python -m benchmarks.export_full -o benchmarks/results/DATE-export-full.json
    python -m benchmarks.export_full --recipe 4w-channel --target coreml-ane -o benchmarks/results/DATE-coreml-full.json

A package for Core ML is also verified: all integers, and some calls of its program executed.

Every step is a process of its own, as a user starts it; its peak is the kernel's own count (VmHWM, which counts pages
of mapped files as well), read in the process at its end. Needs 10 GB of disk in --work. CI never runs it.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from export.package import open_package
from export.pte import read_pte
from runner.machine import describe_machine

MOST_BYTES = 600 << 20  # of model.pte, tables included
_COMMAND = """
import sys
from cli.main import main
code = main(sys.argv[1:])
with open("/proc/self/status") as status:
    print([line.split()[1] for line in status if line.startswith("VmHWM")][0], file=sys.stderr)
sys.exit(code)
"""


def run(*arguments: str | Path) -> dict[str, object]:
    """Runs one command of `pocketlm`; its output is shown as it comes.

    Raises:
        RuntimeError: it failed.
    """
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _COMMAND, *map(str, arguments)], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    last = ""
    for line in process.stderr:
        print(line, end="", file=sys.stderr)
        last = line
    if process.wait():
        raise RuntimeError(f"pocketlm {' '.join(map(str, arguments))} ended with {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(cpu, 1),
        "peak_bytes": 1024 * int(last),
    }


def measure(work: Path, preset: str, recipe: str, options: list[str], checkpoint: Path | None) -> dict[str, object]:
    """Makes what is missing, exports, and reads what was written."""
    steps: dict[str, object] = {}
    if checkpoint is None:
        steps["convert"] = run("convert", "--preset", preset, work / "float")
        checkpoint = work / "integers"
        steps["quantize"] = run("quantize", work / "float", checkpoint, "--recipe", recipe)
    steps["export"] = run("export", checkpoint, work / "package", *options)
    steps["inspect --strict"] = run("inspect", "--strict", work / "package")
    with open_package(work / "package") as package:
        program, manifest = package.path("program"), package.manifest
        method = read_pte(program).method()
    if manifest.target.startswith("coreml-"):
        steps["verify"] = run("verify", work / "package", "--against", checkpoint)
    size = program.stat().st_size
    return {
        "preset": preset,
        "options": manifest.origin.command,
        "parameters": manifest.model.parameters,
        "steps": steps,
        "program_bytes": size,
        "program_bytes_allowed": MOST_BYTES,
        "delegates": len(method.delegates),
        "instructions": len(method.instructions),
        "cache_bytes": manifest.cache.bytes,
        "planned_bytes": sum(method.buffer_sizes),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="mobilellm-pro")
    parser.add_argument("--recipe", default="8da4w-g32")
    parser.add_argument("--checkpoint", type=Path, help="a quantized checkpoint of it; default: made here")
    parser.add_argument("--work", type=Path, help="a folder on a large disk; default: a temporary one")
    parser.add_argument("-o", dest="output", type=Path, help="also write the result here")
    given, options = parser.parse_known_args()
    result: dict[str, object] = {
        "benchmark": "export_full",
        "date": date.today().isoformat(),
        "machine": describe_machine(),
        "command": " ".join(["python -m benchmarks.export_full", *options]),
        "load_average": round(os.getloadavg()[0], 1),
    }
    if given.work is not None:
        given.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=given.work, prefix="export-full-") as folder:
        result |= measure(Path(folder), given.preset, given.recipe, options, given.checkpoint)
    text = json.dumps(result, indent=2) + "\n"
    print(text, end="")
    if given.output is not None:
        given.output.write_text(text, encoding="utf-8")
    if int(str(result["program_bytes"])) > MOST_BYTES:
        sys.exit(f"the program has {result['program_bytes']} bytes, more than {MOST_BYTES}")


if __name__ == "__main__":
    main()
