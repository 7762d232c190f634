"""Takes what a finished run of train/runs/nano.toml has made into assets/nano: python -m assets.collect runs/nano

The weights are the run's, bit for bit; the checkpoint names its licence and the tokenizer's JSON loses its white space.
"""

import dataclasses
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from model.checkpoint import TEMPLATE_FILE, copy_licences, open_tensors, read_info, write_checkpoint
from train.metrics import read_metrics

ROOT = Path(__file__).resolve().parent.parent
MOST_BYTES = 12_000_000  # of assets/nano; the plot lies beside it
PLOT = "nano-loss.svg"
_TABLE = re.compile(r"(?<=<!-- figures -->\n).*?(?=<!-- end of figures -->)", re.DOTALL)


def collect(run: Path, out: Path) -> int:
    """Writes the checkpoint, the run's settings, log and text hashes into `out`, and its figures into the README there.

    Args:
        run: the output folder of `pocketlm train`.

    Returns:
        The bytes of all files in `out`.

    Raises:
        ValueError: the run is not finished or has no held-out figures, or the folder would outgrow `MOST_BYTES`.
    """
    metrics = read_metrics(run / "metrics.jsonl")
    if not metrics or "xz_each_bits_per_byte" not in metrics[-1]:
        raise ValueError(
            f"{run} is not a finished run with held-out figures: its log does not end with them. Go on with `pocketlm "
            "train ... --resume`; a last line without xz's figures has to be removed first, to be measured again"
        )
    source = run / "checkpoint"
    info, tensors = read_info(source), open_tensors(source)
    assert info.tokenizer is not None
    copy_licences(ROOT, out)
    info = dataclasses.replace(info, licences=("LICENSE",))
    write_checkpoint(out, info, ((name, tensors.get(name)) for name in tensors.names))
    tokenizer = json.loads((source / info.tokenizer.file).read_text(encoding="utf-8"))
    compact = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
    (out / info.tokenizer.file).write_text(compact + "\n", encoding="utf-8")
    for file in (source / TEMPLATE_FILE, run / "run.json", run / "metrics.jsonl", run / "tokens" / "documents.jsonl"):
        shutil.copyfile(file, out / file.name)
    shutil.copyfile(run / "loss.svg", out.parent / PLOT)
    readme = out / "README.md"
    readme.write_text(_TABLE.sub(_figures(metrics), readme.read_text(encoding="utf-8")), encoding="utf-8")
    total = sum(path.stat().st_size for path in out.iterdir())
    if total > MOST_BYTES:
        raise ValueError(f"{out} holds {total:,} bytes; at most {MOST_BYTES:,} belong into the repository")
    return total


def _figures(metrics: list[dict[str, Any]]) -> str:
    """A Markdown table of what the log says."""
    start, done = metrics[0], metrics[-1]
    steps = [record for record in metrics if "loss" in record]
    rows = [
        ("parameters", f"{start['parameters']:,}"),
        ("text to learn", f"{start['train_bytes']:,} bytes, {start['train_tokens']:,} tokens"),
        ("steps", f"{steps[-1]['step']:,} of {steps[0]['tokens']:,} tokens each"),
        (
            "hours",
            f"{sum(record['seconds'] for record in steps) / 3600:.1f} on {start['device']}, {start['threads']} threads",
        ),
        ("text held out", f"{done['held_out_documents']} modules, {done['held_out_bytes']:,} bytes"),
        ("**bits per held-out byte**", f"**{done['held_out_bits_per_byte']:.3f}**"),
        ("`xz -9e`, module by module", f"{done['xz_each_bits_per_byte']:.3f}"),
        ("`xz -9e`, all in one", f"{done['xz_together_bits_per_byte']:.3f}"),
        ("Python", start["python"]),
    ]
    return "".join(f"| {name} | {value} |\n" for name, value in (("", ""), ("---", "---"), *rows))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m assets.collect RUN_FOLDER")
    print(f"{collect(Path(sys.argv[1]), ROOT / 'assets' / 'nano'):,} bytes in assets/nano")
