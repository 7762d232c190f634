"""An answer of the native runner's bench as its C++ writes it, with figures that are easy to reckon with."""

from typing import Any


def make_answer(*, threads: tuple[int, ...] = (1, 2), depths: tuple[int, ...] = (0, 16)) -> dict[str, Any]:
    """Three repeats; prefill of 32 tokens in 20, 10 and 40 ms, decode of 8 in 8, 4 and 16 ms."""
    return {
        "runner": {"version": "0.1.0", "executorch": "1.5.1", "kernels": "own kernels, AVX2", "machine": "x86_64"},
        "model": {"path": "model.pte", "bytes": 1000, "max_context": 241, "chunk": 16, "vocab_size": 320},
        "weights_cache": "none",
        "load_ms": {"map": 1.5, "method": 20, "first_call": 3},
        "memory": {
            "steady_bytes": 3 << 20,
            "peak_bytes": 4 << 20,
            "file_bytes": 1 << 20,
            "anonymous_bytes": 2 << 20,
            "large_page_bytes": 0,
        },
        "results": [
            {
                "threads": count,
                "first_token_ms": [21.0, 11.0, 41.0],
                "prefill": [{"depth": depth, "tokens": 32, "ms": [20.0, 10.0, 40.0]} for depth in depths],
                "decode": [{"depth": depth, "tokens": 8, "ms": [8.0, 4.0, 16.0]} for depth in depths],
                "bandwidth_gb_s": [10.0, 20.0, 15.0],
                "int8_peak_gops": [100.0, 300.0, 200.0],
            }
            for count in threads
        ],
    }
