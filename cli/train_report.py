"""What `train` does and says at its end."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.errors import exit_code
from cli.progress import TrainProgress, duration
from cli.report import Result, size
from cli.terminal import Terminal
from train.settings import RunSettings

if TYPE_CHECKING:
    from train.loop import TrainResult


def run_training(
    terminal: Terminal,
    run_file: Path,
    out: Path | None,
    *,
    overrides: tuple[str, ...],
    resume: bool,
    max_steps: int | None,
    dry_run: bool,
    processes: int = 1,
) -> Result | None:
    """Trains as a run file says, or plans it; None in the processes that leave the last word to the first."""
    from train.run_file import read_run
    from train.team import join_team

    with join_team(exit_code) as team:
        if terminal.own_log is not None and not team.is_first:
            terminal.own_log.setLevel(logging.WARNING)  # what all of them would say, the first one says
        settings = read_run(run_file, overrides)
        target = out if out is not None else Path("runs") / settings.name
        if dry_run:
            plan = plan_run(settings, target, base=run_file.parent, processes=max(processes, team.size))
            return plan if team.is_first else None
        from train.loop import train

        display = TrainProgress(terminal)
        try:
            result = train(
                settings,
                target,
                base=run_file.parent,
                resume=resume,
                max_steps=max_steps,
                display=display,
                team=team,
            )
        finally:
            display.close()
        return _report(settings, result) if team.is_first else None


def _report(settings: RunSettings, result: "TrainResult") -> Result:
    """The end of a run, for people and programs."""
    from train.folder import CHECKPOINT_FOLDER

    out = result.output
    checkpoint = out / CHECKPOINT_FOLDER
    data = {
        "output": str(out),
        "step": result.step,
        "steps": result.steps,
        "checkpoint": str(checkpoint) if result.done is not None else None,
        "figures": result.done,
    }
    if result.done is None:
        return Result(
            data=data,
            lines=[
                f"{out}: stopped after step {result.step} of {result.steps}",
                "go on with the same command and --resume",
            ],
        )
    lines = [f"{out}: {result.steps} steps, {settings.model.shape.num_parameters:,} parameters"]
    figures = result.done
    if "held_out_bits_per_byte" in figures:
        what = "held-out text, by the integers that it was trained for" if settings.qat else "held-out text"
        lines.append(
            f"{what}: {figures['held_out_bits_per_byte']:.3f} bits per byte "
            f"({figures['held_out_documents']} documents, {figures['held_out_bytes']:,} bytes)"
        )
    if "xz_each_bits_per_byte" in figures:
        lines.append(
            f"  xz -9e of the same bytes: {figures['xz_each_bits_per_byte']:.3f} one by one, "
            f"{figures['xz_together_bits_per_byte']:.3f} in one"
        )
    return Result(data=data, lines=[*lines, f"next: pocketlm quantize {checkpoint} quantized/"])


def plan_run(settings: RunSettings, out: Path, *, base: Path, processes: int) -> Result:
    """Every setting, and what the run needs."""
    from train.cost import estimate_cost
    from train.run_file import flat_settings

    cost = estimate_cost(settings, base=base, processes=processes)
    data = {"dry_run": True, "output": str(out), "settings": settings.to_json(), "estimate": cost.to_json()}
    lines = [f"would train in {out}; nothing was written"]
    lines += [f"  {key} = {_spelt(value)}" for key, value in flat_settings(settings.to_json()).items()]
    lines += [
        f"parameters: {cost.parameters:,}",
        f"tokens: {cost.tokens:,} in {settings.train.steps:,} steps",
        f"memory: about {size(cost.memory_bytes)} on {cost.device}"
        + (f" in each of {processes} processes" if processes > 1 else ""),
        f"time: about {duration(cost.seconds)} on this machine as it is now ({cost.basis})",
    ]
    return Result(data=data, lines=lines)


def _spelt(value: Any) -> str:
    """A value as a run file spells it."""
    return "(not set)" if value is None else json.dumps(value, ensure_ascii=False)
