"""The steps of the demo, each the same call that its command makes, and the table of what they measured."""

import os
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from cli.report import Result, size, tree_bytes
from cli.terminal import Terminal

MODEL = Path(__file__).resolve().parent.parent / "assets" / "nano"
RECIPE = "8da4w-g32"
PROMPT = "def read_json(path):"  # no line's end: nano's tokenizer has it in one token with the next line's indentation
NEW_TOKENS = 96
TEMPERATURE, SEED = 0.5, 0  # greedy text of so small a model runs in circles
_MARK = "pocketlm-demo.txt"  # says that a folder is the demo's own, to be overwritten
_INDENT = " " * 14  # under a step's words


def run_demo(terminal: Terminal, folder: Path, *, is_quiet: bool) -> Result:
    """Makes a quantized checkpoint and a package below `folder`, proves the file, and runs it.

    Args:
        is_quiet: nothing is streamed to stdout.

    Raises:
        ValueError: the model is not there, or `folder` holds something that the demo has not made.
        GateError: the written file differs from the checkpoint, or does not repeat its golden prompt.
        EnvironmentFault: the disk is full.
    """
    _check_model()
    _claim(folder)
    quantized, package = folder / "quantized", folder / "package"
    with terminal.step(f"1/5 quantize  {RECIPE} -> {quantized}"):
        parameters = _quantize(quantized)
    terminal.log(f"{_INDENT}{parameters:,} parameters that `pocketlm train` made of Python's standard library")
    with terminal.step(f"2/5 export    xnnpack -> {package}"):
        made = _export(quantized, package)
    with terminal.step("3/5 verify    the written file, byte by byte"):
        proof = verify_integers(quantized, package)
    terminal.log(
        f"{_INDENT}{proof['codes']:,} codes and {proof['scales']:,} scales of {proof['matrices']} matrices compared: "
        "all equal"
    )
    with terminal.step("4/5 self-test the golden prompt in a fresh runner"):
        golden = self_test(package)
    terminal.log(f"{_INDENT}{golden['repeated']} of {golden['compared']} tokens as the export measured them")
    terminal.log(f"5/5 generate  at most {NEW_TOKENS} tokens")
    talk = _generate(terminal, package, is_quiet=is_quiet)
    checkpoint_bytes = (MODEL / "model.safetensors").stat().st_size
    data = {
        "parameters": parameters,
        "checkpoint_bytes": checkpoint_bytes,
        "package_bytes": tree_bytes(package),
        "program_bytes": made["program_bytes"],
        "cache_bytes": made["cache_bytes"],
        "context_tokens": made["context"],
        "export_s": made["seconds"],
        "verified": proof,
        "golden": golden,
        **talk,
        "peak_memory_bytes": _peak_memory_bytes(),
        "package": str(package),
    }
    return Result(data=data, lines=[*_table(terminal, data), "", *_next(package)])


def verify_integers(quantized: Path, package: Path) -> dict[str, int]:
    """Proves a package as `pocketlm verify` does.

    Returns:
        How many `matrices`, `codes` and `scales` were compared; a tied table counts once.

    Raises:
        GateError: something differs, runs undelegated, or is float where the recipe says integers.
    """
    from export.verify import verify_package

    certificate = verify_package(package, quantized)
    return {"matrices": certificate.matrices, "codes": certificate.codes, "scales": certificate.scales}


def self_test(package: Path) -> dict[str, int]:
    """Generates a package's golden prompt again, in a runner that has run nothing before.

    Returns:
        How many ids the manifest says must be `compared`, and how many were `repeated`: as many.

    Raises:
        GateError: an id differs.
    """
    from export.golden import repeat_golden
    from export.package import open_package
    from export.runner import open_runner

    with open_package(package) as opened:
        golden = opened.manifest.golden
        return {"compared": golden.compared, "repeated": repeat_golden(open_runner(opened), golden)}


def _check_model() -> None:
    if not (MODEL / "checkpoint.json").is_file():
        raise ValueError(
            f"{MODEL} is missing: the demo's model comes with the source of pocketlm. Clone the repository and run "
            "`make demo` there, or begin with your own model: pocketlm convert MODEL_FOLDER checkpoint/"
        )


