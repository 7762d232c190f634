"""`bench` and `profile` through the command line: what they print and write, what they refuse, how they end."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.main import main
from kernels.toolchain import host_toolchain
from tests.runner.bench_answers import make_answer


@pytest.fixture
def say(capfd):
    """Runs a command line; gives its exit code, stdout and stderr."""

    def run(*argv) -> tuple[int, str, str]:
        code = main([*map(str, argv)])
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """A program in the native runner's place that says what it is told; returns the file with its arguments."""
    answer, asked = tmp_path / "answer.json", tmp_path / "asked"
    answer.write_text(json.dumps(make_answer()))
    program = tmp_path / "pocketlm-runner"
    program.write_text(f'#!/bin/sh\necho "$@" > {asked}\necho "repeat 1 of 3" >&2\ncat {answer}\n')
    program.chmod(0o755)
    monkeypatch.setattr("runner.bench.runner_program", lambda: program)
    return asked


def test_programs_get_json_and_people_a_table_and_progress(say, runner, tiny_int4):
    code, out, err = say("bench", tiny_int4.package, "-p", 32, "-n", 8, "--depth", "16,0", "--threads", "1,2", "--json")
    assert code == 0 and json.loads(out)["results"][1]["threads"] == 2
    assert err == "repeat 1 of 3\n"
    assert runner.read_text().split()[2:] == [
        "-p", "32", "-n", "8", "-r", "3", "--depth", "0,16", "--threads", "1,2",
    ]  # fmt: skip
    code, out, _ = say("bench", tiny_int4.package, "--threads", "1")
    assert code == 0 and "% of bandwidth" in out and "tokens/s" in out


def test_the_result_is_also_written_and_never_over_another_file_unasked(say, runner, tiny_int4, tmp_path):
    out_file = tmp_path / "bench.json"
    assert say("bench", tiny_int4.package, "--threads", "1", "-o", out_file)[0] == 0
    assert json.loads(out_file.read_text())["runner"]["kernels"] == "own kernels, AVX2"
    runner.unlink()
    code, _, err = say("bench", tiny_int4.package, "-o", out_file)
    assert code == 1 and "exists already; pass --overwrite" in err
    assert not runner.exists(), "nothing was measured"
    assert say("bench", tiny_int4.package, "--threads", "1", "-o", out_file, "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--depth", "0,x"], "'0,x'; give whole numbers from 0"),
        (["--depth", "-1"], "give whole numbers from 0"),
        (["--depth", "1,,2"], "give whole numbers from 0"),
        (["--threads", "0"], "give whole numbers from 1 to 1,024"),
        (["-r", "0"], "-r"),
        (["--kernels", "stock"], "'stock' is not one of 'own', 'avx512vnni'"),
        (["--adb"], "--adb needs --ndk"),
        (["--adb", "--ndk", "x"], "--adb needs --sdk"),
        (["--serial", "A"], "add --adb"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(say, tiny_int4, options, words, monkeypatch):
    monkeypatch.delenv("ANDROID_NDK_HOME", raising=False)
    code, out, err = say("bench", tiny_int4.package, *options)
    assert (code, out) == (2, "") and words in err


def test_a_depth_past_the_end_of_a_bounded_package_is_exit_code_1(say, runner, tiny_bounded):
    code, _, err = say("bench", tiny_bounded.package, "--depth", "0,4096")
    assert code == 1 and "depth 4,096 is past the end of this bounded package, 96 tokens" in err
    assert not runner.exists()


def test_a_changed_package_is_exit_code_3_before_anything_runs(say, runner, tiny_int4, tmp_path):
    copy = tmp_path / "package"
    shutil.copytree(tiny_int4.package, copy)
    with (copy / "model.pte").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    code, _, err = say("bench", copy)
    assert code == 3 and "model.pte" in err and not runner.exists()


def test_a_machine_without_a_compiler_is_exit_code_4(say, tiny_int4, monkeypatch):
    monkeypatch.setattr("runner.build.host_toolchain", lambda: None)
    code, _, err = say("bench", tiny_int4.package)
    assert code == 4 and "needs a C++20 compiler" in err


def test_an_interrupt_ends_the_runner_with_exit_code_130(tiny_int4, tmp_path, root):
    pids = tmp_path / "pid"
    program = tmp_path / "pocketlm-runner"
    program.write_text(f"#!/bin/sh\necho $$ > {pids}.new\nmv {pids}.new {pids}\nexec sleep 100\n")
    program.chmod(0o755)
    code = (
        "import sys, runner.bench, cli.main\n"
        f"runner.bench.runner_program = lambda: {str(program)!r}\n"
        f"sys.exit(cli.main.main(['bench', {str(tiny_int4.package)!r}]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=root, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not pids.exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "interrupted" in err
    assert not Path(f"/proc/{pids.read_text().strip()}").exists()


@pytest.mark.timeout(300)
def test_profile_writes_a_page_or_json_and_prints_a_table(say, tiny_int4, tmp_path):
    if host_toolchain() is None:
        pytest.skip("no C++ compiler, or no executorch SDK for this system")
    page, data = tmp_path / "profile.html", tmp_path / "profile.json"
    code, out, err = say("profile", tiny_int4.package, "-n", 2, "-o", page)
    assert code == 0, err
    assert "llama::custom_quantized_sdpa" in out and "between instructions" in out and "layer 1" in out
    assert page.read_text().startswith("<!doctype html>")
    code, out, _ = say("profile", tiny_int4.package, "-p", 0, "-n", 2, "--json", "-o", data)
    assert (
        code == 0
        and json.loads(data.read_text())["phases"][0]["name"] == "decode" == json.loads(out)["phases"][0]["name"]
    )
    code, _, err = say("profile", tiny_int4.package, "-o", page)
    assert code == 1 and "exists already" in err
