"""The rules between the sections of a manifest: sums that must agree, layouts that a runner can drive, ids in range.

Types and bounds of single fields stand in manifest_parts.py. Every rule raises a one-line ValueError that begins with
the place in the document.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from chat.window import Context
from export.manifest_parts import (
    Cache,
    CacheLayer,
    Golden,
    Memory,
    Method,
    Model,
    Origin,
    PackageFile,
    RecipeRecord,
    TensorSpec,
    Tokenizer,
    layer_kind,
)
from export.static_layout import static_methods
from export.strict import fail, shown
from model.config import ModelConfig

MANIFEST_NAME = "manifest.json"
MIN_GOLDEN_STEPS = 16
_VALUE_BYTES = {"float32": 4, "float16": 2, "int8": 1}


def check_model(model: Model) -> None:
    expected = model.config.num_parameters
    if model.parameters != expected:
        fail("model.parameters", f"is {model.parameters}, but model.config makes {expected}")


def check_methods(
    methods: Mapping[str, Method], *, runner_kind: str, chunk: int, config: ModelConfig, cache: Cache
) -> None:
    if "forward" not in methods:
        fail("methods", "has no 'forward'")
    for name, method in methods.items():
        for side, tensors in (("inputs", method.inputs), ("outputs", method.outputs)):
            path = f"methods.{name}.{side}"
            _check_unique(path, "name", [tensor.name for tensor in tensors])
            for i, tensor in enumerate(tensors):
                _check_dynamic(f"{path}[{i}].dynamic", tensor, allowed=runner_kind == "text-llm")
    if runner_kind == "text-llm":
        _check_text_forward(methods, chunk=chunk, vocab_size=config.vocab_size)
    else:
        _check_static_methods(methods, chunk=chunk, config=config, cache=cache)


def _check_dynamic(path: str, tensor: TensorSpec, *, allowed: bool) -> None:
    if tensor.dynamic and not allowed:
        fail(path, "is not empty, but a static-kv runner takes fixed shapes only")
    if list(tensor.dynamic) != sorted(set(tensor.dynamic)) or any(i >= len(tensor.shape) for i in tensor.dynamic):
        fail(path, f"is {list(tensor.dynamic)}; it must be increasing indices into the {len(tensor.shape)} dimensions")


def _check_text_forward(methods: Mapping[str, Method], *, chunk: int, vocab_size: int) -> None:
    """The runtime's text runner calls one method, by position of the arguments."""
    if extra := sorted(set(methods) - {"forward"}):
        fail(f"methods.{extra[0]}", "is unknown to a text-llm runner; it calls forward only")
    forward = methods["forward"]
    wanted = (
        ("inputs", forward.inputs, (("tokens", (1, chunk), ("int64",)), ("position", (1,), ("int64",)))),
        ("outputs", forward.outputs, (("logits", (1, vocab_size), ("float32", "float16")),)),
    )
    for side, tensors, specs in wanted:
        if len(tensors) != len(specs):
            fail(
                f"methods.forward.{side}",
                f"has {len(tensors)} tensors; a text-llm runner needs {', '.join(name for name, _, _ in specs)}",
            )
        for i, (tensor, (name, shape, dtypes)) in enumerate(zip(tensors, specs, strict=True)):
            path = f"methods.forward.{side}[{i}]"
            if tensor.name != name:
                fail(f"{path}.name", f"is {tensor.name!r}; a text-llm runner needs {name!r} here")
            if tensor.shape != shape:
                fail(
                    f"{path}.shape",
                    f"is {list(tensor.shape)}; chunk {chunk} and vocabulary {vocab_size} make it {list(shape)}",
                )
            if tensor.dtype not in dtypes:
                fail(f"{path}.dtype", f"is {tensor.dtype}; a text-llm runner needs {' or '.join(dtypes)}")
            dynamic = (1,) if name == "tokens" and chunk > 1 else ()
            if tensor.dynamic != dynamic:
                fail(f"{path}.dynamic", f"is {list(tensor.dynamic)}; it must be {list(dynamic)}")


