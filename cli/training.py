"""The command `train`."""

from pathlib import Path

import click

from cli.command import PocketCommand
from cli.options import PATH, json_option
from cli.terminal import Terminal


@click.command(
    cls=PocketCommand,
    short_help="Run file to trained checkpoint.",
    example=(
        "pocketlm train train/runs/nano.toml runs/nano\n"
        "pocketlm train train/runs/nano.toml runs/nano --resume\n"
        "pocketlm train my.toml --set train.steps=500 --dry-run\n"
        "pocketlm train my.toml --processes 8"
    ),
)
@click.argument("run_file", metavar="RUN.toml", type=PATH)
@click.argument("out", required=False, type=PATH)
@click.option("--resume", is_flag=True, help="Go on from the newest whole state in OUT.")
@click.option("--set", "overrides", multiple=True, metavar="A.B=C", help="Change one setting of the run file.")
@click.option("--max-steps", type=click.IntRange(min=1), help="Stop after this step; the schedule stays the run's.")
@click.option("--dry-run", is_flag=True, help="Print every setting and what the run needs; write nothing.")
@click.option("--processes", type=click.IntRange(min=1), default=1, help="Train on so many GPUs or CPU processes.")
@json_option
@click.pass_obj
def train(
    terminal: Terminal,
    run_file: Path,
    out: Path | None,
    resume: bool,
    overrides: tuple[str, ...],
    max_steps: int | None,
    dry_run: bool,
    processes: int,
    as_json: bool,
) -> None:
    """Train a model as RUN.toml says, in the folder OUT (default: runs/ and the run file's name).

    OUT gets metrics.jsonl, loss.svg, the states to resume from and, at the end, checkpoint/ for `pocketlm quantize`.
    """
    from train.team import is_one_of_many

    if processes > 1 and not dry_run and not is_one_of_many():
        from train.launch import launch

        argv = ["train", str(run_file), *([] if out is None else [str(out)]), *(["--resume"] if resume else [])]
        argv += [word for override in overrides for word in ("--set", override)]
        argv += [] if max_steps is None else ["--max-steps", str(max_steps)]
        argv += ["--json"] * as_json + ["--verbose"] * terminal.is_verbose
        raise click.exceptions.Exit(launch(argv, processes, terminal.out, terminal.err))
    from cli.train_report import run_training

    result = run_training(
        terminal,
        run_file,
        out,
        overrides=overrides,
        resume=resume,
        max_steps=max_steps,
        dry_run=dry_run,
        processes=processes,
    )
    if result is not None:
        terminal.result(result.data, result.lines, as_json=as_json)
