"""The commands that say how fast a package is and where its time goes: `bench` and `profile`."""

from pathlib import Path
from typing import Any

import click

from cli.command import PocketCommand
from cli.options import PATH, json_option
from cli.terminal import Terminal

_MOST = 1_000_000_000  # tokens, as the runner's own bound
_MOST_THREADS = 1024
_PATHS = ["own", "avx512vnni", "avx2", "neondot", "portable"]  # stock ones are in no library without torch


def _numbers(low: int, high: int) -> Any:
    def read(_: click.Context, parameter: click.Parameter, given: str | None) -> tuple[int, ...] | None:
        if given is None:
            return None
        parts = [part.strip() for part in given.split(",")]
        if not all(part.isascii() and part.isdigit() and low <= int(part) <= high for part in parts):
            raise click.BadParameter(f"{given!r}; give whole numbers from {low} to {high:,}, separated by commas")
        return tuple(sorted({int(part) for part in parts}))

    return read


def _places(function: Any) -> Any:
    """Options about files, with the same meaning in both commands."""
    function = json_option(function)
    function = click.option("-o", "--output", type=PATH, help="Also write the result here.")(function)
    function = click.option("--overwrite", is_flag=True, help="Replace that file.")(function)
    return click.option(
        "--kernels",
        type=click.Choice(_PATHS),
        help="Which of the native runner's attention kernels; own, the default, is the best for the processor.",
    )(function)


@click.command(
    cls=PocketCommand,
    short_help="Time a package with the native runner.",
    example=(
        "pocketlm bench package/\n"
        "pocketlm bench package/ -p 512 -n 128 --depth 0,2048,8192 --threads 1,2 -r 5 --json -o bench.json\n"
        "pocketlm bench package/ --adb --ndk ~/android-ndk --sdk executorch-android/"
    ),
)
@click.argument("package", type=PATH)
@click.option("-p", "prompt_tokens", type=click.IntRange(0, _MOST), help="Tokens of a prefill (default 512).")
@click.option("-n", "new_tokens", type=click.IntRange(0, _MOST), help="Tokens of a decode (default 64).")
@click.option(
    "--depth",
    "depths",
    default="0",
    show_default=True,
    metavar="D,...",
    callback=_numbers(0, _MOST),
    help="Positions in the cache before.",
)
@click.option(
    "--threads",
    metavar="T,...",
    callback=_numbers(1, _MOST_THREADS),
    help="Numbers of threads, alternating (default: the fast cores).",
)
@click.option("-r", "repeats", type=click.IntRange(1, 10_000), default=3, show_default=True, help="Repeats.")
@click.option("--weights-cache", type=PATH, help="Map packed weights from this file; it is made when it is not there.")
@click.option("--adb", "on_phone", is_flag=True, help="Measure on a phone (never tried by those who wrote it).")
@click.option("--serial", help="Which phone, as `adb devices` names it.")
@click.option("--ndk", type=PATH, envvar="ANDROID_NDK_HOME", show_envvar=True, help="Android's NDK, for --adb.")
@click.option("--sdk", type=PATH, help="An Android build of ExecuTorch, for --adb (docs/bench.md).")
@_places
@click.pass_obj
def bench(terminal: Terminal, package: Path, as_json: bool, **options: Any) -> None:
    """Load, prefill and decode PACKAGE with the native runner, alternating over threads and depths.

    Prints medians with quartiles, memory, and each speed against what this machine can do, measured in the same run:
    bytes that a decoded token reads against the memory's bandwidth, operations of a prefill against the integer peak.
    """
    from cli.bench_job import bench_job

    found = bench_job(package, progress=terminal.log, is_verbose=terminal.is_verbose, **options)
    terminal.result(found.data, found.lines, as_json=as_json)


@click.command(
    cls=PocketCommand,
    short_help="Where a package's time goes, by operator and layer.",
    example="pocketlm profile package/ -o profile.html\npocketlm profile package/ -p 128 -n 8 --depth 2048 --threads 2",
)
@click.argument("package", type=PATH)
@click.option("-p", "prompt_tokens", type=click.IntRange(0, _MOST), help="Tokens of the prefill (default: the chunk).")
@click.option(
    "-n", "new_tokens", type=click.IntRange(0, _MOST), default=8, show_default=True, help="Tokens of the decode."
)
@click.option(
    "--depth", type=click.IntRange(0, _MOST), default=0, show_default=True, help="Positions in the cache before."
)
@click.option("--threads", type=click.IntRange(1, _MOST_THREADS), default=1, show_default=True, help="Threads.")
@_places
@click.pass_obj
def profile(terminal: Terminal, package: Path, as_json: bool, **options: Any) -> None:
    """Trace PACKAGE's operators while it prefills and decodes, and add their times up by operator and by layer.

    With -o FILE a page with tables and a flame chart (or FILE.json: the figures). The parts add up to the whole; the
    same work is timed without a trace, too.
    """
    from cli.bench_job import profile_job

    found = profile_job(package, progress=terminal.log, is_verbose=terminal.is_verbose, **options)
    terminal.result(found.data, found.lines, as_json=as_json)
