"""What the loop around a static-kv program must know, as constant methods of the `.pte` and as the manifest says it.

An app can drive the program from either; they are made of the same facts and compared with each other. Loads no torch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from chat.static_kv import Rope, StaticKv
from chat.window import Context
from export.manifest import Manifest
from export.manifest_parts import CacheLayer, Method
from export.pte import Pte
from model.config import ModelConfig

FORMAT = 1  # of the constant methods, and of what docs/static-kv.md says of the loop
_PREFIX = "pocketlm_"
Constant = int | float | bool | list[int] | list[str]


def is_coreml(manifest: Manifest) -> bool:
    """Whether a package is one that Core ML runs, and the verifier on a host."""
    return manifest.runner.kind == "static-kv" or manifest.target.startswith("coreml-")


def check_runs_in_executorch(manifest: Manifest) -> None:
    """Refuses packages that no ExecuTorch runtime of a host can run.

    Raises:
        ValueError: a CoreML package; the message says what there is for it.
    """
    if is_coreml(manifest):
        raise ValueError(
            f"this package is for {manifest.target}, and Core ML runs on Apple's systems only; here generate, chat, "
            "evaluate and verify simulate it"
        )


def static_constant_methods(
    config: ModelConfig,
    layers: Sequence[CacheLayer],
    context: Context,
    *,
    chunk: int,
    methods: Mapping[str, Method],
    bos_id: int | None,
    stop_ids: Sequence[int],
) -> dict[str, Constant]:
    """The constant methods of a static-kv program, by name.

    The first ones are what ExecuTorch's own runners ask for (extension/llm/runner/llm_runner_helper.cpp, 1.5.1); the
    loop's begin with `pocketlm_`. Lists come back as several outputs. Lists that may be empty have one entry a layer
    instead, because a method that gives nothing cannot be told from one that is not there.

    Args:
        methods: what `export.static_layout.static_methods` gave.
    """
    scaling = config.rope_scaling
    has_temperature = bool(config.temperature_floor and config.no_rope_layers)
    constants: dict[str, Constant] = {
        "get_max_seq_len": chunk,
        "get_max_context_len": context.tokens,
        "get_vocab_size": config.vocab_size,
    }
    if bos_id is not None:
        constants["get_bos_id"] = bos_id
    if stop_ids:
        constants["get_eos_ids"] = list(stop_ids)
    loop: dict[str, Constant] = {
        "format": FORMAT,
        "is_endless": context.kind == "endless",
        "cache_slots": [layer.slots for layer in layers],
        "cache_is_global": [int(layer.kind == "global") for layer in layers],
        "num_kv_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "rope_theta": float(config.rope_theta),
        "rope_factor": 0.0 if scaling is None else float(scaling.factor),  # 0: no scaling
        "rope_low_freq_factor": 0.0 if scaling is None else float(scaling.low_freq_factor),
        "rope_high_freq_factor": 0.0 if scaling is None else float(scaling.high_freq_factor),
        "rope_original_context": 0 if scaling is None else scaling.original_context,
        "temperature_floor": config.temperature_floor if has_temperature else 0,  # 0: no such input
        "temperature_scale": float(config.temperature_scale) if has_temperature else 0.0,
    }
    for name, method in methods.items():
        loop[f"{name}_inputs"] = [spec.name for spec in method.inputs]
        loop[f"{name}_outputs"] = [spec.name for spec in method.outputs]
    return constants | {_PREFIX + name: value for name, value in loop.items()}


def manifest_constants(manifest: Manifest) -> dict[str, Constant]:
    """The constant methods that a static-kv program with this manifest must have."""
    return static_constant_methods(
        manifest.model.config,
        manifest.cache.layers,
        manifest.context,
        chunk=manifest.chunk,
        methods=manifest.methods,
        bos_id=manifest.tokenizer.bos_id,
        stop_ids=manifest.tokenizer.stop_ids,
    )


def read_constants(pte: Pte) -> dict[str, Any]:
    """The constant methods of a program; several outputs as a list, and a list of one as its only value."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in pte.constant_methods.items()}


def constant_problems(constants: Mapping[str, Any], manifest: Manifest) -> list[str]:
    """Where a program's constant methods differ from its manifest, a sentence each; none if they agree.

    Args:
        constants: what `read_constants` gave; names that are neither ours nor expected are left alone.
    """
    expected = manifest_constants(manifest)
    problems = []
    for name in sorted(expected.keys() | {name for name in constants if name.startswith(_PREFIX)}):
        if name not in constants:
            problems.append(f"the program has no constant method {name}; the manifest makes it {expected[name]}")
        elif name not in expected:
            problems.append(f"the program has a constant method {name} that the manifest knows nothing of")
        elif not _is_same(constants[name], expected[name]):
            problems.append(
                f"the program's constant method {name} is {constants[name]}; the manifest makes it {expected[name]}"
            )
    return problems


def _is_same(found: Any, expected: Constant) -> bool:
    found_list, expected_list = (value if isinstance(value, list) else [value] for value in (found, expected))
    return [(type(v), v) for v in found_list] == [(type(v), v) for v in expected_list]


def loop_of_manifest(manifest: Manifest) -> StaticKv:
    """What the loop must know, from the manifest.

    Raises:
        ValueError: the package is not for a static-kv runner.
    """
    if manifest.runner.kind != "static-kv":
        raise ValueError(f"this package needs a {manifest.runner.kind!r} runner; the loop drives 'static-kv' packages")
    return loop_of_constants(manifest_constants(manifest))


def loop_of_constants(constants: Mapping[str, Any]) -> StaticKv:
    """What the loop must know, from a program's constant methods alone.

    Raises:
        ValueError: one is missing, or the format is newer than this one.
    """

    def get(name: str) -> Any:
        key = name if name.startswith("get_") else _PREFIX + name
        if key not in constants:
            raise ValueError(f"the program has no constant method {key}; export it again for a static-kv target")
        return constants[key]

    def several(name: str) -> tuple[int, ...]:
        value = get(name)
        return tuple(value) if isinstance(value, list) else (value,)

    if get("format") != FORMAT:
        raise ValueError(f"this program needs a newer pocketlm: format {get('format')}, this one reads {FORMAT}")
    return StaticKv(
        context=Context(kind="endless" if get("is_endless") else "bounded", tokens=get("get_max_context_len")),
        vocab_size=get("get_vocab_size"),
        chunk=get("get_max_seq_len"),
        has_prefill=f"{_PREFIX}prefill_inputs" in constants,
        slots=several("cache_slots"),
        is_global=tuple(bool(flag) for flag in several("cache_is_global")),
        num_kv_heads=get("num_kv_heads"),
        rope=Rope(
            theta=get("rope_theta"),
            head_dim=get("head_dim"),
            factor=get("rope_factor"),
            low_freq_factor=get("rope_low_freq_factor"),
            high_freq_factor=get("rope_high_freq_factor"),
            original_context=get("rope_original_context"),
        ),
        temperature_floor=get("temperature_floor"),
        temperature_scale=get("temperature_scale"),
    )
