"""What a package or a `.pte` really is: layers, operators, caches and every byte, from the program's own content.

The manifest is the claim, the program the evidence: `problems` lists where they disagree, and what runs undelegated or
in float. Hashes are verified on opening.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.byte_map import count_bytes
from export.checks import undelegated_products
from export.file_weights import XNNPACK, read_weights
from export.inspect_coreml import inspect_coreml, is_coreml_only
from export.inspect_report import CacheUse, FileUse, Report, claims
from export.layer_weights import float_problems, name_weights, recipe_problems
from export.manifest import Manifest
from export.operators import list_operators, unexpected_operators
from export.package import open_package
from export.pte import Pte, read_pte
from export.pte_values import Method
from model.files import sha256_file

_METHOD = "forward"
_INT8_PARTS, _FLOAT_PARTS = 6, 2  # buffers of one layer: codes, scales, zero points of keys and values, or the floats


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
    if is_coreml_only(pte):
        return inspect_coreml(pte, manifest, source=source, files=files)
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
        **claims(manifest),
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
