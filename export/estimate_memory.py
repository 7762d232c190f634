"""What a loaded package occupies: one arithmetic for the manifest and for `estimate`. Loads no torch.

Measured on x86-64 Linux with executorch 1.5.1 (docs/numerics.md); on a phone never.

Shapes: T tokens of a chunk, S slots of a ring, C model width, F feed-forward width, H heads of width D, V vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from export.estimate_file import linear_layers, stored_bytes
from export.plan import ExportPlan
from model.config import ModelConfig
from quant.recipe import LayerScheme

_MIB = 1 << 20
_FLOAT = 4  # bytes of a float32

PACKED_ROW = 8  # bytes: XNNPACK packs a float32 bias and the codes' sum with each row
_SCRATCH = 2 * _MIB  # the runtime's own structures and the attention operator's scratch
_APP = 48 * _MIB  # an allowance for the runtime's libraries and threads in an app; never measured on a phone
# `generate` before it knows any package: Python, torch (its CPU build), ExecuTorch's runtime and kernels.
_PYTHON = 375 * _MIB
# The C++ runner's child of `generate --runner native`: Python and torch again, for the kernels' sake.
_CHILD = 230 * _MIB
_RUNNER = 17 * _MIB // 2  # `pocketlm-runner`: pages of its own and of ExecuTorch's libraries, and its heap
_ROW_PAGES = 460 << 10  # bytes that Linux maps around one row of the table that is read


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """A tokenizer's memory in bytes an entry, whatever the size of its file."""

    kept: int
    parsing: int  # at most, while a tokenizer.json is parsed


_CPP_READER = _Reader(kept=110, parsing=600)
_PYTHON_READER = _Reader(kept=180, parsing=880)


@dataclass(frozen=True, kw_only=True)
class PackageMemory:
    """Bytes of resident memory that a package adds to the process that loads it and generates a long text."""

    mapped: int  # the file's tables, norms and input table, read in place; a kernel short of memory may drop them
    packed: int  # XNNPACK's own copy of the linear layers, on the heap
    planned: int  # the program's planned memory, caches included
    cache: int  # of `planned`: keys and values
    working: int  # XNNPACK's values inside of delegates for one chunk, and scratch
    loading: int  # what else of the file is mapped at the worst moment of packing, above all that is packed in the end
    tokenizer_entries: int
    chunk: int = 1  # tokens
    unread: int = 0  # of `mapped`: what is read while it is loaded only (scales of the table, which XNNPACK packs)

    def peak(self, reader: _Reader) -> int:
        """The largest of three moments: the tokenizer is parsed, the last layers are packed, a chunk is computed."""
        held = self.mapped + self.packed + self.planned + reader.kept * self.tokenizer_entries
        return max(reader.parsing * self.tokenizer_entries, held + max(self.loading, self.working))

    @property
    def in_app(self) -> int:
        """Peak of an app's process on a phone."""
        return _APP + self.peak(_CPP_READER)

    @property
    def in_generate(self) -> int:
        """Peak of `pocketlm generate` on a host, through ExecuTorch's Python runtime."""
        return _PYTHON + self.peak(_PYTHON_READER)

    @property
    def in_native_child(self) -> int:
        """Peak of the child process of `generate --runner native` on a host."""
        return _CHILD + self.peak(_CPP_READER)

    @property
    def in_runner(self) -> int:
        """Peak of our native runner on a host, its context full: it reads ids, and gives the file's pages back.

        What it holds of the input table are the pages around the rows of one chunk.
        """
        rows = min(self.mapped - self.unread, _ROW_PAGES * self.chunk)
        return _RUNNER + self.packed + rows + self.planned + self.working

    @property
    def parts(self) -> dict[str, int]:
        """What `in_app` adds up to, for people."""
        allowance = {"allowance for the runtime, never measured on a phone": _APP}
        parsing = _CPP_READER.parsing * self.tokenizer_entries
        if self.peak(_CPP_READER) == parsing:
            return {"tokenizer, while it is parsed": parsing} | allowance
        is_loading = self.loading > self.working
        return {
            "input table and norms, mapped from the file": self.mapped,
            "other weights, packed on the heap": self.packed,
            "planned memory: caches": self.cache,
            "planned memory: masks and values": self.planned - self.cache,
            "tokenizer": _CPP_READER.kept * self.tokenizer_entries,
            "weights in the file while they are packed": self.loading if is_loading else 0,
            "values of one chunk and scratch": 0 if is_loading else self.working,
        } | allowance

    @property
    def sentence(self) -> str:
        """How `in_app` was estimated."""
        return "peak of one process: " + ", ".join(
            f"{name} {size / _MIB:.1f} MiB" for name, size in self.parts.items() if size
        )


def package_memory(
    config: ModelConfig,
    schemes: Mapping[str, LayerScheme],
    plan: ExportPlan,
    *,
    mapped_bytes: int,
    planned_bytes: int,
    tokenizer_entries: int,
) -> PackageMemory:
    """Adds up what a package needs.

    Args:
        schemes: of every weight matrix.
        mapped_bytes: of the file, its tables and constants: `estimate_file.FileBytes.mapped`.
        planned_bytes: what the memory plan reserves, read from the file, or from `planned_bytes` below.
        tokenizer_entries: size of the tokenizer's vocabulary.
    """
    layers = linear_layers(config, schemes)
    stored = {name: sum(stored_bytes(*layer)) for name, layer in layers.items()}
    packed = {name: stored[name] + PACKED_ROW * rows for name, (_, rows, _) in layers.items()}
    # Delegates give their part of the file back once it is packed. The last two are the last layer's feed-forward block
    # and the output layer.
    block = sum(
        size for name, size in stored.items() if name.startswith(f"layers.{config.num_layers - 1}.feed_forward")
    )
    chunk_values = 2 * config.ffn_dim + config.dim  # gate and up beside their input, in float32
    chunk_codes = config.ffn_dim  # the widest activation in INT8
    return PackageMemory(
        mapped=mapped_bytes,
        packed=sum(packed.values()),
        planned=planned_bytes,
        cache=plan.cache.bytes,
        working=plan.chunk * (_FLOAT * chunk_values + chunk_codes) + _SCRATCH,
        loading=max(stored["head"], block - packed["head"]),
        tokenizer_entries=tokenizer_entries,
        chunk=plan.chunk,
        unread=stored_bytes(schemes["embedding"], config.vocab_size, config.dim)[1],
    )


def planned_bytes(config: ModelConfig, plan: ExportPlan) -> int:
    """What ExecuTorch's memory plan will reserve: caches, masks of rings, and the values between delegates.

    The masks follow `export.program`: the branches of all conds share one region, in which a mask of T x S is made of
    float32 distances and three tables of bools; its result is moved out and then copied for each shape of ring. The
    rest are some values of T x max(C, H * D), whose number was read off written files; a plan packs them into what a
    mask has left free.
    """
    chunk = plan.chunk
    rings = {(cache.slots, cache.window) for cache in plan.cache.layers if cache.ring}
    kept = sum(_FLOAT * chunk * slots for slots, _ in rings)
    moved = _FLOAT * chunk * max((slots for slots, _ in rings), default=0)
    heads = config.num_heads * config.head_dim
    branches = max((_FLOAT + 3) * chunk * max(slots for slots, _ in rings), _FLOAT * chunk * heads) if rings else 0
    value = _FLOAT * chunk * max(config.dim, heads)
    values = max(int(5.4 * value), moved + int(4.3 * value), _FLOAT * config.vocab_size)
    return plan.cache.bytes + branches + kept + values
