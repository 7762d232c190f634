"""How fast is one layer's attention with our kernels, and with the stock ones of the same executorch?

    python -m benchmarks.attention -r 9 --json benchmarks/results/DATE-attention.json

One layer of MobileLLM-Pro's shape over an INT8 cache: a token at several depths (decode), and a chunk after several
depths (prefill); besides, a window of a ring under its mask. Kernels, threads and depths take turns, so that whatever
else the machine does meets all of them alike; figures are medians and their ratios. For single tokens the caches of a
round are used in turn and are together larger than a processor's own: as in a model, keys and values come from memory.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from export.native_child import load_kernels
from kernels.calls import MODES, Calls, Case
from kernels.load import library_path
from model.int8 import quantize_per_head
from runner.machine import describe_machine

HEADS, KV_HEADS, WIDTH, CHUNK = 20, 4, 64, 128
DECODE_DEPTHS, PREFILL_DEPTHS = (100, 2048, 8192), (0, 2048, 8192)
WINDOW, RING = 512, 640
_CACHE_BYTES = 64 << 20  # of all layers of a round, at least
_MOST_LAYERS = 24

Quantized = tuple[Tensor, Tensor, Tensor]  # codes, scales, zero points


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is computed at once."""

    what: str  # "decode", "prefill" or "window"
    tokens: int
    depth: int  # tokens in the cache before
    slots: int


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer's inputs, and what our kernels are called with."""

    query: Quantized
    keys: Quantized
    values: Quantized
    mask: Tensor | None
    out: Tensor
    case: Case


def all_work() -> list[Work]:
    """The rows of the table."""
    decode = [Work(what="decode", tokens=1, depth=depth, slots=depth + 1) for depth in DECODE_DEPTHS]
    prefill = [Work(what="prefill", tokens=CHUNK, depth=depth, slots=depth + CHUNK) for depth in PREFILL_DEPTHS]
    window = [Work(what="window", tokens=tokens, depth=2048, slots=RING) for tokens in (1, CHUNK)]
    return [*decode, *prefill, *window]


def make_layers(work: Work) -> list[Layer]:
    """Layers of random numbers; of single tokens as many as fill the processor's caches."""
    row_bytes = 2 * KV_HEADS * (WIDTH + 5)
    most = _MOST_LAYERS if work.tokens == 1 else 2  # a chunk takes its time whether its keys are near or far
    count = max(2, min(most, _CACHE_BYTES // (work.slots * row_bytes)))
    return [_make_layer(work, seed) for seed in range(count)]


def _make_layer(work: Work, seed: int) -> Layer:
    draw = torch.Generator().manual_seed(seed)
    query, keys, values = (
        quantize_per_head(torch.randn(1, tokens, heads, WIDTH, generator=draw))
        for tokens, heads in ((work.tokens, HEADS), (work.slots, KV_HEADS), (work.slots, KV_HEADS))
    )
    mask = ring_mask(work) if work.what == "window" else None
    out = torch.empty(1, work.tokens, HEADS, WIDTH)
    case = Case(
        batch=1,
        tokens=work.tokens,
        slots=work.slots,
        heads=HEADS,
        kv_heads=KV_HEADS,
        width=WIDTH,
        start=work.depth if mask is None else 0,
        mode=MODES.index("causal" if mask is None else "mask"),
        is_int8=1,
        scale=WIDTH**-0.5,
        mask=None if mask is None else mask.data_ptr(),
        out=out.data_ptr(),
    )
    for name, quantized in (("q", query), ("k", keys), ("v", values)):
        for field, tensor in zip((name, f"{name}_scales", f"{name}_zeros"), quantized, strict=True):
            setattr(case, field, tensor.data_ptr())
    return Layer(query=query, keys=keys, values=values, mask=mask, out=out, case=case)


def ring_mask(work: Work) -> Tensor:
    """0 where a token sees a slot of the wrapped ring, -inf elsewhere: float32 [T, S]."""
    slots, positions = torch.arange(work.slots), work.depth + torch.arange(work.tokens)
    last = work.depth + work.tokens - 1
    distance = positions.unsqueeze(1) - (last - (last - slots) % work.slots)
    return torch.where((distance >= 0) & (distance < WINDOW), 0.0, -torch.inf)


def run_stock(layer: Layer) -> Tensor:
    """The stock kernel, called through torch."""
    (q, q_scales, q_zeros), (k, k_scales, k_zeros), (v, v_scales, v_zeros) = layer.query, layer.keys, layer.values
    params = (q_zeros, q_scales, k_zeros, k_scales, v_zeros, v_scales)
    out: Tensor = torch.ops.llama.custom_quantized_sdpa(
        q, k, v, layer.case.start, layer.mask, 0.0, layer.mask is None, None, *params
    )
    return out


def measure(calls: Calls, work: Work, threads: Sequence[int], repeats: int) -> list[dict[str, object]]:
    """A row for each number of threads: milliseconds a layer of both kernels, and their ratio.

    Raises:
        SystemExit: the two kernels disagree.
    """
    layers = make_layers(work)
    isa = calls.paths()[0]
    ways: dict[str, Callable[[Layer], object]] = {
        "own": lambda layer: calls.attend(isa, layer.case),
        "stock": run_stock,
    }
    times: dict[tuple[int, str], list[float]] = {(count, name): [] for count in threads for name in ways}
    for repeat in range(repeats + 1):  # the first round warms up
        for count in threads:
            calls.set_serial(count == 1)
            for name, run in ways.items():
                start = time.perf_counter()
                for layer in layers:
                    run(layer)
                if repeat:
                    times[count, name].append(1000 * (time.perf_counter() - start) / len(layers))
    calls.set_serial(False)
    worst = float((layers[0].out - run_stock(layers[0])).abs().max() / layers[0].out.abs().max())
    if worst > 1e-5:
        raise SystemExit(f"own and stock kernels disagree by {worst:.2g} of the largest output in {work}")
    rows: list[dict[str, object]] = []
    for count in threads:
        own, stock = (statistics.median(times[count, name]) for name in ways)
        figures = {"own_ms": round(own, 4), "stock_ms": round(stock, 4), "stock_over_own": round(stock / own, 2)}
        every = {f"{name}_all_ms": [round(ms, 4) for ms in times[count, name]] for name in ways}
        rows.append({**asdict(work), "threads": count, "layers": len(layers), **figures, **every})
    return rows


def main() -> None:
    """Prints a table, and writes the figures where --json says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("-r", "--repeats", type=int, default=9, help="rounds over both kernels")
    parser.add_argument("--json", type=Path, help="where the figures go")
    given = parser.parse_args()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # where the stock kernels' library logs a line a call
    load_kernels()
    calls = Calls(library_path())
    rows = []
    print(f"{'':8} {'tokens':>6} {'depth':>6} {'threads':>7} {'own ms':>9} {'stock ms':>9} {'ratio':>6}")
    for work in all_work():
        for row in measure(calls, work, (1, torch.get_num_threads()), given.repeats):
            rows.append(row)
            names = ("tokens", "depth", "threads", "own_ms", "stock_ms", "stock_over_own")
            print(
                f"{work.what:8} " + " ".join(f"{row[n]:>{w}}" for n, w in zip(names, (6, 6, 7, 9, 9, 6), strict=True))
            )
    if given.json:
        result = {
            "date": date.today().isoformat(),
            "machine": describe_machine(),
            "executorch": version("executorch"),
            "path": calls.paths()[0],
            "shape": {"heads": HEADS, "kv_heads": KV_HEADS, "width": WIDTH, "cache": "int8", "window": WINDOW},
            "rows": rows,
        }
        given.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