def _check_static_methods(methods: Mapping[str, Method], *, chunk: int, config: ModelConfig, cache: Cache) -> None:
    """The loop fills every tensor by its name, in calling order, so each must be the one that the layout makes."""
    if extra := sorted(set(methods) - {"forward", "prefill"}):
        fail(f"methods.{extra[0]}", "is unknown to a static-kv runner; allowed: forward, prefill")
    expected = static_methods(config, cache.layers, chunk=chunk, methods="two" if "prefill" in methods else "one")
    for name in methods:
        if name not in expected:
            fail(f"methods.{name}", f"is there, but with a chunk of {chunk} forward takes every prompt")
        for side in ("inputs", "outputs"):
            found, wanted = (getattr(method, side) for method in (methods[name], expected[name]))
            path = f"methods.{name}.{side}"
            for i, (tensor, spec) in enumerate(zip(found, wanted, strict=False)):
                for field in ("name", "dtype", "shape"):
                    value, right = (getattr(each, field) for each in (tensor, spec))
                    if value != right:
                        fail(
                            f"{path}[{i}].{field}",
                            f"is {_plain(value)}; model, caches and chunk make it {_plain(right)}",
                        )
            if len(found) != len(wanted):
                fail(path, f"has {len(found)} tensors; model, caches and chunk make it {len(wanted)}")


def _plain(value: str | tuple[int, ...]) -> str:
    return repr(value) if isinstance(value, str) else str(list(value))


def check_context(context: Context, *, window: int | None, chunk: int, config: ModelConfig) -> None:
    most = context.tokens - 1 if context.kind == "endless" else context.tokens
    if chunk > most:
        reason = (
            "a text runner treats it as endless only if the chunk is smaller"
            if context.kind == "endless"
            else "no prompt can be longer"
        )
        fail("chunk", f"is {chunk}, but context.tokens is {context.tokens} and {context.kind}: {reason}")
    if window is not None and window > context.tokens:
        fail("window", f"is {window}, more than context.tokens {context.tokens}")
    has_local = len(config.global_layers) < config.num_layers
    expected = min(config.sliding_window, context.tokens) if has_local else None
    if window != expected:
        fail("window", f"is {_spelled(window)}; the model's layers and context make it {_spelled(expected)}")


def check_cache(
    cache: Cache, *, context: Context, window: int | None, chunk: int, runner_kind: str, config: ModelConfig
) -> None:
    if len(cache.layers) != config.num_layers:
        fail("cache.layers", f"has {len(cache.layers)} entries for {config.num_layers} layers")
    for i, layer in enumerate(cache.layers):
        path = f"cache.layers[{i}]"
        if layer.layer != i:
            fail(f"{path}.layer", f"is {layer.layer}; the layers must stand in order, so {i}")
        kind = "global" if config.is_global(i) else "local"
        if layer.kind != kind:
            fail(f"{path}.kind", f"is {layer.kind}, but model.config makes layer {i} {kind}")
        sees = context.tokens if kind == "global" or window is None else window
        if layer.window != sees:
            fail(f"{path}.window", f"is {layer.window}; a {kind} layer sees {sees} positions here")
        if context.kind == "endless" and not layer.ring:
            fail(f"{path}.ring", "is false, but an endless context overwrites old positions in every layer")
        _check_slots(path, layer, context=context, chunk=chunk, runner_kind=runner_kind)
        least = 2 * layer.slots * config.num_kv_heads * config.head_dim * _VALUE_BYTES[layer.dtype]
        if layer.bytes < least:
            fail(f"{path}.bytes", f"is {layer.bytes}; keys and values of {layer.slots} slots alone take {least}")
    total = sum(layer.bytes for layer in cache.layers)
    if cache.bytes != total:
        fail("cache.bytes", f"is {cache.bytes}, but the layers' bytes add up to {total}")


