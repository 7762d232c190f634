"""The steps of the demo, each the same call that its command makes."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from cli.engines import Opened, Sampling, open_engine
from cli.report import Result, size, tree_bytes
from cli.terminal import Terminal

PRESET = "nano"
RECIPE = "8da4w-g32"
PROMPT = "Once upon a time"
NEW_TOKENS = 64
_MARK = "pocketlm-demo.txt"  # says that a folder is the demo's own, to be overwritten


def run_demo(terminal: Terminal, folder: Path) -> Result:
    """Makes a checkpoint, a quantized checkpoint and a package below `folder`, and runs the package.

    Raises:
        ValueError: `folder` holds something that the demo has not made.
    """
    from cli.jobs import export_job, quantize_job, random_job
    from export.inspect import inspect_package

    _claim(folder)
    checkpoint, quantized, package = folder / "checkpoint", folder / "quantized", folder / "package"
    with terminal.step(f"1/5 convert   {PRESET} with random weights -> {checkpoint}"):
        random_job(PRESET, checkpoint, seed=0, overwrite=True, dry_run=False)
    with terminal.step(f"2/5 quantize  {RECIPE} -> {quantized}"):
        quantize_job(checkpoint, quantized, recipe=RECIPE, group_size=None, overwrite=True, dry_run=False)
    with terminal.step(f"3/5 export    xnnpack -> {package}"):
        export_job(
            quantized,
            package,
            targets=("xnnpack",),
            max_context=None,
            prefill_chunk=None,
            bounded=False,
            zipped=False,
            overwrite=True,
            dry_run=False,
        )
    with terminal.step("4/5 inspect   hashes, layers and operators"):
        report = inspect_package(package)
    with (
        terminal.step(f"5/5 generate  {NEW_TOKENS} tokens after {PROMPT!r}"),
        open_engine(package, runner="python", sampling=Sampling(temperature=0.0, top_p=None, seed=None)) as opened,
    ):
        figures = _generate(opened)
    data = figures | {
        "problems": list(report.problems),
        "checkpoint_bytes": tree_bytes(checkpoint),
        "package_bytes": tree_bytes(package),
        "package": str(package),
    }
    return Result(data=data, lines=[*_table(terminal, data), "", *_next(package)])


def _claim(folder: Path) -> None:
    mark = folder / _MARK
    if folder.exists() and not mark.is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists and was not made by the demo; name another folder: pocketlm demo OTHER")
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text("Made by `pocketlm demo`, which overwrites this folder.\n", encoding="utf-8")


def _generate(opened: Opened) -> dict[str, Any]:
    import time

    from chat.reply import ReplyStream

    reply = ReplyStream(opened.turns.stop_texts, time.monotonic)
    for piece in opened.engine.stream(PROMPT, first=True, max_new_tokens=NEW_TOKENS):
        reply.take(piece)
    reply.finish()
    manifest = opened.manifest
    return {
        "parameters": manifest.model.parameters,
        "cache_bytes": manifest.cache.bytes,
        "program_bytes": manifest.memory.program_bytes,
        "new_tokens": reply.num_tokens,
        "decode_tokens_per_s": reply.decode_tokens_per_s,
        "text": reply.text,
        "context_tokens": manifest.context.tokens,
    }


def _table(terminal: Terminal, data: dict[str, Any]) -> list[str]:
    float_bytes = 4 * data["parameters"]
    rate = data["decode_tokens_per_s"]
    rows = [
        ("parameters", f"{data['parameters']:,}"),
        ("weights as float32", size(float_bytes)),
        ("model.pte (INT4)", f"{size(data['program_bytes'])}, {float_bytes / data['program_bytes']:.1f} times smaller"),
        ("cache", f"{size(data['cache_bytes'])} for the last {data['context_tokens']:,} tokens, for ever"),
        ("speed", f"{rate:.0f} tokens/s on this machine" if rate else "not measured"),
        ("undelegated or float", f"{len(data['problems'])} problems" if data["problems"] else "nothing"),
    ]
    return ["", *(f"  {terminal.bold(name.ljust(22))}{value}" for name, value in rows)]


def _next(package: Path) -> list[str]:
    command = _command()
    return [
        "Try next:",
        f"  {command} chat {package}",
        f'  {command} generate {package} "Once upon a time" --runner native    (the code that runs on phones)',
        f"  {command} inspect {package}",
        f"  {command} convert YOUR_MODEL_FOLDER checkpoint/    (then quantize, export, chat)",
    ]


def _command() -> str:
    """How the user can call us again: by name where the shell finds it, else by the path that was used."""
    name = Path(sys.argv[0])
    return name.name if shutil.which(name.name) or not name.is_file() else os.path.relpath(name)
