"""A training run in its folder: prepare, resume, step, evaluate, save, and at the end a checkpoint to quantize."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from model.errors import EnvironmentFault
from train.circumstances import circumstances
from train.display import Display, Silent
from train.engine import Engine, deterministic, find_device, num_cpus
from train.finish import score_checkpoint, write_trained
from train.folder import (
    CHECKPOINT_FOLDER,
    METRICS_FILE,
    PLOT_FILE,
    RUN_FILE,
    STATES_FOLDER,
    TOKENS_FOLDER,
    describe_newest,
    find_done,
    find_run,
    refuse_foreign,
    remove_half_written,
    write_run,
)
from train.held_out import held_out_windows
from train.lock import folder_lock
from train.metrics import Metrics, read_metrics
from train.objective import Objective
from train.order import DataOrder
from train.plot import write_plot
from train.run_file import check_resumable
from train.settings import RunSettings
from train.state import find_newest
from train.steps import Steps
from train.team import Team
from train.tokens import TokenSet, prepare_tokens


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    output: Path
    step: int  # reached
    steps: int
    done: dict[str, Any] | None  # of a finished run: the checkpoint's figures on the held-out documents


def train(
    settings: RunSettings,
    out: Path,
    *,
    base: Path,
    resume: bool = False,
    max_steps: int | None = None,
    display: Display,
    team: Team | None = None,
) -> TrainResult:
    """Trains a model in the folder `out`, or goes on with the run that is there.

    Args:
        base: the folder that relative paths of the run file start from.
        resume: go on from the newest whole state; with nothing there, begin.
        max_steps: stop after this step; the schedule stays that of the whole run.
        team: the processes that train together, each of which calls this; None: this one alone.

    Raises:
        ValueError: bad input, another run's folder, or a loss that is not finite (the states on disk stay).
        EnvironmentFault: the disk is full or a library is missing.
    """
    if max_steps is not None and max_steps < 1:
        raise ValueError(f"max_steps is {max_steps}; it must be at least 1")
    team = Team() if team is None else team
    display = display if team.is_first else Silent()
    device = find_device(settings.train.device, team)
    steps = settings.train.steps
    last = steps if max_steps is None else min(max_steps, steps)
    with contextlib.ExitStack() as held:
        if team.is_first:
            refuse_foreign(out)  # before a lock is put there
            held.enter_context(folder_lock(out))
        run, done = team.from_first(lambda: _open(settings, out, resume, display))
        if done is None:
            # All of the machine's processors for one process; a share of them for one of several.
            own = settings.train.threads or (max(1, num_cpus() // team.local_size) if team.size > 1 else 0)
            with deterministic(device, own) as threads:
                reached = _Run(settings, out, base, device, threads, display, team).train(run, last)
            done = find_done(out) if team.is_first else None
        else:
            reached = steps
        return TrainResult(output=out, step=reached, steps=steps, done=done)


def _open(
    settings: RunSettings, out: Path, resume: bool, display: Display
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """What run.json says of a run that goes on, and the last record of one that is finished."""
    run = find_run(out, resume)
    if run is not None:
        for line in check_resumable(run["settings"], settings.to_json()):
            display.note(line)
    elif resume:
        display.note(f"there is no run in {out} yet: beginning at step 1")
    remove_half_written(out)
    done = find_done(out)
    if done is not None:
        display.note("this run is finished already")
        if not (out / PLOT_FILE).is_file():
            _plot(settings, out, display)
    return run, done


class _Run:
    """From the text to the last step, and to the checkpoint."""

    def __init__(
        self,
        settings: RunSettings,
        out: Path,
        base: Path,
        device: torch.device,
        threads: int,
        display: Display,
        team: Team,
    ) -> None:
        self._settings, self._out, self._base, self._device = settings, out, base, device
        self._threads, self._display, self._team = threads, display, team

    def train(self, run: dict[str, Any] | None, last: int) -> int:
        """To step `last`, and to the checkpoint if that is the run's last one; returns the step reached."""
        settings, out, display, team = self._settings, self._out, self._display, self._team
        tokens = team.first_then_others(self._tokens)
        order = DataOrder(settings.train, tokens=tokens.train.tokens, window=tokens.train.window)
        facts = {"settings": settings.to_json(), "tokens_sha256": tokens.sha256, "threads": self._threads}
        facts |= {"processes": team.size} if team.size > 1 else {}
        found = None if run is None else team.from_first(lambda: self._newest(run, facts))
        start = 0 if found is None else found["step"]
        engine = self._engine(order, start, last)
        if run is None and team.is_first:
            write_run(out, facts)
        if found is not None:
            engine.restore_from(Path(found["path"]))
        with contextlib.ExitStack() as opened:
            metrics = None
            if team.is_first:
                metrics = opened.enter_context(Metrics.open(out / METRICS_FILE, keep_to_step=start if run else None))
                event = {"event": "start" if run is None else "resume", "after_step": start}
                metrics.write(event | circumstances(settings, tokens, self._device, self._threads, team.size))
            try:
                with team.together():
                    Steps(
                        settings, out, engine, order, held_out_windows(settings, tokens), metrics, display, facts, team
                    ).run(start, last)
                    if last == settings.train.steps:
                        self._finish(engine, tokens, metrics)
            except (KeyboardInterrupt, SystemExit, EnvironmentFault) as error:  # Ctrl-C, SIGTERM, a full disk
                if not isinstance(error, SystemExit) or error.code != 1:  # 1: another process has failed and says why
                    display.note(f"{describe_newest(out)}; go on with --resume")
                raise
        if team.is_first:
            _plot(settings, out, display)
        return max(start, last)

    def _tokens(self) -> TokenSet:
        settings = self._settings
        return prepare_tokens(
            settings.data,
            settings.tokenizer,
            vocab_size=settings.model.shape.vocab_size,
            folder=self._out / TOKENS_FOLDER if settings.data.tokens is None else self._base / settings.data.tokens,
            base=self._base,
            progress=self._display.note,
        )

    def _newest(self, run: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any] | None:
        """Step and path of the newest whole state of a run, None where none was saved.

        Raises:
            ValueError: the text has changed, or every state is damaged.
        """
        if run["tokens_sha256"] != facts["tokens_sha256"]:
            raise ValueError(
                f"the text of this run has changed since it began; restore it, or start another run than {self._out}"
            )
        found = find_newest(self._out / STATES_FOLDER, self._display.note)
        if found is None:
            self._display.note("no state was saved yet: beginning at step 1")
            return None
        for what, least in (("threads", None), ("processes", 1)):
            before, now = found.facts.get(what, least), facts.get(what, least)
            if before != now:
                self._display.note(f"this run had {before} {what} and has {now} now: the last bits may differ")
        return {"step": found.step, "path": str(found.path)}

    def _engine(self, order: DataOrder, start: int, last: int) -> Engine:
        def prepare(objective: Objective) -> None:
            objective.prepare(
                (order.batch(step) for step in range(start + 1, last + 1)),
                total=max(0, last - start) * self._settings.train.batch_tokens,
                progress=self._display.note,
            )

        if self._team.size > 1:
            from train.sharded_engine import ShardedEngine  # loads torch.distributed

            return ShardedEngine(self._settings, self._device, base=self._base, team=self._team, prepare=prepare)
        engine = Engine(self._settings, self._device, base=self._base)
        prepare(engine.objective)
        return engine

    def _finish(self, engine: Engine, tokens: TokenSet, metrics: Metrics | None) -> None:
        """Writes the checkpoint and measures it."""
        settings, folder = self._settings, self._out / CHECKPOINT_FOLDER
        facts = (self._out / RUN_FILE).read_bytes()
        with engine.whole_model() as model:
            self._team.from_first(lambda: write_trained(settings, model, tokens, folder, facts, base=self._base))

        def score() -> None:
            record = score_checkpoint(settings, folder, tokens, device=self._device, progress=self._display.note)
            assert metrics is not None
            metrics.write({"event": "done", "after_step": settings.train.steps} | record)

        self._team.from_first(score)


def _plot(settings: RunSettings, out: Path, display: Display) -> None:
    try:
        write_plot(read_metrics(out / METRICS_FILE), out / PLOT_FILE, settings.name)
    except (ValueError, EnvironmentFault) as error:  # the figures are safe; the picture is not worth the run
        display.note(f"no plot: {error}")
