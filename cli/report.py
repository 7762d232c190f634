"""What a command has to say, once for programs and once for people."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quant.ptq import Summary

_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Result:
    """The same thing twice: `data` becomes JSON, `lines` are read."""

    data: dict[str, Any]
    lines: list[str]


def size(num_bytes: int) -> str:
    """Bytes for people."""
    return f"{num_bytes / _MIB:.1f} MiB" if num_bytes >= _MIB else f"{num_bytes / 1024:.1f} KiB"


def tree_bytes(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def scheme_lines(summary: "Summary") -> list[str]:
    """How every kind of layer is stored, and each layer that departs from the recipe with its reason."""
    lines = []
    for kind in summary.kinds:
        group = f" in groups of {kind.group_size}" if kind.group_size else ""
        lines.append(f"  {kind.layers:4} x {kind.kind}: {kind.scheme}{group}")
    reasons: dict[str, list[str]] = {}
    for layer, reason in summary.exceptions.items():
        reasons.setdefault(reason, []).append(layer)
    lines += [f"  not as the recipe says, because {reason}: {_few(layers)}" for reason, layers in reasons.items()]
    return lines


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