def _claim(folder: Path) -> None:
    mark = folder / _MARK
    if folder.exists() and not mark.is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists and was not made by the demo; name another folder: pocketlm demo OTHER")
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text("Made by `pocketlm demo`, which overwrites this folder.\n", encoding="utf-8")


def _quantize(quantized: Path) -> int:
    """Returns the number of parameters."""
    from cli.jobs import quantize_job

    result = quantize_job(MODEL, quantized, recipe=RECIPE, group_size=None, overwrite=True, dry_run=False)
    return int(result.data["parameters"])


def _export(quantized: Path, package: Path) -> dict[str, Any]:
    """Returns `export.export.PackageSummary` as JSON."""
    from cli.jobs import export_job

    result = export_job(
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
    made: dict[str, Any] = result.data["packages"][0]
    return made


def _generate(terminal: Terminal, package: Path, *, is_quiet: bool) -> dict[str, Any]:
    from chat.reply import ReplyStream
    from cli.engines import Sampling, open_engine

    def show(text: str) -> None:
        if not is_quiet:
            terminal.write(text)

    sampling = Sampling(temperature=TEMPERATURE, top_p=None, seed=SEED)
    with open_engine(package, runner="python", sampling=sampling) as opened:
        show("\n" + terminal.bold(PROMPT))
        reply = ReplyStream(opened.turns.stop_texts, time.monotonic)
        for piece in opened.engine.stream(PROMPT, first=True, max_new_tokens=NEW_TOKENS):
            show(reply.take(piece))
        show(reply.finish() + "\n")
    return {
        "prompt": PROMPT,
        "text": reply.text,
        "new_tokens": reply.num_tokens,
        "time_to_first_token_s": reply.time_to_first_token_s,
        "decode_tokens_per_s": reply.decode_tokens_per_s,
    }


def _peak_memory_bytes() -> int:
    """The most that this process has had in memory so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # getrusage(2): KiB on Linux, bytes on macOS


def _table(terminal: Terminal, data: dict[str, Any]) -> list[str]:
    rate, wait = data["decode_tokens_per_s"], data["time_to_first_token_s"]
    before, after = data["checkpoint_bytes"], data["package_bytes"]
    rows = [
        ("parameters", f"{data['parameters']:,}"),
        ("checkpoint", f"{size(before)}, {8 * before / data['parameters']:.1f} bits a parameter"),
        ("package", f"{size(after)}, {8 * after / data['parameters']:.1f} bits a parameter with tokenizer and licence"),
        ("float or undelegated", "nothing"),
        ("cache", f"{size(data['cache_bytes'])} for the last {data['context_tokens']:,} tokens, for ever"),
        ("first token", f"after {1000 * wait:.0f} ms" if wait is not None else "none"),
        ("decode", f"{rate:,.0f} tokens/s on this machine" if rate is not None else "not measured"),
        ("export", f"{data['export_s']:.0f} s"),
        ("peak memory", f"{size(data['peak_memory_bytes'])}, for all of this in one process"),
    ]
    return ["", *(f"  {terminal.bold(name.ljust(22))}{value}" for name, value in rows)]


def _next(package: Path) -> list[str]:
    command = _command()
    return [
        "Try next:",
        f'  {command} generate {package} "def write_lines(path, lines):" --temperature 0.5',
        f'  {command} generate {package} "class Queue:" --runner native    (the C++ code of the phones)',
        f"  {command} inspect {package}",
        f"  {command} convert YOUR_MODEL_FOLDER checkpoint/          (then quantize, export, chat)",
        f"  {command} train train/runs/nano.toml runs/nano           (how this model was made)",
    ]


def _command() -> str:
    """How the user can call us again: by name where the shell finds it, else by the path that was used."""
    name = Path(sys.argv[0])
    if name.name == "__main__.py":
        return f"{Path(sys.executable).name} -m {name.parent.name}"
    return name.name if shutil.which(name.name) or not name.is_file() else os.path.relpath(name)
