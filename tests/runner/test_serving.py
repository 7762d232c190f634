"""`serve` and what drives it: requests in any order, nonsense, interruptions, and a child that dies."""

import json
import os
import signal
import subprocess
import time

import pytest

from chat.window import Context
from runner.build import runner_program
from runner.engine import CppRunner, CppSampler
from tests.packages import CONTEXT, tiny_int4  # noqa: F401 (a fixture)

ENDLESS = Context(kind="endless", tokens=CONTEXT)


@pytest.fixture
def native(tiny_int4):  # noqa: F811
    with CppRunner([str(runner_program())], tiny_int4.package, context=ENDLESS, threads=1) as runner:
        yield runner


def is_alive(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_line_gets_one_answer_and_nonsense_changes_nothing(tiny_int4):  # noqa: F811
    requests = [
        '{"do": "pick", "ids": [1, 2, 3], "position": 0}',
        "nonsense",
        "",
        "[]",
        '{"do": "sing"}',
        '{"do": "pick", "ids": [], "position": 3}',
        '{"do": "pick", "ids": [1, 999], "position": 3}',
        '{"do": "pick", "ids": [1.5], "position": 3}',
        '{"do": "pick", "ids": [1], "position": -1}',
        '{"do": "pick", "ids": "1", "position": 3}',
        '{"do": "pick", "ids": [1]}',
        '{"do": "sampler", "temperature": -1}',
        '{"do": "sampler", "temperature": 1, "top_p": 2}',
        '{"do": "memory"}',
        '{"do": "pick", "ids": [1, 2, 3], "position": 0}',
    ]
    done = subprocess.run(
        [str(runner_program()), "serve", str(tiny_int4.package)],
        input="\n".join(requests),  # the last line without an end
        capture_output=True,
        text=True,
        timeout=60,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert "ready" in answers[0]
    assert len(answers) == 1 + len(requests)
    for answer in answers[2:13]:
        assert answer["exit_code"] in (1, 2)
        assert len(answer["error"]) > 20
    assert answers[14]["steady_bytes"] > 0
    assert answers[15]["id"] == answers[1]["id"]


def test_ids_come_one_at_a_time_and_the_text_can_be_left_and_gone_on(native):
    stream = native.generate_ids([1, 2, 3], 0, 50, CppSampler())
    first = [next(stream) for _ in range(3)]
    stream.close()
    again = list(native.generate_ids([1, 2, 3, *first[:2]], 0, 1, CppSampler()))
    assert again == first[2:3]
    gone_on = list(native.generate_ids([first[2]], 5, 4, CppSampler()))
    assert gone_on == list(native.generate_ids([1, 2, 3, *first], 0, 4, CppSampler()))


def test_one_sampler_goes_on_and_an_equal_new_one_starts_anew(native):
    def sampler():
        return CppSampler(temperature=20.0, seed=11)  # the random model is sure of itself

    same = sampler()
    first, second = (list(native.generate_ids([1, 2], 0, 20, same)) for _ in range(2))
    assert first != second
    assert list(native.generate_ids([1, 2], 0, 20, sampler())) == first


def test_an_interrupted_answer_is_not_taken_for_the_next_ones(native, monkeypatch):
    wanted = list(native.generate_ids([1, 2, 3], 0, 2, CppSampler()))
    receive = native._receive_line
    monkeypatch.setattr(native, "_receive_line", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        native.logits([7, 8, 9], 0)
    monkeypatch.setattr(native, "_receive_line", receive)
    assert list(native.generate_ids([1, 2, 3], 0, 2, CppSampler())) == wanted


def test_a_child_that_was_killed_is_an_error_and_then_stays_one(native):
    native.prefill([1], 0)
    os.kill(native._process.pid, signal.SIGKILL)
    native._process.wait()
    with pytest.raises(MemoryError, match="the native runner was killed"):
        native.prefill([1], 1)
    native.close()
    with pytest.raises(ValueError, match="was closed"):
        native.prefill([1], 1)


def test_a_closed_runner_leaves_no_process(tiny_int4):  # noqa: F811
    runner = CppRunner([str(runner_program())], tiny_int4.package, context=ENDLESS)
    child = runner._process.pid
    assert is_alive(child)
    runner.close()
    runner.close()
    assert not is_alive(child)


def test_a_parent_that_is_killed_leaves_no_process(tiny_int4, root):  # noqa: F811
    script = (
        "import sys, time; from pathlib import Path; from chat.window import Context; "
        "from runner.engine import CppRunner; from runner.build import runner_program; "
        "r = CppRunner([str(runner_program())], Path(sys.argv[1]), context=Context(kind='endless', tokens=241)); "
        "print(r._process.pid, flush=True); time.sleep(100)"
    )
    parent = subprocess.Popen(
        [str(root / ".venv/bin/python"), "-c", script, str(tiny_int4.package)], stdout=subprocess.PIPE, cwd=root
    )
    child = int(parent.stdout.readline())
    assert is_alive(child)
    parent.kill()
    parent.wait()
    end = time.monotonic() + 10
    while is_alive(child) and time.monotonic() < end:
        time.sleep(0.02)
    assert not is_alive(child)


def test_a_package_that_cannot_be_loaded_is_said_in_the_runners_words(tmp_path):
    (tmp_path / "model.pte").write_bytes(b"nothing" * 100)
    with pytest.raises(ValueError, match="the file is damaged or of another version"):
        CppRunner([str(runner_program())], tmp_path, context=ENDLESS)
