"""What a figure of a run depends on beside its settings: versions, machine, text."""

import platform
import sys
from importlib import metadata
from typing import Any

import torch

from train.settings import RunSettings
from train.tokens import TokenSet


def circumstances(
    settings: RunSettings, tokens: TokenSet, device: torch.device, threads: int, processes: int
) -> dict[str, Any]:
    """The first line of a run's metrics.

    Args:
        threads: of each process.
    """
    known = {
        "run": settings.name,
        "parameters": settings.model.shape.num_parameters,
        "train_tokens": tokens.train.tokens,
        "train_bytes": tokens.train.bytes,
        "held_out_tokens": 0 if tokens.held_out is None else tokens.held_out.tokens,
        "tokens_sha256": tokens.sha256,
        "python": sys.version.split()[0],
        "versions": {name: metadata.version(name) for name in ("torch", "numpy", "tokenizers")},
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": threads,
    }
    return known | {"processes": processes} if processes > 1 else known