def _check_slots(path: str, layer: CacheLayer, *, context: Context, chunk: int, runner_kind: str) -> None:
    if runner_kind == "static-kv":  # the loop attends over cache and new tokens, then writes
        if layer.dtype != "float16":
            fail(f"{path}.dtype", f"is {layer.dtype}; a static-kv loop keeps float16")
        if layer.slots != layer.window:
            fail(f"{path}.slots", f"is {layer.slots}; a cache of a static-kv loop has {layer.window}, its window")
        if chunk > layer.slots:
            fail("chunk", f"is {chunk}, but layer {layer.layer} has {layer.slots} slots: a chunk must fit a cache")
    elif not layer.ring:
        if layer.slots < context.tokens:
            fail(f"{path}.slots", f"is {layer.slots}; without a ring it takes {context.tokens}, one per position")
    elif layer.slots < layer.window + chunk - 1:
        fail(
            f"{path}.slots",
            f"is {layer.slots}; the ring needs at least {layer.window + chunk - 1} "
            f"(window {layer.window} + chunk {chunk} - 1)",
        )


def check_files(files: Iterable[PackageFile], *, tokenizer: Tokenizer, memory: Memory, cache: Cache) -> None:
    files = list(files)
    folded = [file.path.lower() for file in files]  # phones' file systems may ignore case
    _check_unique("files", "path", folded)
    if MANIFEST_NAME in folded:
        fail(f"files[{folded.index(MANIFEST_NAME)}].path", f"is {MANIFEST_NAME}, which never lists itself")
    for i, path in enumerate(folded):
        if any(other.startswith(path + "/") for other in folded):
            fail(f"files[{i}].path", f"is {files[i].path!r}, a file, but other files lie below it")
    by_role = {role: [file for file in files if file.role == role] for role in ("program", "tokenizer")}
    for role, found in by_role.items():
        if len(found) != 1:
            fail("files", f"has {len(found)} entries of role {role}; it needs exactly one")
    if by_role["tokenizer"][0].path != tokenizer.file:
        fail("tokenizer.file", f"is {tokenizer.file!r}, but files lists {by_role['tokenizer'][0].path!r}")
    program = by_role["program"][0]
    if memory.program_bytes != program.bytes:
        fail("memory.program_bytes", f"is {memory.program_bytes}, but {program.path} has {program.bytes}")
    if memory.cache_bytes != cache.bytes:
        fail("memory.cache_bytes", f"is {memory.cache_bytes}, but cache.bytes is {cache.bytes}")
    if memory.estimated_peak_bytes < memory.cache_bytes:
        fail(
            "memory.estimated_peak_bytes",
            f"is {memory.estimated_peak_bytes}, less than the caches alone ({memory.cache_bytes})",
        )


def check_tokenizer(tokenizer: Tokenizer, *, vocab_size: int) -> None:
    if tokenizer.vocab_size > vocab_size:
        fail("tokenizer.vocab_size", f"is {tokenizer.vocab_size}, more than the model's {vocab_size}")
    ids = [token.id for token in tokenizer.special_tokens]
    bos = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
    _check_ids("tokenizer.bos_id", bos, vocab_size)
    _check_ids("tokenizer.stop_ids", tokenizer.stop_ids, vocab_size)
    _check_ids("tokenizer.special_tokens", ids, vocab_size)
    _check_unique("tokenizer.stop_ids", "id", tokenizer.stop_ids)
    _check_unique("tokenizer.special_tokens", "id", ids)
    _check_unique("tokenizer.special_tokens", "text", [token.text for token in tokenizer.special_tokens])
    if tokenizer.num_bos and tokenizer.bos_id is None:
        fail("tokenizer.num_bos", "is 1, but tokenizer.bos_id is null")
    if tokenizer.num_bos and tokenizer.bos_text:
        fail("tokenizer.bos_text", "is not empty, but tokenizer.num_bos is 1: the prompt would begin twice")


