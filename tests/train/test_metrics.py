"""The metrics file: what is written is read back bit for bit, and a resumed run goes on where its state stands."""

import json
import math
import os
import resource
import struct
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import EnvironmentFault
from train.metrics import Metrics, read_metrics

START = {"event": "start", "parameters": 7}


def step(number, loss=1.5):
    return {"step": number, "loss": loss, "lr": 1e-3}


def write(path, *records, keep_to_step=None):
    with Metrics.open(path, keep_to_step=keep_to_step) as metrics:
        for record in records:
            metrics.write(record)


def test_a_line_is_one_record_with_its_keys_in_the_given_order(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, START, {"step": 1, "loss": 0.1, "a": 'two\nlines, "quotes" and \udcff'})
    first, second = path.read_bytes().splitlines()
    assert first == b'{"event": "start", "parameters": 7}'
    assert list(json.loads(second)) == ["step", "loss", "a"]
    assert read_metrics(path)[1]["a"] == 'two\nlines, "quotes" and \udcff'


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_float_is_read_back_bit_for_bit(tmp_path_factory, number):
    path = tmp_path_factory.mktemp("float") / "metrics.jsonl"
    write(path, step(1, number))
    assert struct.pack("<d", read_metrics(path)[0]["loss"]) == struct.pack("<d", number)


def test_a_record_is_in_the_file_before_write_returns(tmp_path):
    path = tmp_path / "metrics.jsonl"
    code = (
        "import os, sys; from pathlib import Path; from train.metrics import Metrics\n"
        "m = Metrics.open(Path(sys.argv[1]), keep_to_step=None); m.write({'step': 1}); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], env=os.environ | {"PYTHONPATH": os.getcwd()}, timeout=60)
    assert done.returncode == -9
    assert read_metrics(path) == [{"step": 1}]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_refused_and_nothing_is_written(tmp_path, value):
    path = tmp_path / "metrics.jsonl"
    with Metrics.open(path, keep_to_step=None) as metrics:
        with pytest.raises(ValueError, match=r"loss is .*finite"):
            metrics.write(step(3, value))
        with pytest.raises(ValueError):
            metrics.write({"step": 3, "nested": [value]})
    assert path.read_bytes() == b""


def test_a_new_run_never_touches_the_file_of_another(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, START)
    with pytest.raises(ValueError, match=r"exists already: pass --resume"):
        Metrics.open(path, keep_to_step=None)
    assert read_metrics(path) == [START]


def test_a_resumed_run_keeps_the_records_up_to_its_state_and_appends(tmp_path):
    path = tmp_path / "metrics.jsonl"
    evaluated = {"step": 2, "held_out_loss": 3.0}
    write(path, START, step(1), step(2), evaluated, step(3), {"event": "note"}, step(4))
    write(path, step(3, 9.0), keep_to_step=2)
    assert read_metrics(path) == [START, step(1), step(2), evaluated, {"event": "note"}, step(3, 9.0)]


@pytest.mark.parametrize("cut", [b"", b"{", b'{"step": 2', b'{"step": 2, "loss": 1.', b"\0\0\0\0", b"\xff"])
def test_a_line_that_a_kill_has_cut_is_dropped(tmp_path, cut):
    path = tmp_path / "metrics.jsonl"
    write(path, START, step(1))
    with path.open("ab") as file:
        file.write(cut)
    assert read_metrics(path) == [START, step(1)]
    write(path, step(2), keep_to_step=5)
    assert read_metrics(path) == [START, step(1), step(2)]
    assert path.read_bytes().endswith(b"}\n")


def test_a_last_line_that_lost_only_its_end_is_kept(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, START, step(1))
    path.write_bytes(path.read_bytes()[:-1])
    write(path, step(2), keep_to_step=1)
    assert read_metrics(path) == [START, step(1), step(2)]


@pytest.mark.parametrize(
    "line", ["not json", "[1]", "", '{"step": "2"}', '{"step": true}', '{"step": 2, "loss": NaN}', "[" * 100_000]
)
def test_damage_in_the_middle_is_an_error_that_names_the_line_and_changes_nothing(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n' + line + '\n{"step": 3}\n')
    before = path.read_bytes()
    for read in (read_metrics, lambda path: Metrics.open(path, keep_to_step=3)):
        with pytest.raises(ValueError, match=r"metrics.jsonl, line 2 is damaged .* remove that line"):
            read(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["metrics.jsonl"]


def test_a_resumed_run_whose_file_is_gone_begins_a_new_one(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, step(8), keep_to_step=7)
    assert read_metrics(path) == [step(8)]
    with pytest.raises(ValueError, match=r"cannot read .*other.jsonl"):
        read_metrics(tmp_path / "other.jsonl")


def test_a_disk_that_fills_up_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Metrics.open(path, keep_to_step=None) as metrics:
        metrics.write(step(1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 3, hard))  # Python ignores SIGXFSZ
        try:
            with pytest.raises(EnvironmentFault, match=r"cannot write .*metrics.jsonl .*--resume"):
                metrics.write(step(2))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_metrics(path) == [step(1)]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(EnvironmentFault, match=r"cannot write .*missing"):
        Metrics.open(tmp_path / "missing" / "metrics.jsonl", keep_to_step=None)


def test_closing_twice_is_allowed(tmp_path):
    metrics = Metrics.open(tmp_path / "metrics.jsonl", keep_to_step=None)
    metrics.close()
    metrics.close()
