"""What a `.pte` for Core ML really is: the same report as of any program, read from the MIL program inside.

Rules of `--strict` here: each method is one delegate call and nothing else, every matrix is integers and stored once,
the program's inputs, caches and constants are the manifest's, and for the Neural Engine the lint finds nothing but what
the export was told to allow.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from export.byte_map_coreml import count_coreml_bytes
from export.coreml_integers import Part, gather_parts, linear_parts
from export.coreml_weights import CoremlConstants, CoremlWeight, by_method
from export.inspect_report import CacheUse, FileUse, Report, claims
from export.layer_weights import LayerWeight, float_problems, layer_order, recipe_problems
from export.manifest import Manifest
from export.manifest_parts import TensorSpec
from export.mil.container import BACKEND, CoremlFile, MethodModel, open_coreml
from export.mil.lint import lint_neural_engine
from export.mil.values import Value
from export.operators import OperatorUse
from export.pte import Pte
from export.pte_values import DelegateCall, Free, KernelCall, Method
from export.static_constants import constant_problems, read_constants
from export.target import TARGETS
from quant.recipe import SCHEME_BITS

_METHOD = "forward"
_CACHE = re.compile(r"(?:.*_)?[kv]_cache_(\d+)")
_HALF = 2  # bytes


def is_coreml_only(pte: Pte) -> bool:
    """Whether every method that runs anything is for Core ML alone."""
    running = [method for method in pte.methods.values() if method.instructions]
    return bool(running) and all(
        method.delegates and all(delegate.backend == BACKEND for delegate in method.delegates) for method in running
    )


def inspect_coreml(pte: Pte, manifest: Manifest | None, *, source: str, files: tuple[FileUse, ...]) -> Report:
    """The report of an opened program.

    Raises:
        ValueError: the program or the package inside is damaged.
    """
    file = open_coreml(pte.path)
    constants = by_method(file.methods)
    layers, problems = _name_layers(constants, manifest)
    problems += _undelegated(file)
    problems += float_problems(layers) if manifest is None else _recipe_problems(layers, manifest)
    caches = _caches(file.methods[_METHOD])
    if manifest is not None:
        problems += _manifest_problems(file, manifest, caches)
        problems += _lint_problems(file, manifest)
    return Report(
        source=source,
        files=files,
        layers=tuple(layers),
        operators=tuple(_operators(file)),
        delegates={BACKEND: sum(len(model.method.delegates) for model in file.methods.values())},
        caches=caches,
        cache_bytes=sum(cache.bytes for cache in caches),
        planned_bytes=sum(sum(model.method.buffer_sizes) for model in file.methods.values()),
        program_bytes=len(pte.data),
        bytes=count_coreml_bytes(file),
        problems=tuple(dict.fromkeys(problems)),
        constants=dict(sorted(read_constants(pte).items())),
        **claims(manifest),
    )


def _name_layers(
    constants: Mapping[str, CoremlConstants], manifest: Manifest | None
) -> tuple[list[LayerWeight], list[str]]:
    """Every matrix by name, its row chunks joined; by its operation where there is no manifest or it does not fit."""
    first = constants[_METHOD]
    uses = [*first.gathers, *first.linears]
    problems = [
        f"method {name} does not use the weights of {_METHOD}: they are stored again"
        for name, other in constants.items()
        if {use.place for use in (*other.gathers, *other.linears)} != {use.place for use in uses}
    ]
    if manifest is None:
        return [_describe(use.operation, [use]) for use in uses], problems
    config = manifest.model.config
    parts: list[Part] = [*gather_parts(config), *linear_parts(config)]
    if len(parts) != len(uses):
        problems.append(f"{_METHOD} uses {len(uses)} matrices, the manifest's model has {len(parts)}")
        return [_describe(use.operation, [use]) for use in uses], problems
    joined: dict[str, list[CoremlWeight]] = {}
    for part, use in zip(parts, uses, strict=True):
        joined.setdefault(part.layer, []).append(use)
    layers = [_describe(name, chunks) for name, chunks in joined.items()]
    for layer, (name, shape) in zip(layers, layer_order(config), strict=True):
        if layer.shape != shape:
            problems.append(f"{name}: the file's matrix is {list(layer.shape)}, the manifest's {list(shape)}")
    return layers, problems


def _describe(name: str, chunks: Sequence[CoremlWeight]) -> LayerWeight:
    first = chunks[0]
    bits = SCHEME_BITS[first.kind] if first.kind != "float" else int(first.content_dtype.removeprefix("float"))
    return LayerWeight(
        name=name,
        scheme=first.kind,
        bits=bits,
        group_size=first.group_size,
        shape=(sum(chunk.shape[0] for chunk in chunks), first.shape[1]),
        activations=first.scale_dtype,
        delegate=None if first.use == "gather" else 0,
        codes_bytes=sum(len(chunk.content) for chunk in chunks),
        scales_bytes=sum(len(chunk.scale_content) for chunk in chunks),
    )


def _recipe_problems(layers: Sequence[LayerWeight], manifest: Manifest) -> list[str]:
    """A group as wide as a row is stored like one scale a row: the manifest says which of the two it is."""
    group = manifest.recipe.group_size
    plain = [
        _by_group(layer, group) if layer.scheme == "int4-channel" and group == layer.shape[1] else layer
        for layer in layers
    ]
    return recipe_problems(plain, manifest.recipe, by_activations=False)


def _by_group(layer: LayerWeight, group: int | None) -> LayerWeight:
    values = {name: getattr(layer, name) for name in layer.__dataclass_fields__}
    return LayerWeight(**values | {"scheme": "int4-group", "group_size": group})


def _undelegated(file: CoremlFile) -> Iterator[str]:
    for name, model in file.methods.items():
        outside = Counter(_operator(call) for call in model.method.instructions if not isinstance(call, DelegateCall))
        for operator, count in outside.items():
            if operator is not None:
                yield f"method {name}: {count} x {operator} outside of the delegate"
        calls = sum(isinstance(call, DelegateCall) for call in model.method.instructions)
        if calls != 1:
            yield f"method {name} calls its delegate {calls} times; once is right"


def _operator(call: object) -> str | None:
    if isinstance(call, Free | DelegateCall):
        return None
    return call.operator if isinstance(call, KernelCall) else type(call).__name__.lower()


def _operators(file: CoremlFile) -> list[OperatorUse]:
    """Every operation of every method, constants left out, the most frequent first."""
    counts: Counter[tuple[str, str]] = Counter()
    for model in file.methods.values():
        counts.update((BACKEND, operation.kind) for operation in model.function.operations if operation.kind != "const")
        outside = (_operator(call) for call in model.method.instructions)
        counts.update(("kernel", operator) for operator in outside if operator is not None)
    uses = [OperatorUse(operator=kind, backend=backend, count=n, reason=None) for (backend, kind), n in counts.items()]
    return sorted(uses, key=lambda use: (use.backend == "kernel", -use.count, use.operator))


def _caches(model: MethodModel) -> tuple[CacheUse, ...]:
    """The caches that a method takes as inputs, or keeps as states, by layer."""
    found: dict[int, list[Value]] = {}
    for value in (*model.function.inputs, *model.function.states):
        match = _CACHE.fullmatch(value.name)
        if match is not None:
            found.setdefault(int(match.group(1)), []).append(value)
    return tuple(
        CacheUse(
            layer=layer,
            slots=sizes[0][2] if len(sizes[0]) == 4 else 1,
            dtype=values[0].dtype,
            bytes=sum(_bytes(value) for value in values),
        )
        for layer, values in sorted(found.items())
        for sizes in [[_sizes(value) for value in values]]
    )


def _sizes(value: Value) -> tuple[int, ...]:
    return tuple(size or 0 for size in value.shape)


def _bytes(value: Value) -> int:
    total = _HALF if value.dtype == "float16" else 2 * _HALF
    for size in _sizes(value):
        total *= size
    return total


def _manifest_problems(file: CoremlFile, manifest: Manifest, caches: Sequence[CacheUse]) -> list[str]:
    problems = []
    if set(file.methods) != set(manifest.methods):
        problems.append(f"the program has the methods {sorted(file.methods)}, the manifest {sorted(manifest.methods)}")
    else:
        for name, model in file.methods.items():
            said = manifest.methods[name]
            problems += _tensor_problems(name, "input", model.method, model.method.inputs, said.inputs)
            problems += _tensor_problems(name, "output", model.method, model.method.outputs, said.outputs)
    if len(caches) != len(manifest.cache.layers):
        problems.append(f"the program has {len(caches)} caches, the manifest {len(manifest.cache.layers)}")
    else:
        problems += [
            f"layer {mine.layer}: the cache is {mine.slots} slots of {mine.dtype} ({mine.bytes} bytes), the manifest "
            f"says {said.slots} of {said.dtype} ({said.bytes})"
            for mine, said in zip(caches, manifest.cache.layers, strict=True)
            if (mine.layer, mine.slots, mine.dtype, mine.bytes) != (said.layer, said.slots, said.dtype, said.bytes)
        ]
    constants = read_constants(file.pte)
    if manifest.runner.kind == "static-kv":
        return problems + constant_problems(constants, manifest)
    return problems + _text_constants(constants, manifest)


def _text_constants(constants: Mapping[str, Any], manifest: Manifest) -> list[str]:
    said_by = {
        "get_max_seq_len": manifest.chunk,
        "get_max_context_len": manifest.context.tokens,
        "get_vocab_size": manifest.model.config.vocab_size,
    }
    return [
        f"the program's {name} is {constants.get(name)}, the manifest says {value}"
        for name, value in said_by.items()
        if constants.get(name) != value
    ]


def _tensor_problems(
    name: str, what: str, method: Method, found: Sequence[int], said: Sequence[TensorSpec]
) -> Iterator[str]:
    if len(found) != len(said):
        yield f"method {name} has {len(found)} {what}s, the manifest says {len(said)}"
        return
    for index, spec in zip(found, said, strict=True):
        tensor = method.tensor(index)
        if (tensor.dtype, tensor.sizes) != (spec.dtype, spec.shape):
            yield (
                f"method {name}: {what} {spec.name} is {tensor.dtype} {list(tensor.sizes)}, the manifest says "
                f"{spec.dtype} {list(spec.shape)}"
            )


def _lint_problems(file: CoremlFile, manifest: Manifest) -> Iterator[str]:
    target = TARGETS.get(manifest.target)
    if target is None or not target.has_lint:
        return
    words = manifest.origin.command.split()
    allowed = {rule for flag, rule in pairwise(words) if flag == "--allow-lint"}
    for name, model in file.methods.items():
        for finding in lint_neural_engine(model.program):
            if finding.rule not in allowed:
                yield f"method {name}: rule {finding.rule} of the Neural Engine: {finding.message}"
