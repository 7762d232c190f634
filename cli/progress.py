"""What a training run shows on stderr: one live line on a terminal, plain lines now and then elsewhere."""

import logging
import os
import shutil
import statistics
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cli.terminal import CLEAR_LINE, Terminal

_REDRAW_S = 0.1
_LINE_S = 10.0  # between plain lines
_MEDIAN_OF = 51  # steps; a pause for an evaluation is one odd value among them
_BAR = 30  # characters at most


class TrainProgress:
    """The display of one run, fed by the loop with the records that also go into the metrics.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, terminal: Terminal, clock: Callable[[], float] = time.monotonic) -> None:
        self._terminal = terminal
        self._clock = clock
        self._is_screen = terminal.err.isatty() and os.environ.get("TERM") != "dumb"
        self._step_s: deque[float] = deque(maxlen=_MEDIAN_OF)
        self._rates: deque[float] = deque(maxlen=_MEDIAN_OF)
        self._record: dict[str, Any] | None = None
        self._steps = 0
        self._saved: int | None = None
        self._stepped_at: float | None = None
        self._shown_at: float | None = None
        self._is_shown = True  # whether the newest step has been shown
        self._has_live_line = False
        if terminal.own_log is not None:
            terminal.own_log.addFilter(self._make_room)

    def step(self, record: dict[str, Any], *, steps: int) -> None:
        """After a step: its record (step, loss, tokens_per_second), and the step at which the run will end."""
        now = self._clock()
        if self._stepped_at is not None:
            self._step_s.append(now - self._stepped_at)
        self._stepped_at = now
        self._rates.append(record["tokens_per_second"])
        self._record, self._steps, self._is_shown = record, steps, False
        pause = _REDRAW_S if self._is_screen else _LINE_S
        if self._shown_at is None or now - self._shown_at >= pause or record["step"] >= steps:
            self._show()

    def evaluated(self, record: dict[str, Any]) -> None:
        """After an evaluation: its record (step, held_out_loss in nats a token; held_out_kl beside a teacher)."""
        if not self._is_screen and not self._is_shown:
            self._show()
        divergence = f", KL from the teacher {record['held_out_kl']:.4f}" if "held_out_kl" in record else ""
        self.note(f"step {record['step']:,}: held-out loss {record['held_out_loss']:.4f}{divergence}")

    def saved(self, step: int, path: Path) -> None:
        """After a state went to disk. The first is announced with its place, the others stand in the progress."""
        if self._saved is None:
            self.note(f"step {step:,}: state saved in {path}; after an interruption --resume goes on from the newest")
        self._saved = step

    def note(self, line: str) -> None:
        """A line that stays."""
        self._clear()
        self._terminal.log(line)
        if self._is_screen and self._record is not None:
            self._show()

    def close(self) -> None:
        """Leaves the newest state as a line; a second time does nothing."""
        if self._record is not None and (self._is_screen or not self._is_shown):
            self._clear()
            self._terminal.log(self._line(self._record))
        self._record = None
        if self._terminal.own_log is not None:
            self._terminal.own_log.removeFilter(self._make_room)

    def _show(self) -> None:
        assert self._record is not None
        line = self._line(self._record)
        if self._is_screen:
            self._terminal.err.write(f"{CLEAR_LINE}{line}")
            self._terminal.err.flush()
            self._has_live_line = True
        else:
            self._terminal.log(line)
        self._shown_at, self._is_shown = self._clock(), True

    def _clear(self) -> None:
        if self._has_live_line:
            self._terminal.err.write(CLEAR_LINE)
            self._has_live_line = False

    def _make_room(self, record: logging.LogRecord) -> bool:
        """What the program logs meanwhile begins on a line of its own."""
        self._clear()
        return True

    def _line(self, record: dict[str, Any]) -> str:
        """The newest step in as many words as fit, the most important first."""
        done = f"{record['step']:,}/{self._steps:,}"
        parts = [done if self._is_screen else f"step {done}", f"loss {record['loss']:.4f}"]
        if self._step_s and (left := self._steps - record["step"]) > 0:
            parts.append(f"{duration(left * statistics.median(self._step_s))} left")
        rate = f"{statistics.median(self._rates):,.0f} tokens/s"
        parts.insert(2, rate)
        if self._saved is not None:
            parts.append(f"saved {self._saved:,}")
        if not self._is_screen:
            return "  ".join(parts)
        room = self._columns() - 1  # a full line would wrap
        for unneeded in (parts[-1] if self._saved is not None else "", rate):
            if len("  ".join(parts)) > room and unneeded in parts:
                parts.remove(unneeded)
        text = "  ".join(parts)
        bar = min(_BAR, room - len(text) - 4)
        if bar >= 5:
            filled = bar * record["step"] // max(self._steps, 1)
            text = f"[{'#' * filled}{'.' * (bar - filled)}]  {text}"
        return text[: max(room, 0)]

    def _columns(self) -> int:
        """The terminal's width now. Asked of stderr: descriptor 1 belongs to the libraries."""
        try:
            columns = os.get_terminal_size(self._terminal.err.fileno()).columns
        except (OSError, ValueError):
            columns = 0
        return columns or shutil.get_terminal_size().columns


def duration(seconds: float) -> str:
    """Seconds as people say them: "42 s", "12 min 05 s", "3 h 20 min", "2 d 3 h"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"
