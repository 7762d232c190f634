"""What a package or a `.pte` really is: layers, operators, caches and every byte, from the program's own content.

The manifest is the claim, the program the evidence: `problems` lists where they disagree, and what runs undelegated or
in float. Hashes are verified on opening.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from export.byte_map import count_bytes
from export.checks import undelegated_products
from export.file_weights import XNNPACK, read_weights
from export.layer_weights import LayerWeight, float_problems, name_weights, recipe_problems
from export.manifest import Manifest
from export.manifest_parts import layer_kind
from export.operators import OperatorUse, list_operators, unexpected_operators
from export.package import open_package
from export.pte import Pte, read_pte
from export.pte_values import Method
from model.files import sha256_file

_METHOD = "forward"
_INT8_PARTS, _FLOAT_PARTS = 6, 2  # buffers of one layer: codes, scales, zero points of keys and values, or the floats


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
    bytes: dict[str, int]  # export.byte_map.CATEGORIES; they add up to program_bytes
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


def inspect_package(path: Path) -> Report:
    """Opens a package (folder or zip) or a bare `.pte`, verifies it and lists what is in it.

    Raises:
        ValueError: neither of them, or the program is damaged.
        GateError: a file of the package is missing or has other bytes than its manifest says.
    """
    if path.is_file() and path.suffix == ".pte":
        single = FileUse(path=path.name, bytes=path.stat().st_size, sha256=sha256_file(path))
        return inspect_program(read_pte(path), None, source=path.name, files=(single,))
    with open_package(path) as package:
        files = tuple(FileUse(path=f.path, bytes=f.bytes, sha256=f.sha256) for f in package.manifest.files)
        return inspect_program(read_pte(package.path("program")), package.manifest, source=path.name, files=files)


def inspect_program(pte: Pte, manifest: Manifest | None, *, source: str, files: tuple[FileUse, ...]) -> Report:
    """The report of an opened program; see `inspect_package`."""
    method = pte.method(_METHOD)
    weights = list(read_weights(pte, _METHOD))
    layers, problems = name_weights(weights, None if manifest is None else manifest.model.config)
    backends = Counter(delegate.backend for delegate in method.delegates)
    problems += undelegated_products(method) + unexpected_operators(method)
    problems += [
        f"what the {count} delegates of {name} hold cannot be read, so their weights are unproven"
        for name, count in backends.items()
        if name != XNNPACK
    ]
    problems += float_problems(layers) if manifest is None else recipe_problems(layers, manifest.recipe)
    caches = _list_caches(method)
    constants = pte.constant_methods
    if manifest is not None:
        problems += _manifest_problems(manifest, method, caches, constants)
    return Report(
        source=source,
        files=files,
        layers=tuple(layers),
        operators=list_operators(method),
        delegates=dict(backends),
        caches=caches,
        cache_bytes=method.planned_mutable_bytes,
        planned_bytes=sum(method.buffer_sizes),
        program_bytes=len(pte.data),
        bytes=count_bytes(pte, weights),
        problems=tuple(problems),
        constants={name: list(v) if isinstance(v, tuple) else v for name, v in sorted(constants.items())},
        preset=None if manifest is None else manifest.model.preset,
        recipe=None if manifest is None else manifest.recipe.name,
        target=None if manifest is None else manifest.target,
        context=None if manifest is None else {"kind": manifest.context.kind, "tokens": manifest.context.tokens},
        window=None if manifest is None else manifest.window,
        chunk=None if manifest is None else manifest.chunk,
    )


def _list_caches(method: Method) -> tuple[CacheUse, ...]:
    """Mutable buffers by layer, in the order of registration; one entry a buffer where they are not keys and values."""
    buffers = [method.tensor(index) for index in method.mutable_buffers]
    parts = _INT8_PARTS if any(buffer.dtype == "int8" for buffer in buffers) else _FLOAT_PARTS
    if len(buffers) % parts:
        parts = 1
    groups = [buffers[i : i + parts] for i in range(0, len(buffers), parts)]
    return tuple(
        CacheUse(
            layer=layer,
            slots=group[0].sizes[1] if len(group[0].sizes) > 1 else 1,
            dtype=group[0].dtype,
            bytes=sum(buffer.bytes for buffer in group),
        )
        for layer, group in enumerate(groups)
    )


def _manifest_problems(
    manifest: Manifest, method: Method, caches: Sequence[CacheUse], constants: dict[str, Any]
) -> list[str]:
    problems = []
    if method.planned_mutable_bytes != manifest.cache.bytes:
        problems.append(
            f"the program keeps {method.planned_mutable_bytes} bytes between calls, the manifest says "
            f"{manifest.cache.bytes}"
        )
    if len(caches) != len(manifest.cache.layers):
        problems.append(f"the program has {len(caches)} caches, the manifest {len(manifest.cache.layers)}")
    else:
        for mine, said in zip(caches, manifest.cache.layers, strict=True):
            if (mine.slots, mine.dtype, mine.bytes) != (said.slots, said.dtype, said.bytes):
                problems.append(
                    f"layer {mine.layer}: the cache is {mine.slots} slots of {mine.dtype} ({mine.bytes} "
                    f"bytes), the manifest says {said.slots} of {said.dtype} ({said.bytes})"
                )
    said_by = {
        "get_max_seq_len": manifest.chunk,
        "get_max_context_len": manifest.context.tokens,
        "get_vocab_size": manifest.model.config.vocab_size,
    }
    return problems + [
        f"the program's {name} is {constants[name]}, the manifest says {value}"
        for name, value in said_by.items()
        if name in constants and constants[name] != value
    ]


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
    return [*lines, *(f"  {name} = {value}" for name, value in report.constants.items())]


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
