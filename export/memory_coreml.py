"""What a CoreML package is expected to occupy on a phone: sums of what is known, for nobody has measured it here.

Loads no torch.

Shapes: T tokens of a chunk, S slots, C model width, F feed-forward width, H heads, V vocabulary.
"""

from export.manifest_parts import Memory
from export.plan import ExportPlan
from model.config import ModelConfig

_MIB = 1 << 20
_HALF = 2  # bytes of a float16
_APP = 48 * _MIB  # an allowance for the runtime, Core ML and the app; never measured
_ENTRY = 110  # bytes of a tokenizer's entry in the C++ reader, as for other targets


ASSUMING = "one process after the first load, if Core ML widens no weight"


def coreml_memory_parts(config: ModelConfig, plan: ExportPlan, *, program_bytes: int, entries: int) -> dict[str, int]:
    """What the peak is made of, in bytes, by name.

    A static loop keeps the caches and Core ML attends over a copy of one layer's with the new tokens behind; the rest
    of a step are the widest values of a layer. Weights count as they lie in the file: whether Core ML widens some of
    them (the gathered table first of all) only a phone can tell.

    Args:
        entries: of the tokenizer's vocabulary.
    """
    chunk, layers = plan.chunk, plan.cache.layers
    widest = max(layer.slots for layer in layers) + chunk
    scores = 2 * _HALF * config.num_heads * chunk * widest
    joined = 2 * _HALF * config.num_kv_heads * config.head_dim * widest
    values = _HALF * chunk * (3 * config.ffn_dim + 2 * config.dim) + 2 * _HALF * config.vocab_size
    return {
        "weights, as they lie in the file": program_bytes,
        "caches": plan.cache.bytes,
        "scores, joined caches and values of one chunk": scores + joined + values,
        "tokenizer": _ENTRY * entries,
        "allowance for the runtime, never measured on a phone": _APP,
    }


def coreml_memory(config: ModelConfig, plan: ExportPlan, *, program_bytes: int, entries: int) -> Memory:
    """The manifest's section; see `coreml_memory_parts`."""
    parts = coreml_memory_parts(config, plan, program_bytes=program_bytes, entries=entries)
    words = ", ".join(f"{name} {size / _MIB:.1f} MiB" for name, size in parts.items())
    return Memory(
        cache_bytes=plan.cache.bytes,
        program_bytes=program_bytes,
        estimated_peak_bytes=sum(parts.values()),
        estimate=f"{ASSUMING}: {words}",
    )
