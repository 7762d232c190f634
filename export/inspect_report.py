"""What `inspect` found of a program, as data and in words for people."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from export.layer_weights import LayerWeight
from export.manifest import Manifest
from export.manifest_parts import layer_kind
from export.operators import OperatorUse

_MOST_SHOWN = 6  # entries of a list, for people


@dataclass(frozen=True, kw_only=True)
class CacheUse:
    """What one layer keeps between calls."""

    layer: int
    slots: int
    dtype: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class FileUse:
    """One verified file."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that `pocketlm inspect` knows; `problems` is what `--strict` refuses."""

    source: str
    preset: str | None  # of the manifest, as the next three; None for a bare .pte
    recipe: str | None
    target: str | None
    context: dict[str, Any] | None
    window: int | None
    chunk: int | None
    files: tuple[FileUse, ...]
    layers: tuple[LayerWeight, ...]
    operators: tuple[OperatorUse, ...]
    delegates: dict[str, int]  # backend to count
    caches: tuple[CacheUse, ...]
    cache_bytes: int  # the program's planned mutable buffers
    planned_bytes: int  # all planned memory, caches included
    program_bytes: int
    bytes: dict[
        str, int
    ]  # by what they are for (export.byte_map, export.byte_map_coreml); they add up to program_bytes
    constants: dict[str, Any]  # constant methods
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        plain = asdict(self) | {"layers": [layer.to_json() for layer in self.layers]}
        return plain | {key: list(plain[key]) for key in ("files", "operators", "caches", "problems")}

    def lines(self) -> list[str]:
        """The report for people, one section after the other."""
        return [
            *_head_lines(self),
            *_layer_lines(self.layers),
            *_operator_lines(self),
            *_cache_lines(self),
            *_byte_lines(self),
            *_problem_lines(self),
        ]


def claims(manifest: Manifest | None) -> dict[str, Any]:
    """The fields of a report that only a manifest fills."""
    return {
        "preset": None if manifest is None else manifest.model.preset,
        "recipe": None if manifest is None else manifest.recipe.name,
        "target": None if manifest is None else manifest.target,
        "context": None if manifest is None else {"kind": manifest.context.kind, "tokens": manifest.context.tokens},
        "window": None if manifest is None else manifest.window,
        "chunk": None if manifest is None else manifest.chunk,
    }


def _head_lines(report: Report) -> list[str]:
    lines = [
        f"{report.source}: {report.program_bytes:,} bytes of program, "
        + ", ".join(f"{count} delegates of {name}" for name, count in report.delegates.items())
    ]
    if report.context is not None:
        lines.append(f"  target {report.target}, preset {report.preset or 'none'}, recipe {report.recipe}")
        lines.append(
            f"  {report.context['kind']} context of {report.context['tokens']:,} tokens, "
            f"window {report.window}, chunk {report.chunk}"
        )
    lines += [f"  {file.path}: {file.bytes:,} bytes, sha256 {file.sha256}" for file in report.files]
    return [*lines, *(f"  {name} = {_shown(value)}" for name, value in report.constants.items())]


def _shown(value: Any) -> str:
    """A constant as it is; of a long list the beginning, since --json has it whole."""
    if not isinstance(value, list) or len(value) <= _MOST_SHOWN:
        return str(value)
    return f"[{', '.join(str(item) for item in value[:_MOST_SHOWN])}, ... {len(value)} in all]"


def _layer_lines(layers: Sequence[LayerWeight]) -> list[str]:
    """Every layer's scheme; layers of one kind that are stored alike share a line that names their numbers."""
    alike: dict[str, list[LayerWeight]] = {}
    for layer in layers:
        group = f" in groups of {layer.group_size}" if layer.group_size else ""
        kind = layer_kind(layer.name)
        text = f"{kind} [{layer.shape[0]}, {layer.shape[1]}]: {layer.scheme}{group}"
        inputs = f", activations {layer.activations}" if layer.delegate is not None else ""
        alike.setdefault(text + inputs, []).append(layer)
    lines = ["layers"]
    for text, members in alike.items():
        numbers = [int(m.name.split(".")[1]) for m in members if layer_kind(m.name) != m.name]
        where = f" (layers {_ranges(numbers)})" if numbers else ""
        lines.append(f"  {text}, {sum(m.codes_bytes + m.scales_bytes for m in members):,} bytes{where}")
    return lines


def _ranges(numbers: Sequence[int]) -> str:
    """1, 2, 3, 7 as "1-3, 7"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _operator_lines(report: Report) -> list[str]:
    lines = ["operators"]
    for use in report.operators:
        reason = f" ({use.reason})" if use.reason else ""
        lines.append(f"  {use.count:5} x {use.operator}: {use.backend}{reason}")
    return lines


def _cache_lines(report: Report) -> list[str]:
    lines = [f"caches: {report.cache_bytes:,} bytes of {report.planned_bytes:,} planned"]
    return lines + [f"  layer {c.layer}: {c.slots} slots of {c.dtype}, {c.bytes:,} bytes" for c in report.caches]


def _byte_lines(report: Report) -> list[str]:
    lines = ["bytes of the program"]
    return lines + [f"  {count:15,}  {name.replace('_', ' ')}" for name, count in report.bytes.items() if count]


def _problem_lines(report: Report) -> list[str]:
    if report.problems:
        return ["problems", *(f"  {problem}" for problem in report.problems)]
    if report.recipe is None:
        return ["no problem: every product is delegated and every matrix holds integers"]
    return ["no problem: every hash is right, every product delegated, every matrix as the recipe says"]
