"""The steps of a run between a state and the last one wanted: step, evaluate, save."""

import math
from pathlib import Path
from time import monotonic
from typing import Any

from torch import Tensor

from train.display import Display
from train.engine import Engine
from train.folder import STATES_FOLDER, describe_newest
from train.metrics import Metrics
from train.order import DataOrder
from train.settings import RunSettings
from train.state import State, save_state
from train.team import Team


class Steps:
    """The steps between a state and the last one wanted."""

    def __init__(
        self,
        settings: RunSettings,
        out: Path,
        engine: Engine,
        order: DataOrder,
        held_out: list[Tensor],
        metrics: Metrics | None,
        display: Display,
        facts: dict[str, Any],
        team: Team,
    ) -> None:
        self._settings, self._out, self._engine, self._order = settings, out, engine, order
        self._held_out, self._metrics, self._display, self._facts = held_out, metrics, display, facts
        self._team = team

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
        self._write(record)
        self._display.step(record, steps=last)

    def _evaluate(self, step: int) -> None:
        if not self._held_out:
            return
        figures, tokens = self._engine.evaluate(self._held_out)
        if not all(math.isfinite(value) for value in figures.values()):
            raise self._diverged(step, "the held-out loss is not finite")
        record = {"step": step, "held_out_tokens": tokens} | {f"held_out_{k}": v for k, v in figures.items()}
        self._write(record)
        self._display.evaluated(record)

    def _save(self, step: int) -> None:
        if not self._engine.is_finite():
            raise self._diverged(step, "a weight is not finite")
        folder, keep, tensors = self._out / STATES_FOLDER, self._settings.train.keep, self._engine.tensors()
        if self._team.size > 1:
            from train.sharded_state import save_sharded  # loads torch.distributed

            path = save_sharded(folder, step, tensors, self._facts, keep=keep, team=self._team)
        else:
            path = save_state(folder, State(step=step, tensors=tensors, facts=self._facts), keep=keep)
        self._display.saved(step, path)

    def _write(self, record: dict[str, Any]) -> None:
        if self._metrics is not None:
            self._metrics.write(record)

    def _diverged(self, step: int, what: str) -> ValueError:
        return ValueError(
            f"{what} at step {step}; {describe_newest(self._out)}. Start another run with a lower optimizer.lr or a "
            "longer warm-up"
        )
