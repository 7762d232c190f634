"""The command line as a whole: help, usage errors, exit codes, what stands on which stream."""

import json
import os
import resource
import signal
import subprocess
import sys

import click
import pytest

from cli.command import PocketCommand, run
from cli.main import main, pocketlm
from cli.terminal import Terminal
from model.errors import GateError

COMMANDS = sorted(pocketlm.commands)


def pocket(root, *args, **settings):
    return subprocess.run(
        [sys.executable, "-m", "cli", *map(str, args)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
        **settings,
    )


def test_the_commands_are_the_documented_ones():
    assert COMMANDS == [
        "bench", "chat", "compare", "convert", "demo", "estimate", "evaluate", "export", "generate", "inspect",
        "profile", "quantize", "sensitivity", "train", "verify",
    ]  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_ends_with_an_example_of_it(name, capfd):
    assert main([name, "--help"]) == 0
    out, err = capfd.readouterr()
    assert f"pocketlm {name}" in out.split("Example:")[1]
    assert err == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command_says_what_it_does(name):
    for parameter in pocketlm.commands[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_help_loads_nothing_heavy(root):
    code = (
        "import sys; from cli.main import main\n"
        f"for name in {['', *COMMANDS]!r}: main([name, '--help'] if name else [])\n"
        "names = {'torch', 'numpy', 'executorch', 'torchao', 'tokenizers', 'safetensors', 'jsonschema'}\n"
        "heavy = names & set(sys.modules)\n"
        "sys.exit(' '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_help_takes_less_than_three_tenths_of_a_second_of_processor_time(root):
    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    seconds = []
    for _ in range(3):
        before = used()
        pocket(root, "export", "--help", check=True)
        seconds.append(used() - before)
    assert min(seconds) < 0.3


def test_no_arguments_show_the_help(capfd):
    assert main([]) == 0
    assert "Commands:" in capfd.readouterr().out


@pytest.mark.parametrize(
    "argv",
    [
        ["no-such-command"],
        ["export"],
        ["export", "a", "b", "--no-such-option"],
        ["quantize", "a"],
        ["quantize", "a", "b", "-o", "c"],
        ["convert", "a", "b", "--preset", "nano"],
        ["convert", "a", "b", "--seed", "1"],
        ["convert"],
        ["export", "a", "b", "--max-context", "0"],
        ["export", "a", "b", "--target", "xnnpack,"],
        ["generate", "p", "x", "--runner", "native", "--seed", "1"],
        ["generate", "p", "x", "--top-p", "0.9"],
        ["generate", "p", "x", "--runner", "native", "--temperature", "1", "--top-p", "0.9"],
        ["generate", "p", "x", "--max-new-tokens", "0"],
        ["generate", "p", "x", "--runner", "native", "--temperature", "1.5"],
        ["chat", "p", "--runner", "native", "--seed", "1"],
        ["generate", "p", "x", "--temperature", "-1"],
        ["evaluate", "c"],
        ["sensitivity", "c"],
        ["sensitivity", "c", "--text", "t", "--by", "head"],
    ],
)
def test_a_usage_error_is_one_line_with_the_way_to_the_help_and_exit_code_2(argv, capfd):
    assert main(argv) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("pocketlm: error: ") and err.count("\n") == 1 and "--help'" in err


def test_an_unknown_option_is_met_with_the_nearest_one(capfd):
    main(["export", "a", "b", "--max-contex", "5"])
    assert "--max-context" in capfd.readouterr().err


@pytest.mark.parametrize("option", ["--seed", "--top-p"])
def test_the_native_runner_refuses_what_it_cannot_do_and_says_why(option, capfd):
    assert main(["generate", "p", "x", "--runner", "native", "--temperature", "1", option, "1"]) == 2
    assert option in (err := capfd.readouterr().err) and "C++ runner" in err and "--runner python" in err


def test_a_folder_that_is_not_there_is_exit_code_1_in_one_line(tmp_path, capfd):
    for argv in (
        ["convert", tmp_path / "no", tmp_path / "o"],
        ["quantize", tmp_path / "no", tmp_path / "o"],
        ["quantize", tmp_path / "no", tmp_path / "o", "--dry-run"],
    ):
        assert main([*map(str, argv)]) == 1
        out, err = capfd.readouterr()
        assert out == "" and err.count("\n") == 1 and str(tmp_path / "no") in err
    assert list(tmp_path.iterdir()) == []


def group_around(function) -> click.Group:
    group = click.Group("pocketlm")
    group.add_command(PocketCommand(name="do", example="pocketlm do", callback=click.pass_obj(function)))
    return group


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("bad"), 1),
        (GateError("hash"), 3),
        (MemoryError(), 5),
        (KeyboardInterrupt(), 130),
        (OSError(28, "No space"), 4),
    ],
)
def test_an_error_in_a_command_is_one_line_without_a_traceback(error, code, capfd):
    def fail(_: Terminal) -> None:
        raise error

    assert run(group_around(fail), ["do"]) == code
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("pocketlm: error: ") and err.count("\n") == 1


