"""A training run in its folder: prepare, resume, step, evaluate, save, and at the end a checkpoint to quantize."""

import math
import platform
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import torch
from torch import Tensor

from model.errors import EnvironmentFault
from model.files import atomic_output, dump_json, read_json
from train.engine import Engine, deterministic, find_device
from train.finish import CHECKPOINT_FOLDER, score_checkpoint, write_trained
from train.lock import LOCK_FILE, folder_lock
from train.metrics import Metrics, read_metrics
from train.order import DataOrder
from train.plot import write_plot
from train.run_file import check_resumable
from train.settings import RunSettings
from train.state import State, load_newest, newest_step, save_state
from train.tokens import TokenSet, prepare_tokens

RUN_FILE = "run.json"
METRICS_FILE = "metrics.jsonl"
PLOT_FILE = "loss.svg"
TOKENS_FOLDER = "tokens"
STATES_FOLDER = "checkpoints"

_FORMAT = "pocketlm-training-run"
_VERSION = 1
_OURS_BEFORE_A_RUN = {LOCK_FILE, TOKENS_FOLDER}


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
    with ExitStack() as stack:
        stack.enter_context(folder_lock(out))
        run = _find_run(out, resume)
        if run is not None:
            for line in check_resumable(run["settings"], settings.to_json()):
                display.note(line)
        elif resume:
            display.note(f"there is no run in {out} yet: beginning at step 1")
        if run is not None and (finished := _result(out, settings, settings.train.steps)).done is not None:
            display.note("this run is finished already")
            return finished
        threads = stack.enter_context(deterministic(device, settings.train.threads))
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
        engine = Engine(settings, device)
        state = None
        if run is not None:
            if run["tokens_sha256"] != tokens.sha256:
                raise ValueError(
                    f"the text of this run has changed since it began; restore it, or start another run than {out}"
                )
            state = load_newest(out / STATES_FOLDER, display.note)
        facts = {"settings": settings.to_json(), "tokens_sha256": tokens.sha256, "threads": threads}
        if state is not None:
            engine.restore(state.tensors)
            if state.facts["threads"] != threads:
                display.note(
                    f"this run had {state.facts['threads']} threads and has {threads} now: the last bits may differ"
                )
        elif run is None:
            _write_run(out, facts)
        start = 0 if state is None else state.step
        metrics = stack.enter_context(Metrics.open(out / METRICS_FILE, keep_to_step=None if run is None else start))
        metrics.write(
            {"event": "start" if run is None else "resume", "after_step": start}
            | _circumstances(settings, tokens, device, threads)
        )
        loop = _Loop(settings, out, engine, order, held_out, metrics, display, facts)
        last = settings.train.steps if max_steps is None else min(max_steps, settings.train.steps)
        loop.run(start, last)
        if last < settings.train.steps:
            _plot(settings, out, display)
            return _result(out, settings, max(start, last))
        metrics.write(_finish(settings, out, engine, tokens, device, display))
        _plot(settings, out, display)
    return _result(out, settings, settings.train.steps)


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
        try:
            for step in range(start + 1, last + 1):
                self._step(step)
                if step == last or (loop.evaluate_every and step % loop.evaluate_every == 0):
                    self._evaluate(step)
                if step == last or step % loop.save_every == 0:
                    self._save(step)
        except KeyboardInterrupt:
            kept = newest_step(self._out / STATES_FOLDER)
            self._display.note(
                "no state was saved yet; the run begins again"
                if kept is None
                else f"the newest state is of step {kept}; go on with --resume"
            )
            raise

    def _step(self, step: int) -> None:
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
        self._display.step(record, steps=loop.steps)

    def _evaluate(self, step: int) -> None:
        if not self._held_out:
            return
        loss, tokens = self._engine.evaluate(self._held_out)
        if not math.isfinite(loss):
            raise self._diverged(step, "the held-out loss is not finite")
        record = {"step": step, "held_out_loss": loss, "held_out_tokens": tokens}
        self._metrics.write(record)
        self._display.evaluated(record)

    def _save(self, step: int) -> None:
        if not self._engine.is_finite():
            raise self._diverged(step, "a weight is not finite")
        state = State(step=step, tensors=self._engine.tensors(), facts=self._facts)
        path = save_state(self._out / STATES_FOLDER, state, keep=self._settings.train.keep)
        self._display.saved(step, path)

    def _diverged(self, step: int, what: str) -> ValueError:
        kept = newest_step(self._out / STATES_FOLDER)
        good = "no state was saved before" if kept is None else f"the last good state is of step {kept}, in {self._out}"
        return ValueError(
            f"{what} at step {step}; {good}. Start another run with a lower optimizer.lr or a longer warm-up"
        )


def _find_run(out: Path, resume: bool) -> dict[str, Any] | None:
    """What run.json says, or None where no run has begun."""
    path = out / RUN_FILE
    if not path.is_file():
        foreign = sorted({entry.name for entry in out.iterdir()} - _OURS_BEFORE_A_RUN)
        if foreign:
            raise ValueError(f"{out} holds {foreign[0]}, which is no part of a training run; name another output")
        return None
    run = read_json(path)
    if not isinstance(run, dict) or run.get("format") != _FORMAT or run.get("version") != _VERSION:
        raise ValueError(f"{path} is no training run of version {_VERSION}; name another output folder")
    if not resume:
        kept = newest_step(out / STATES_FOLDER)
        reached = "" if kept is None else f", saved at step {kept}"
        raise ValueError(f"{out} holds a run{reached}; pass --resume to go on with it, or name another output")
    return run


def _write_run(out: Path, facts: dict[str, Any]) -> None:
    with atomic_output(out / RUN_FILE, folder=False) as partial:
        partial.write_text(dump_json({"format": _FORMAT, "version": _VERSION} | facts), encoding="utf-8")


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
    settings: RunSettings, out: Path, engine: Engine, tokens: TokenSet, device: torch.device, display: Display
) -> dict[str, Any]:
    """Writes the checkpoint and the plot; returns the last record of the metrics."""
    folder = out / CHECKPOINT_FOLDER
    write_trained(settings, engine.model, tokens, folder, (out / RUN_FILE).read_bytes())
    return {"event": "done", "after_step": settings.train.steps} | score_checkpoint(
        folder, tokens, device=device, progress=display.note
    )


def _plot(settings: RunSettings, out: Path, display: Display) -> None:
    try:
        write_plot(read_metrics(out / METRICS_FILE), out / PLOT_FILE, settings.name)
    except EnvironmentFault as error:  # the figures are safe; the picture is not worth the run
        display.note(f"no plot: {error}")


def _result(out: Path, settings: RunSettings, step: int) -> TrainResult:
    records = read_metrics(out / METRICS_FILE) if (out / METRICS_FILE).is_file() else []
    done = next((record for record in records if record.get("event") == "done"), None)
    return TrainResult(output=out, step=step, steps=settings.train.steps, done=done)
