"""What a training run shows: one live line that fits the terminal, plain lines now and then elsewhere."""

import fcntl
import io
import logging
import os
import pty
import re
import struct
import termios
from pathlib import Path

import pytest

from cli.progress import TrainProgress, duration
from cli.terminal import CLEAR_LINE, OwnLog, Terminal


class Screen(io.StringIO):
    def isatty(self):
        return True


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture(autouse=True)
def terminal_kind(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")


def record(step, loss=2.5, rate=12_345.6):
    return {"step": step, "loss": loss, "lr": 1e-3, "grad_norm": 1.0, "tokens": step, "tokens_per_second": rate}


def evaluated(step):
    return {"step": step, "held_out_loss": 3.25, "held_out_tokens": 64}


def display(err, own_log=None):
    clock = Clock()
    return TrainProgress(Terminal(out=io.StringIO(), err=err, own_log=own_log), clock), clock


def live_lines(err):
    """What stood on the screen after each redraw."""
    return [part.split("\n")[-1] for part in err.getvalue().split(CLEAR_LINE)][1:]


def seen(err):
    """What a terminal shows in the end: a cleared line is gone."""
    return [line.split(CLEAR_LINE)[-1] for line in err.getvalue().split("\n")]


def test_the_live_line_says_how_far_how_good_how_fast_and_how_long():
    progress, clock = display(Screen())
    for step in range(1, 251):
        clock.now += 2.0
        progress.step(record(step), steps=1000)
    last = live_lines(progress._terminal.err)[-1]
    assert re.fullmatch(r"\[#{7}\.{23}\]  250/1,000  loss 2\.5000  12,346 tokens/s  25 min 00 s left", last)
    assert "\n" not in progress._terminal.err.getvalue()


@pytest.mark.parametrize("columns", [10, 20, 33, 40, 60, 79, 80, 100, 200])
def test_the_live_line_is_never_wider_than_the_terminal(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    progress, clock = display(Screen())
    progress.saved(1, Path("out"))
    for step in (1, 2, 99_999, 100_000):
        clock.now += 3000.0
        progress.step(record(step, loss=12_345.0, rate=1e7), steps=100_000)
        line = live_lines(progress._terminal.err)[-1]
        assert len(line) < columns
        assert f"{step:,}/100,000"[: columns - 1] in line
    lines = live_lines(progress._terminal.err)
    assert ("[" in lines[-1]) == (columns >= 79)


def test_the_width_is_that_of_the_terminal_behind_stderr_and_follows_it(monkeypatch):
    monkeypatch.delenv("COLUMNS")
    master, slave = pty.openpty()
    with os.fdopen(master, "rb", buffering=0) as screen, os.fdopen(slave, "w") as err:
        progress, clock = display(err)
        for columns in (50, 110):
            fcntl.ioctl(err.fileno(), termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            clock.now += 1.0
            progress.step(record(10), steps=1000)
            shown = os.read(screen.fileno(), 4096).decode().replace(CLEAR_LINE, "")
            assert len(shown) <= columns - 1
            assert len(shown) > 40
    assert "[" in shown


def test_the_time_left_is_not_spoilt_by_pauses_for_evaluations():
    progress, clock = display(Screen())
    for step in range(1, 101):
        clock.now += 1.0
        progress.step(record(step), steps=160)
        if step % 10 == 0:
            clock.now += 300.0
            progress.evaluated(evaluated(step))
    assert "1 min 00 s left" in live_lines(progress._terminal.err)[-1]


def test_the_rate_is_a_median_of_the_newest_steps():
    progress, clock = display(Screen())
    for step in range(1, 201):
        clock.now += 1.0
        progress.step(record(step, rate=7.0 if step % 10 == 0 else 100.0 if step < 100 else 200.0), steps=400)
    assert " 200 tokens/s" in live_lines(progress._terminal.err)[-1]


def test_fast_steps_are_not_all_drawn_but_the_last_one_is():
    progress, clock = display(Screen())
    for step in range(1, 1001):
        clock.now += 0.001
        progress.step(record(step), steps=1000)
    lines = live_lines(progress._terminal.err)
    assert len(lines) < 20
    assert "1,000/1,000" in lines[-1] and "left" not in lines[-1]


def test_an_evaluation_stays_above_the_live_line():
    progress, clock = display(Screen())
    clock.now += 1.0
    progress.step(record(100), steps=1000)
    progress.evaluated(evaluated(100))
    first, second = seen(progress._terminal.err)
    assert first == "step 100: held-out loss 3.2500"
    assert "100/1,000" in second


def test_the_first_state_is_announced_with_its_place_and_later_ones_in_the_line():
    for err in (Screen(), io.StringIO()):
        progress, clock = display(err)
        for step in (100, 200):
            clock.now += 20.0
            progress.step(record(step), steps=1000)
            progress.saved(step, Path("runs/nano/checkpoints") / f"step-{step:08}")
        clock.now += 20.0
        progress.step(record(201), steps=1000)
        assert err.getvalue().count("state saved in runs/nano/checkpoints/step-00000100;") == 1
        assert "--resume" in err.getvalue()
        assert "00000200" not in err.getvalue()
        assert err.getvalue().rstrip().endswith("saved 200")


def test_without_a_terminal_there_is_a_line_for_the_first_step_every_ten_seconds_and_the_last():
    progress, clock = display(io.StringIO())
    for step in range(5, 101):
        clock.now += 0.5
        progress.step(record(step), steps=100)
    progress.close()
    text = progress._terminal.err.getvalue()
    assert "\r" not in text and "\033" not in text and text.endswith("\n")
    shown = [int(re.match(r"step (\d+)/100  loss 2\.5000  12,346 tokens/s", line)[1]) for line in text.splitlines()]
    assert shown == [5, 25, 45, 65, 85, 100]


def test_without_a_terminal_an_evaluation_follows_the_line_of_its_step():
    progress, clock = display(io.StringIO())
    for step in (1, 2):
        clock.now += 0.5
        progress.step(record(step), steps=100)
    progress.evaluated(evaluated(2))
    progress.evaluated(evaluated(2))
    lines = progress._terminal.err.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines[:2]] == ["step 1/100", "step 2/100"]
    assert lines[2] == lines[3] == "step 2: held-out loss 3.2500"


def test_an_interrupted_run_leaves_its_newest_step():
    for err in (Screen(), io.StringIO()):
        progress, clock = display(err)
        for step in (1, 2, 3):
            clock.now += 0.01
            progress.step(record(step), steps=100)
        progress.close()
        progress.close()
        assert "3/100" in seen(err)[-2] and seen(err)[-1] == ""


def test_a_dumb_terminal_gets_plain_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    progress, _clock = display(Screen())
    progress.step(record(1), steps=100)
    assert "\033" not in progress._terminal.err.getvalue()


def test_notes_before_the_first_step_and_after_the_end_are_plain_lines():
    progress, _clock = display(Screen())
    progress.note("goes on from step 4")
    progress.close()
    progress.note("plot left out")
    assert progress._terminal.err.getvalue() == "goes on from step 4\nplot left out\n"


def test_what_the_program_logs_meanwhile_has_a_line_of_its_own():
    err = Screen()
    log = OwnLog(err)
    log.setFormatter(logging.Formatter("%(message)s"))
    progress, _clock = display(err, log)
    progress.step(record(1), steps=2)
    log.handle(logging.makeLogRecord({"msg": "a damaged state was passed over", "levelno": logging.WARNING}))
    progress.step(record(2), steps=2)
    progress.close()
    shown = seen(err)
    assert shown[0] == "a damaged state was passed over" and "2/2" in shown[1] and shown[2] == ""
    assert log.filters == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (12_000, "3 h 20 min"),
        (86_399, "1 d 0 h"),
        (183_600, "2 d 3 h"),
    ],
)
def test_durations_for_people(seconds, words):
    assert duration(seconds) == words