@pytest.mark.parametrize("argv", [["-v", "do"], ["do", "-v"], ["do", "--verbose"]])
def test_verbose_shows_the_traceback_wherever_it_stands(argv, capfd):
    def fail(terminal: Terminal) -> None:
        assert terminal.is_verbose
        raise ValueError("bad")

    group = group_around(fail)
    from cli.command import verbose_option

    assert run(verbose_option(group), argv) == 1
    err = capfd.readouterr().err
    assert "Traceback" in err and err.endswith("pocketlm: error: bad\n")


def test_a_reader_that_has_seen_enough_is_no_error(root):
    code = (
        "import sys; from cli.command import run; from tests.cli.test_main import group_around\n"
        "def talk(terminal):\n    for _ in range(100_000): terminal.write('a long line of text\\n')\n"
        "sys.exit(run(group_around(talk), ['do']))"
    )
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", '"$0" -c "$1" | head -1', sys.executable, code],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "a long line of text\n", "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_cleans_up_and_ends_with_the_signals_code(root, tmp_path, number, code):
    program = (
        "import sys, time; from pathlib import Path\n"
        "from cli.command import run; from model.files import atomic_output\n"
        "from tests.cli.test_main import group_around\n"
        "def slow(terminal):\n"
        "    with atomic_output(Path(sys.argv[1])) as partial:\n"
        "        (partial / 'half').write_text('x'); terminal.write('ready\\n'); time.sleep(60)\n"
        "sys.exit(run(group_around(slow), ['do']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "out")],
        cwd=root,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert err == ("pocketlm: error: interrupted; nothing half-written was kept\n" if code == 130 else "")
    assert list(tmp_path.iterdir()) == []


def test_convert_quantize_and_the_dry_runs_agree_and_say_it_as_json(tmp_path, capfd):
    checkpoint, quantized = tmp_path / "c", tmp_path / "q"

    def say(*argv) -> dict:
        code = main([*map(str, argv), "--json"])
        out, err = capfd.readouterr()
        assert code == 0, err
        return json.loads(out)

    planned = say("convert", "--preset", "nano", checkpoint, "--dry-run")
    assert not checkpoint.exists()
    made = say("convert", "--preset", "nano", "--seed", "0", checkpoint)
    assert planned["parameters"] == made["parameters"] and planned["config"] == made["config"]
    assert planned["bytes"] <= made["bytes"]
    planned = say("quantize", checkpoint, "-o", quantized, "--dry-run")
    assert not quantized.exists()
    made = say("quantize", checkpoint, quantized)
    assert planned | {"dry_run": False} == made
    assert made["total_bytes"] < (quantized / "model.safetensors").stat().st_size < made["total_bytes"] + 65_536
    package = say("export", quantized, tmp_path / "p", "--dry-run", "--max-context", "256", "--prefill-chunk", "32")[
        "packages"
    ][0]
    assert package["context"] == {"kind": "endless", "tokens": 256}
    # nano: 3 global layers of 256 + 31 slots, 3 local ones of 128 + 31; 2 heads, (64 + 5) bytes, keys and values
    assert package["cache_bytes"] == (3 * 287 + 3 * 159) * 2 * 69 * 2
    assert not (tmp_path / "p").exists()
    assert main(["export", str(quantized), str(checkpoint), "--dry-run"]) == 1
    assert "--overwrite" in capfd.readouterr().err
    assert main(["export", str(checkpoint), str(tmp_path / "p"), "--dry-run"]) == 1
    assert "pocketlm quantize" in capfd.readouterr().err
