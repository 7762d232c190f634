"""A training run in its folder: prepare, resume, step, evaluate, save, and at the end a checkpoint to quantize."""

import math
import platform
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import torch
from torch import Tensor

from model.errors import EnvironmentFault
from train.engine import Engine, deterministic, find_device
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
from train.lock import folder_lock
from train.metrics import Metrics, read_metrics
from train.order import DataOrder
from train.plot import write_plot
from train.run_file import check_resumable
from train.settings import RunSettings
from train.state import State, load_newest, save_state
from train.tokens import TokenSet, prepare_tokens


class Display(Protocol):
    """Who shows a run to a person."""

    def step(self, record: dict[str, Any], *, steps: int) -> None: ...
    def evaluated(self, record: dict[str, Any]) -> None: ...
    def saved(self, step: int, path: Path) -> None: ...
    def note(self, line: str) -> None: ...


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
) -> TrainResult:
    """Trains a model in the folder `out`, or goes on with the run that is there.

    Args:
        base: the folder that relative paths of the run file start from.
        resume: go on from the newest whole state; with nothing there, begin.
        max_steps: stop after this step; the schedule stays that of the whole run.

    Raises:
        ValueError: bad input, another run's folder, or a loss that is not finite (the states on disk stay).
        EnvironmentFault: the disk is full or a library is missing.
    """
    if max_steps is not None and max_steps < 1:
        raise ValueError(f"max_steps is {max_steps}; it must be at least 1")
    device = find_device(settings.train.device)
    steps = settings.train.steps
    last = steps if max_steps is None else min(max_steps, steps)
    refuse_foreign(out)  # before a lock is put there
    with folder_lock(out):
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
            return TrainResult(output=out, step=steps, steps=steps, done=done)
        with deterministic(device, settings.train.threads) as threads:
            reached = _train(settings, out, base, run, last, device, threads, display)
        return TrainResult(output=out, step=reached, steps=steps, done=find_done(out))


def _train(
    settings: RunSettings,
    out: Path,
    base: Path,
    run: dict[str, Any] | None,
    last: int,
    device: torch.device,
    threads: int,
    display: Display,
) -> int:
    """From the text to step `last`, and to the checkpoint if that is the run's last one; returns the step reached."""
    tokens = prepare_tokens(
        settings.data,
        settings.tokenizer,
        vocab_size=settings.model.shape.vocab_size,
        folder=out / TOKENS_FOLDER if settings.data.tokens is None else base / settings.data.tokens,
        base=base,
        progress=display.note,
    )
    order = DataOrder(settings.train, tokens=tokens.train.tokens, window=tokens.train.window)
    held_out = _held_out_windows(settings, tokens)
    engine = Engine(settings, device, base=base)
    facts = {"settings": settings.to_json(), "tokens_sha256": tokens.sha256, "threads": threads}
    if run is None:
        write_run(out, facts)
    start = 0 if run is None else _restore(engine, run, facts, out, display)
    engine.objective.prepare(
        (order.batch(step) for step in range(start + 1, last + 1)),
        total=max(0, last - start) * settings.train.batch_tokens,
        progress=display.note,
    )
    with Metrics.open(out / METRICS_FILE, keep_to_step=None if run is None else start) as metrics:
        event = {"event": "start" if run is None else "resume", "after_step": start}
        metrics.write(event | _circumstances(settings, tokens, device, threads))
        try:
            _Loop(settings, out, engine, order, held_out, metrics, display, facts).run(start, last)
            if last == settings.train.steps:
                metrics.write(_finish(settings, out, base, engine, tokens, device, display))
        except (KeyboardInterrupt, SystemExit, EnvironmentFault):  # Ctrl-C, SIGTERM, a full disk
            display.note(f"{describe_newest(out)}; go on with --resume")
            raise
    _plot(settings, out, display)
    return max(start, last)


def _restore(engine: Engine, run: dict[str, Any], facts: dict[str, Any], out: Path, display: Display) -> int:
    """Takes up the newest whole state of a run; returns its step, 0 where none was saved.

    Raises:
        ValueError: the text has changed, or every state is damaged.
    """
    if run["tokens_sha256"] != facts["tokens_sha256"]:
        raise ValueError(
            f"the text of this run has changed since it began; restore it, or start another run than {out}"
        )
    state = load_newest(out / STATES_FOLDER, display.note)
    if state is None:
        display.note("no state was saved yet: beginning at step 1")
        return 0
    engine.restore(state.tensors)
    before, now = state.facts.get("threads"), facts["threads"]
    if before != now:
        display.note(f"this run had {before} threads and has {now} now: the last bits may differ")
    return state.step


