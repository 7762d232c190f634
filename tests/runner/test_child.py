"""The runner as a process: its progress, its answer, its errors and its end."""

import os
import sys
import time
from pathlib import Path

import pytest

from model.errors import EnvironmentFault, GateError
from runner.child import run_json


def python(code):
    return [sys.executable, "-c", f"import os, sys, time\n{code}"]


def test_progress_comes_line_by_line_and_the_answer_whole():
    said = []
    code = "print('one', file=sys.stderr); print('two', file=sys.stderr); print('[' + '1,' * 99999 + '1]')"
    assert run_json(python(code), progress=said.append) == [1] * 100_000
    assert said == ["one", "two"]


@pytest.mark.parametrize(
    ("code", "error"), [(1, ValueError), (2, ValueError), (3, GateError), (4, EnvironmentFault), (5, MemoryError)]
)
def test_a_failure_is_the_error_of_its_exit_code_with_the_runners_own_line(code, error):
    script = f"print('noise\\npocketlm-runner: what went wrong; what to do', file=sys.stderr); sys.exit({code})"
    said = []
    with pytest.raises(error) as raised:
        run_json(python(script), progress=said.append)
    assert type(raised.value) is error
    assert str(raised.value) == "what went wrong; what to do"
    assert said == ["noise"]


def test_a_kill_by_the_system_is_told_as_memory():
    with pytest.raises(MemoryError):
        run_json(python("os.kill(os.getpid(), 9)"), progress=print)


def test_a_crash_names_its_signal():
    with pytest.raises(ValueError, match="SIGABRT"):
        run_json(python("os.abort()"), progress=print)


def test_what_is_no_json_is_shown():
    with pytest.raises(ValueError, match="no JSON value but 'hello'"):
        run_json(python("print('hello')"), progress=print)


def test_a_program_that_is_not_there_is_an_environment_fault(tmp_path):
    with pytest.raises(EnvironmentFault, match="cannot be started"):
        run_json([str(tmp_path / "nothing")], progress=print)


def test_an_interrupt_ends_the_child_and_its_children(tmp_path):
    place = tmp_path / "pids"
    code = (
        f"child = os.fork()\nif child: open({str(place)!r}, 'w').write(f'{{os.getpid()}} {{child}}')\n"
        "os.write(2, b'ready\\n'); time.sleep(30)"
    )

    def interrupt(line):
        if line == "ready":
            while not place.is_file() or len(place.read_text().split()) < 2:
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_json(python(code), progress=interrupt)
    for pid in map(int, place.read_text().split()):
        deadline = time.monotonic() + 5
        while Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
            assert time.monotonic() < deadline, "it still runs"
            time.sleep(0.02)


def test_a_childs_environment_is_this_ones_and_more():
    code = "print('[\"' + os.environ['OWN'] + os.environ['HOME'] + '\"]')"
    assert run_json(python(code), progress=print, environment={"OWN": "x"}) == ["x" + os.environ["HOME"]]
