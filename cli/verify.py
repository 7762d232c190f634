"""The command that proves a package to hold a checkpoint's own numbers: `verify`."""

from pathlib import Path

import click

from cli.command import PocketCommand
from cli.options import PATH, json_option
from cli.terminal import Terminal


@click.command(
    cls=PocketCommand,
    short_help="Prove that a package holds a checkpoint's codes and scales.",
    example=(
        "pocketlm verify package/ --against quantized/\n"
        "pocketlm verify package.zip --against runs/qat/checkpoint -o certificate.json\n"
        "pocketlm verify coreml-ane/ --against quantized/ --steps 20"
    ),
)
@click.argument("package", type=PATH)
@click.option(
    "--against",
    "checkpoint",
    type=PATH,
    required=True,
    metavar="CKPT",
    help="The quantized checkpoint, or the float one that was trained for its recipe or rounded to nearest.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=0),
    metavar="N",
    help="Of a CoreML package: execute N calls of its program; 0 compares integers only (default: as many as pass "
    "every ring, or three of a large model).",
)
@click.option("-o", "--output", type=PATH, help="Keep the certificate in this file, as JSON.")
@click.option("--overwrite", is_flag=True, help="Replace that file.")
@json_option
@click.pass_obj
def verify(
    terminal: Terminal,
    package: Path,
    checkpoint: Path,
    steps: int | None,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Compare every code, scale and float in PACKAGE's program with CKPT's, bit for bit, and print a certificate.

    A float checkpoint is quantized again on the way. A program for Core ML, which no host has, is also executed
    instruction by instruction and held against the eager model. Exit code 3, naming layers or operations, when anything
    differs; nothing is kept then.
    """
    from export.verify import compare_package, refuse_problems
    from model.files import atomic_output, check_target, dump_json

    if output is not None:
        for source in (package, checkpoint):
            check_target(output, overwrite=overwrite, source=source)
    certificate = compare_package(package, checkpoint, steps=steps)
    terminal.result(certificate.to_json(), certificate.lines(), as_json=as_json)
    refuse_problems(package, checkpoint, certificate)
    if output is not None:
        with atomic_output(output, overwrite=overwrite, folder=False) as partial:
            partial.write_text(dump_json(certificate.to_json()), encoding="utf-8")
