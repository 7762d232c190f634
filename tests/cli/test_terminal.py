"""The program's two streams stay its own while libraries print."""

import io
import json
import logging
import os
import subprocess
import sys

from cli.terminal import CLEAR_LINE, OwnLog, Terminal, own_terminal

CHATTER = """
import ctypes, logging, os, sys, warnings
sys.path.insert(0, {root!r})
from cli.terminal import own_terminal
with own_terminal(is_verbose={verbose}) as terminal:
    print("python library on stdout")
    print("python library on stderr", file=sys.stderr)
    os.write(1, b"c library on stdout\\n")
    os.write(2, b"c library on stderr\\n")
    ctypes.CDLL(None).printf(b"buffered c library\\n")
    warnings.warn("deprecated")
    logging.getLogger("torch").warning("torch says")
    logging.getLogger("export.xnnpack").info("lowered")
    terminal.result({{"a": 1}}, ["unused"], as_json=True)
    terminal.log("progress")
print("after")
"""


def run_chatter(root, verbose):
    code = CHATTER.format(root=str(root), verbose=verbose)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)


def test_what_libraries_print_on_either_descriptor_is_not_seen(root):
    done = run_chatter(root, verbose=False)
    body, after = done.stdout.rsplit("after\n", 1)
    assert json.loads(body) == {"a": 1}
    assert after == ""
    assert done.stderr == "lowered\nprogress\n"


def test_verbose_shows_the_libraries_words_on_stderr_and_keeps_stdout_clean(root):
    done = run_chatter(root, verbose=True)
    assert json.loads(done.stdout.rsplit("after\n", 1)[0]) == {"a": 1}
    for words in (
        "python library on stdout",
        "python library on stderr",
        "c library on stdout",
        "c library on stderr",
        "buffered c library",
        "deprecated",
        "torch says",
        "lowered",
        "progress",
    ):
        assert words in done.stderr


def test_a_crash_in_native_code_is_not_silent(root):
    code = (
        f"import sys, os; sys.path.insert(0, {str(root)!r})\nfrom cli.terminal import own_terminal\n"
        "with own_terminal(is_verbose=False):\n    os.abort()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode < 0
    assert "Fatal Python error" in done.stderr


def test_a_closed_stdout_or_stderr_does_not_stop_a_command(root):
    code = (
        f"import sys; sys.path.insert(0, {str(root)!r})\nfrom cli.terminal import own_terminal\n"
        "with own_terminal(is_verbose=False) as t:\n    t.write('x'); t.log('y'); print('z')\nsys.exit(7)"
    )
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        done = subprocess.run(
            ["bash", "-c", f'"$0" -c "$1" {closed}', sys.executable, code], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 7, done.stderr


def test_the_descriptors_and_loggers_are_given_back():
    before = [os.fstat(1).st_ino, os.fstat(2).st_ino, sys.stdout, sys.stderr, len(logging.getLogger("export").handlers)]
    with own_terminal(is_verbose=False):
        pass
    assert before == [
        os.fstat(1).st_ino,
        os.fstat(2).st_ino,
        sys.stdout,
        sys.stderr,
        len(logging.getLogger("export").handlers),
    ]


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_emphasis_stands_only_on_a_terminal_without_no_color(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\033" in Terminal(out=Screen(), err=Screen()).bold("x")
    assert Terminal(out=io.StringIO(), err=io.StringIO()).bold("x") == "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert Terminal(out=Screen(), err=Screen()).bold("x") == "x"


def test_during_a_step_a_terminal_shows_the_newest_record_and_a_pipe_none():
    for screen in (Screen(), io.StringIO()):
        log = OwnLog(screen)
        terminal = Terminal(out=io.StringIO(), err=screen, own_log=log)
        with terminal.step("3/5 export"):
            log.handle(logging.makeLogRecord({"msg": "lowering", "levelno": logging.INFO}))
            log.handle(logging.makeLogRecord({"msg": "odd", "levelno": logging.WARNING}))
        log.handle(logging.makeLogRecord({"msg": "after", "levelno": logging.INFO}))
        said = screen.getvalue()
        assert ("lowering" in said) == screen.isatty()
        assert "odd\n" in said and said.endswith("after\n")
        assert (CLEAR_LINE in said) == screen.isatty()


def test_a_step_ends_with_its_seconds_on_stderr():
    terminal = Terminal(out=io.StringIO(), err=io.StringIO())
    with terminal.step("1/5 convert"):
        pass
    assert terminal.out.getvalue() == ""
    line, end = terminal.err.getvalue().split("\n")
    assert line.startswith("1/5 convert ...") and line.endswith(" s") and end == ""
