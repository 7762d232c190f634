"""The command `estimate`."""

from typing import TYPE_CHECKING, Literal

import click

from cli.command import PocketCommand
from cli.options import json_option
from cli.report import size
from cli.terminal import Terminal

if TYPE_CHECKING:
    from export.estimate import Estimate


@click.command(
    cls=PocketCommand,
    short_help="Sizes, memory and time before any work.",
    example=(
        "pocketlm estimate mobilellm-pro --max-context 8192\npocketlm estimate checkpoint/ --recipe 8da4w-g32 --json"
    ),
)
@click.argument("source", metavar="PRESET|CHECKPOINT")
@click.option("--recipe", help="What is quantized and how (default: what the target holds, or a checkpoint's own).")
@click.option("--group-size", type=int, help="Columns that share a scale (default: the recipe's).")
@click.option("--target", default="xnnpack", show_default=True, help="Where it will run.")
@click.option("--max-context", type=click.IntRange(min=1), metavar="N", help="As in export.")
@click.option("--prefill-chunk", type=click.IntRange(min=1), metavar="T", help="As in export.")
@click.option("--bounded", is_flag=True, help="As in export.")
@click.option("--methods", type=click.Choice(["two", "one"]), help="As in export.")
@json_option
@click.pass_obj
def estimate(
    terminal: Terminal,
    source: str,
    recipe: str | None,
    group_size: int | None,
    target: str,
    max_context: int | None,
    prefill_chunk: int | None,
    bounded: bool,
    methods: Literal["two", "one"] | None,
    as_json: bool,
) -> None:
    """Say what a package of a preset or checkpoint will weigh and need, from shapes alone; nothing is read or written.

    A preset wins over a folder of its name; write ./name for the folder.
    """
    from export import estimate as estimates

    found = estimates.estimate(
        source,
        recipe=recipe,
        group_size=group_size,
        target=target,
        max_context=max_context,
        prefill_chunk=prefill_chunk,
        bounded=bounded,
        methods=methods,
    )
    terminal.result(found.to_json(), estimate_lines(found), as_json=as_json)


def estimate_lines(found: "Estimate") -> list[str]:
    """The table for people."""
    plan, program = found.plan, found.program
    rows = [
        ("program (.pte)", size(program.total), f"of them {size(program.constants)} input table and norms"),
        ("whole package", size(found.package_bytes), f"with a tokenizer of {size(found.tokenizer_bytes)}"),
        ("cache", size(plan.cache.bytes), f"{plan.context.kind}, {plan.context.tokens:,} tokens, chunk {plan.chunk}"),
        *_memory_rows(found),
        ("export", size(found.export_peak_bytes), f"and {found.export_seconds:,.0f} s on {found.export_machine}"),
    ]
    return [
        f"{found.source}: {found.parameters:,} parameters, recipe {found.recipe}, target {plan.target.name}",
        *(f"  {name:18}{amount:>12}  {more}".rstrip() for name, amount, more in rows),
        *(f"  note: {note}" for note in found.notes),
    ]


def _memory_rows(found: "Estimate") -> list[tuple[str, str, str]]:
    """What a phone needs and what it is made of; then hosts, where one runs the package itself."""
    phone = ("memory on a phone", size(found.phone.estimated_peak_bytes), "peak of the app's process:")
    memory = found.memory
    if memory is None:
        from export.memory_coreml import ASSUMING

        parts = (f"    {what} {size(amount)}" for what, amount in found.phone_parts.items())
        return [phone, *(("", "", line) for line in (f"  {ASSUMING}:", *parts))]
    return [
        phone,
        *(("", "", f"  {size(amount):>10} {what}") for what, amount in found.phone_parts.items() if amount),
        ("memory on a host", size(memory.in_generate), "peak of the process of `generate`"),
        ("", size(memory.in_native_child), "peak of the child process of `generate --runner native`"),
        ("", size(memory.in_runner), "peak of our native runner (`--runner cpp`, `bench`), its context full"),
    ]
