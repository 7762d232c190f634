"""What a result was measured on: processor, cores, memory, versions. Goes into every file of benchmarks/results/."""

import os
import platform
from importlib.metadata import version
from pathlib import Path


def describe_machine() -> dict[str, object]:
    """Model, cores and versions; no host or user name."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("executorch", "torch", "torchao")},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
