"""`estimate` through the command line: what it prints, what it refuses, what it does not load."""

import json
import subprocess
import sys

import pytest

from cli.main import main


@pytest.fixture
def say(capfd):
    """Runs a command line; gives its exit code, stdout and stderr."""

    def run(*argv) -> tuple[int, str, str]:
        code = main([*map(str, argv)])
        out, err = capfd.readouterr()
        return code, out, err

    return run


def test_the_preset_of_the_paper_has_its_parameters(say):
    code, out, err = say("estimate", "mobilellm-pro", "--max-context", 8192, "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["parameters"] == 1084453120
    assert found["context"] == {"kind": "endless", "tokens": 8192}
    sizes = ("program", "package", "cache", "phone_peak", "host_peak", "host_native_peak", "export_peak")
    assert all(type(found[f"{name}_bytes"]) is int and found[f"{name}_bytes"] > 0 for name in sizes)
    assert found["export_seconds"] > 0 and "EPYC" in found["export_machine"]
    assert found["package_bytes"] > found["program_bytes"] == sum(found["files"]["program"].values())


def test_people_read_the_same_as_a_table(say):
    code, out, err = say("estimate", "nano", "--recipe", "float", "--bounded", "--max-context", 512)
    assert (code, err) == (0, "")
    assert out.startswith("nano: 5,770,496 parameters, recipe float, target xnnpack\n")
    for words in ("whole package", "bounded, 512 tokens", "never measured on a phone", "`generate`", "note: a preset"):
        assert words in out
    assert max(map(len, out.splitlines())) <= 120


def test_options_reach_the_plan(say):
    base = json.loads(say("estimate", "nano", "--json")[1])
    for options in (["--bounded"], ["--prefill-chunk", 16], ["--recipe", "float"], ["--max-context", 256]):
        changed = json.loads(say("estimate", "nano", *options, "--json")[1])
        assert changed["cache_bytes"] != base["cache_bytes"], options
    grouped = json.loads(say("estimate", "nano", "--group-size", 64, "--json")[1])
    assert grouped["program_bytes"] < base["program_bytes"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nanno"], 1, "did you mean 'nano'?"),
        (["nano", "--recipe", "floot"], 1, "did you mean 'float'?"),
        (["nano", "--target", "xnpack"], 1, "did you mean 'xnnpack'?"),
        (["nano", "--prefill-chunk", "9999"], 1, "at most 2047"),
        (["nano", "--max-context", "0"], 2, "--max-context"),
        ([], 2, "PRESET|CHECKPOINT"),
    ],
)
def test_what_is_wrong_is_one_line_and_the_right_exit_code(say, arguments, code, words):
    found, out, err = say("estimate", *arguments)
    assert (found, out) == (code, "")
    assert words in err and (code == 2 or err.count("\n") == 1)


def test_an_estimate_loads_no_torch(root, tmp_path):
    code = (
        "import sys; from cli.main import main\n"
        "done = main(['estimate', sys.argv[1], '--json'])\n"
        "heavy = {'torch', 'executorch', 'torchao', 'safetensors', 'tokenizers'} & set(sys.modules)\n"
        "sys.exit(' '.join(heavy) or done)"
    )
    assert main(["convert", "--preset", "nano", str(tmp_path / "nano")]) == 0
    for source in ("mobilellm-pro", str(tmp_path / "nano")):
        done = subprocess.run(
            [sys.executable, "-c", code, source], cwd=root, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["source"] == source
