"""The commands about packages as files: `export` makes them, `inspect` looks into one."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.command import PocketCommand
from cli.options import PATH, json_option, one_output, output_option, write_options
from cli.terminal import Terminal

if TYPE_CHECKING:
    from export.inspect import Report
    from export.static_layout import Methods


def _targets(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    names = [name.strip() for item in given for name in item.split(",")]
    if not all(names):
        raise click.BadParameter("an empty target name; write --target xnnpack")
    return tuple(dict.fromkeys(names))


@click.command(
    cls=PocketCommand,
    short_help="Quantized checkpoint to package.",
    example=(
        "pocketlm export quantized/ package/ --target xnnpack\n"
        "pocketlm export quantized/ package.zip --zip --max-context 4096\n"
        "pocketlm export quantized/ packages/ --target xnnpack,coreml-gpu"
    ),
)
@click.argument("checkpoint", type=PATH)
@click.argument("out", required=False, type=PATH)
@output_option
@click.option(
    "--target",
    "targets",
    multiple=True,
    default=("xnnpack",),
    show_default=True,
    callback=_targets,
    help="Where it will run; repeat it or separate by commas for OUT/<target>/ each.",
)
@click.option(
    "--max-context",
    type=click.IntRange(min=1),
    metavar="N",
    help="Positions that global layers look back over (default: the target's, 8192 for xnnpack, 2048 for coreml-*).",
)
@click.option(
    "--prefill-chunk",
    type=click.IntRange(min=1),
    metavar="T",
    help="Most tokens of one step (default: the target's, 128 for xnnpack, 64 for coreml-*).",
)
@click.option(
    "--methods",
    type=click.Choice(["two", "one"]),
    help="coreml-ane, coreml-gpu: a prefill beside the decode step (two, the default), or one method for both.",
)
@click.option(
    "--allow-lint",
    multiple=True,
    metavar="RULE",
    help="coreml-ane: export although the Neural Engine's lint finds this; repeat it for several rules.",
)
@click.option("--bounded", is_flag=True, help="Full caches that end at N, not an endless window over the last N.")
@click.option("--zip", "zipped", is_flag=True, help="Write one file instead of a folder.")
@write_options
@click.pass_obj
def export(
    terminal: Terminal,
    checkpoint: Path,
    out: Path | None,
    output: Path | None,
    targets: tuple[str, ...],
    max_context: int | None,
    prefill_chunk: int | None,
    bounded: bool,
    methods: "Methods | None",
    allow_lint: tuple[str, ...],
    zipped: bool,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Lower the quantized CHECKPOINT into a package OUT: model.pte, tokenizer, licences and manifest.json.

    The export checks its own work and fails, naming the cause, when the file is not what the checkpoint says.
    """
    from cli.jobs import export_job

    result = export_job(
        checkpoint,
        one_output(out, output),
        targets=targets,
        max_context=max_context,
        prefill_chunk=prefill_chunk,
        bounded=bounded,
        methods=methods,
        allow_lint=allow_lint,
        zipped=zipped,
        overwrite=overwrite,
        dry_run=dry_run,
    )
    terminal.result(result.data, result.lines, as_json=as_json)


@click.command(
    cls=PocketCommand,
    short_help="Verify a package and list what is in it.",
    example="pocketlm inspect package/ --strict",
)
@click.argument("package", type=PATH)
@click.option("--strict", is_flag=True, help="Exit with 3 when anything is undelegated or float.")
@json_option
@click.pass_obj
def inspect(terminal: Terminal, package: Path, strict: bool, as_json: bool) -> None:
    """Verify every hash of PACKAGE and list each layer's scheme and each operator with its backend."""
    from export.inspect import inspect_package

    report = inspect_package(package)
    terminal.result(report.to_json(), report.lines(), as_json=as_json)
    if strict:
        check_strict(package, report)


def check_strict(package: Path, report: "Report") -> None:
    """Refuses whatever is not as it should be, and every float matrix even where the recipe asks for it.

    Raises:
        GateError: the first problem, and how many more there are.
    """
    from export.layer_weights import float_problems
    from model.errors import GateError

    problems = list(dict.fromkeys([*report.problems, *float_problems(report.layers)]))
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise GateError(f"{package} fails --strict: {problems[0]}{more}; export it again with a recipe that fits")
