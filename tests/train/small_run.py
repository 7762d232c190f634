"""A training run of a second: its text, its run file, and what of its output must be the same each time."""

import random
from pathlib import Path
from typing import Any

from train.metrics import read_metrics

STEPS, SAVE_EVERY = 12, 4
RUN = f"""
[model.config]
vocab_size = 300
dim = 32
num_layers = 2
num_heads = 2
num_kv_heads = 1
head_dim = 16
ffn_dim = 64
global_layers = [1]
sliding_window = 16
max_context = 64
qk_norm = true

[data]
sources = ["text"]
held_out_every = 10

[train]
steps = {STEPS}
window = 32
final_window = 64
final_steps = 3
batch_tokens = 128
micro_batch_tokens = 64
threads = 1
evaluate_every = {SAVE_EVERY}
evaluate_tokens = 256
save_every = {SAVE_EVERY}

[optimizer]
lr = 1e-2
warmup_steps = 3
"""
_WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "and",
    "went",
    "out",
    "to",
    "see",
    "its",
    "friend",
    "with",
    "red",
    "balls",
]


def write_run_file(folder: Path, text: str = RUN, *, documents: int = 40) -> Path:
    """The run file of a second, beside a folder with its text."""
    random_ = random.Random(0)
    (folder / "text").mkdir(parents=True)
    for i in range(documents):
        words = " ".join(random_.choice(_WORDS) for _ in range(100))
        (folder / "text" / f"{i:02d}.txt").write_text(f"Story {i}. {words}.\n")
    path = folder / "small.toml"
    path.write_text(text)
    return path


def result(out: Path) -> dict[str, Any]:
    """What an interrupted and an uninterrupted run have in common, to the bit: the checkpoint and every figure."""
    checkpoint = {path.name: path.read_bytes() for path in (out / "checkpoint").iterdir()}
    figures = [
        {key: value for key, value in record.items() if key not in ("seconds", "tokens_per_second")}
        for record in read_metrics(out / "metrics.jsonl")
        if record.get("event") not in ("start", "resume")
    ]
    return {"checkpoint": checkpoint, "figures": figures}


def hidden_files(out: Path) -> list[str]:
    """What was left half-written; the lock of a folder stays."""
    return sorted(path.name for path in out.rglob(".*") if path.name != ".lock")