class _Loop:
    """The steps between a state and the last one wanted."""

    def __init__(
        self,
        settings: RunSettings,
        out: Path,
        engine: Engine,
        order: DataOrder,
        held_out: list[Tensor],
        metrics: Metrics,
        display: Display,
        facts: dict[str, Any],
    ) -> None:
        self._settings, self._out, self._engine, self._order = settings, out, engine, order
        self._held_out, self._metrics, self._display, self._facts = held_out, metrics, display, facts

    def run(self, start: int, last: int) -> None:
        loop = self._settings.train
        if start >= last:
            self._display.note(f"step {start} is reached already")
        for step in range(start + 1, last + 1):
            self._step(step, last)
            if step == last or (loop.evaluate_every and step % loop.evaluate_every == 0):
                self._evaluate(step)
            if step == last or step % loop.save_every == 0:
                self._save(step)

    def _step(self, step: int, last: int) -> None:
        loop, began = self._settings.train, monotonic()
        try:
            figures = self._engine.step(self._order.batch(step), step)
        except FloatingPointError as error:
            raise self._diverged(step, str(error)) from None
        seconds = monotonic() - began
        record = (
            {"step": step}
            | figures
            | {
                "tokens": step * loop.batch_tokens,
                "tokens_per_second": round(loop.batch_tokens / seconds, 1),
                "seconds": round(seconds, 3),
            }
        )
        self._metrics.write(record)
        self._display.step(record, steps=last)

    def _evaluate(self, step: int) -> None:
        if not self._held_out:
            return
        figures, tokens = self._engine.evaluate(self._held_out)
        if not all(math.isfinite(value) for value in figures.values()):
            raise self._diverged(step, "the held-out loss is not finite")
        record = {"step": step, "held_out_tokens": tokens} | {f"held_out_{k}": v for k, v in figures.items()}
        self._metrics.write(record)
        self._display.evaluated(record)

    def _save(self, step: int) -> None:
        if not self._engine.is_finite():
            raise self._diverged(step, "a weight is not finite")
        state = State(step=step, tensors=self._engine.tensors(), facts=self._facts)
        path = save_state(self._out / STATES_FOLDER, state, keep=self._settings.train.keep)
        self._display.saved(step, path)

    def _diverged(self, step: int, what: str) -> ValueError:
        return ValueError(
            f"{what} at step {step}; {describe_newest(self._out)}. Start another run with a lower optimizer.lr or a "
            "longer warm-up"
        )


def _held_out_windows(settings: RunSettings, tokens: TokenSet) -> list[Tensor]:
    """The first held-out tokens as batches of int64 [B, T + 1]."""
    stream, loop = tokens.held_out, settings.train
    if stream is None:
        return []
    length = min(loop.window, stream.tokens - 1)
    count = max(1, min(loop.evaluate_tokens, stream.tokens - 1) // length)
    rows = torch.stack([stream.window(i * length, length + 1) for i in range(count)])
    return list(rows.split(max(1, loop.micro_batch // length)))


def _circumstances(settings: RunSettings, tokens: TokenSet, device: torch.device, threads: int) -> dict[str, Any]:
    """What a figure of this run depends on beside its settings."""
    return {
        "run": settings.name,
        "parameters": settings.model.shape.num_parameters,
        "train_tokens": tokens.train.tokens,
        "train_bytes": tokens.train.bytes,
        "held_out_tokens": 0 if tokens.held_out is None else tokens.held_out.tokens,
        "tokens_sha256": tokens.sha256,
        "python": sys.version.split()[0],
        "versions": {name: metadata.version(name) for name in ("torch", "numpy", "tokenizers")},
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": threads,
    }


def _finish(
    settings: RunSettings,
    out: Path,
    base: Path,
    engine: Engine,
    tokens: TokenSet,
    device: torch.device,
    display: Display,
) -> dict[str, Any]:
    """Writes the checkpoint and measures it; returns the last record of the metrics."""
    folder = out / CHECKPOINT_FOLDER
    write_trained(settings, engine.model, tokens, folder, (out / RUN_FILE).read_bytes(), base=base)
    return {"event": "done", "after_step": settings.train.steps} | score_checkpoint(
        settings, folder, tokens, device=device, progress=display.note
    )


def _plot(settings: RunSettings, out: Path, display: Display) -> None:
    try:
        write_plot(read_metrics(out / METRICS_FILE), out / PLOT_FILE, settings.name)
    except (ValueError, EnvironmentFault) as error:  # the figures are safe; the picture is not worth the run
        display.note(f"no plot: {error}")