def check_end_of_turn(texts: Iterable[str], *, tokenizer: Tokenizer) -> None:
    ids = {token.text: token.id for token in tokenizer.special_tokens}
    for i, text in enumerate(texts):
        if text not in ids:
            fail(f"template.end_of_turn[{i}]", f"is {shown(text)}, which is not among tokenizer.special_tokens")
        if ids[text] not in tokenizer.stop_ids:
            fail(
                f"template.end_of_turn[{i}]",
                f"is {shown(text)}, whose id {ids[text]} is not among tokenizer.stop_ids: no runner would stop there",
            )


def check_recipe(recipe: RecipeRecord, *, config: ModelConfig) -> None:
    tables = {"embedding": 1} if config.tied else {"embedding": 1, "head": 1}
    expected = dict.fromkeys(config.layer_matrices, config.num_layers) | tables
    exceptions = Counter(layer_kind(name) for name in recipe.exceptions)
    for section, names in (("layers", recipe.layers), ("exceptions", exceptions)):
        if unknown := sorted(set(names) - set(expected)):
            fail(f"recipe.{section}", f"names {unknown[0]!r}, which this model does not have")
    for kind, count in expected.items():
        regular = recipe.layers[kind].count if kind in recipe.layers else 0
        if regular + exceptions[kind] != count:
            fail(
                f"recipe.layers['{kind}']",
                f"accounts for {regular} layers and recipe.exceptions for {exceptions[kind]}; the model has {count}",
            )


def check_golden(golden: Golden, *, tokenizer: Tokenizer, context: Context, vocab_size: int) -> None:
    _check_ids("golden.prompt_ids", golden.prompt_ids, vocab_size)
    _check_ids("golden.ids", golden.ids, vocab_size)
    bos = [tokenizer.bos_id] * tokenizer.num_bos
    if list(golden.prompt_ids[: tokenizer.num_bos]) != bos:
        fail("golden.prompt_ids", f"begins with {golden.prompt_ids[0]}; tokenizer.num_bos asks for {bos[0]} first")
    if not golden.prompt.startswith(tokenizer.bos_text):
        fail("golden.prompt", f"does not begin with tokenizer.bos_text {tokenizer.bos_text!r}")
    if any(token in tokenizer.stop_ids for token in golden.ids[:-1]):
        fail("golden.ids", "goes on after a stop id, where every runner stops")
    if len(golden.ids) < MIN_GOLDEN_STEPS and golden.ids[-1] not in tokenizer.stop_ids:
        fail("golden.ids", f"has {len(golden.ids)} steps; it needs {MIN_GOLDEN_STEPS}, or a stop id at its end")
    if context.kind == "bounded" and len(golden.prompt_ids) + len(golden.ids) - 1 > context.tokens:
        fail("golden.ids", f"does not fit with the prompt into the bounded context of {context.tokens} tokens")
    if len(golden.margins) != len(golden.ids):
        fail("golden.margins", f"has {len(golden.margins)} entries for {len(golden.ids)} ids")
    sure = next((i for i, margin in enumerate(golden.margins) if margin < golden.noise_floor), len(golden.ids))
    if golden.compared != sure:
        fail(
            "golden.compared",
            f"is {golden.compared}; {sure} leading margins reach the noise floor {golden.noise_floor}",
        )


def check_origin(origin: Origin) -> None:
    if any(c in origin.command for c in "/\\\n"):
        fail("origin.command", "holds a path or a line break; write option names and values only")


def _check_ids(path: str, ids: Iterable[int], vocab_size: int) -> None:
    for token in ids:
        if token >= vocab_size:
            fail(path, f"holds id {token}; the vocabulary ends at {vocab_size - 1}")


def _check_unique(path: str, field: str, values: Iterable[object]) -> None:
    for value, count in Counter(values).items():
        if count > 1:
            fail(path, f"has {count} entries with {field} {value!r}; each may stand once")


def _spelled(value: int | None) -> str:
    return "null" if value is None else str(value)
