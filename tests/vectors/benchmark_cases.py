"""The benchmark vectors: which runs are made for a package, and what is exported of them."""

import statistics
from typing import Any

from tests.vectors.text_cases import Case

PROMPTS = (16, 128, 512)  # tokens
NEW_TOKENS = 64
REPEATS = 3
FIGURES = ("time_to_first_token_s", "prefill_tokens_per_s", "decode_tokens_per_s")

CONTEXTS: list[tuple[str, str, int]] = [
    ("a long endless context", "endless", 8192),
    ("an endless context shorter than the longest prompt", "endless", 256),
    ("a bounded context", "bounded", 1024),
    ("a bounded context that just holds the longest prompt", "bounded", 576),
    ("a bounded context one token shorter", "bounded", 575),
    ("a small bounded context", "bounded", 96),
    ("a tiny bounded context", "bounded", 20),
    ("the smallest bounded context", "bounded", 2),
    ("a tiny endless context", "endless", 8),
]


def plan(kind: str, tokens: int) -> Case:
    """A warm-up, then every prompt in turn, again and again, so that heat is spread over all of them.

    A bounded context holds prompt and new tokens; of a tiny one half is new. A prompt is never longer than a context.
    """
    new = NEW_TOKENS if kind == "endless" else min(NEW_TOKENS, max(1, tokens // 2))
    room = tokens if kind == "endless" else tokens - new
    prompts = [prompt for prompt in PROMPTS if prompt <= room] or [room]
    runs = [{"prompt_tokens": prompts[0], "is_warm_up": True}]
    runs += [{"prompt_tokens": prompt, "is_warm_up": False} for _ in range(REPEATS) for prompt in prompts]
    return {"new_tokens": new, "runs": runs}


def _run(prompt: int, first: float | None, prefill: float | None, decode: float | None, *, warm: bool = False) -> Case:
    return {
        "prompt_tokens": prompt,
        "new_tokens": 64 if first is not None else 0,
        "is_warm_up": warm,
        "time_to_first_token_s": first,
        "prefill_tokens_per_s": prefill,
        "decode_tokens_per_s": decode,
        "memory_bytes": 700_000_000,
        "thermal": "nominal",
    }


RUNS: list[tuple[str, list[Case]]] = [
    (
        "three of each",
        [
            _run(16, 0.5, 32.0, 10.0, warm=True),
            _run(16, 0.25, 64.0, 20.0),
            _run(128, 1.0, 128.0, 18.0),
            _run(16, 0.125, 128.0, 24.0),
            _run(128, 2.0, 64.0, 17.0),
            _run(16, 0.5, 32.0, 22.0),
            _run(128, 1.5, 96.0, 19.0),
        ],
    ),
    ("an even number", [_run(16, 0.25, 64.0, 20.0), _run(16, 0.75, 16.0, 21.0)]),
    ("a run without a figure", [_run(16, 0.25, None, None), _run(16, 0.5, 32.0, None)]),
    ("the warm-up alone", [_run(16, 0.25, 64.0, 20.0, warm=True)]),
    ("nothing", []),
]
ABOUT: Case = {
    "app": {"name": "PocketLM", "version": "0.1.0"},
    "device": {"model": "Pixel 9", "system": "Android 16", "memory_bytes": 12_000_000_000, "threads": 4},
    "package": {
        "id": "ab" * 32,
        "name": "nano",
        "target": "xnnpack",
        "recipe": "8da4w-g32",
        "parameters": 5_770_496,
        "context": {"kind": "endless", "tokens": 1024},
    },
    "runtime": "executorch 1.5.1",
}


def export(about: Case, runs: list[Case], new_tokens: int) -> Case:
    """The exported document: all runs, and the median of each figure by prompt, the warm-up left out."""
    measured = [run for run in runs if not run["is_warm_up"]]
    prompts = sorted({run["prompt_tokens"] for run in measured})
    return {
        "schema_version": 1,
        **about,
        "new_tokens": new_tokens,
        "runs": runs,
        "summary": [
            {"prompt_tokens": prompt} | {figure: _median(measured, prompt, figure) for figure in FIGURES}
            for prompt in prompts
        ],
    }


def _median(runs: list[Case], prompt: int, figure: str) -> float | None:
    given: list[Any] = [run[figure] for run in runs if run["prompt_tokens"] == prompt and run[figure] is not None]
    return statistics.median(given) if given else None


def benchmark_cases() -> list[Case]:
    cases: list[Case] = [
        {
            "name": f"plan: {name}",
            "call": "plan",
            "context": {"kind": kind, "tokens": tokens},
            "expected": plan(kind, tokens),
        }
        for name, kind, tokens in CONTEXTS
    ]
    cases += [
        {
            "name": f"export: {name}",
            "call": "export",
            "about": ABOUT,
            "new_tokens": 64,
            "runs": runs,
            "expected": export(ABOUT, runs, 64),
        }
        for name, runs in RUNS
    ]
    return cases
