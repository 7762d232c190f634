"""The rule of tests/conftest.py: a skip that CI does not expect fails the run."""

import os
import subprocess
import sys

import pytest

SKIPPING = """
import pytest
@pytest.mark.parametrize("x", [1, 2])
def test_a(x): pytest.skip("no such library")
def test_b(): pass
"""


def run_pytest(root, folder, patterns):
    (folder / "test_it.py").write_text(SKIPPING)
    (folder / "expected.txt").write_text(f"# a comment\n{patterns}\n")
    environment = os.environ | {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "POCKETLM_EXPECTED_SKIPS": str(folder / "expected.txt"),
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir",
        str(folder),
        "--import-mode=importlib",
        "-rs",
        str(folder / "test_it.py"),
    ]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("patterns", "code"),
    [
        ("", 1),
        ("test_it.py::test_a[[]1]: no such library", 1),
        ("test_it.py::test_a[1]: no such library\ntest_it.py::test_a[2]: no such library", 0),
        ("*: no such library", 0),
        ("*: another reason", 1),
    ],
)
def test_only_a_listed_skip_passes(root, tmp_path, patterns, code):
    done = run_pytest(root, tmp_path, patterns)
    assert done.returncode == code, done.stdout
    assert ("skips that were not expected" in done.stdout) == bool(code)
    assert "no such library" in done.stdout
    assert "1 passed, 2 skipped" in done.stdout.splitlines()[-1]


def test_a_failure_is_not_hidden_by_an_expected_skip(root, tmp_path):
    (tmp_path / "test_bad.py").write_text("def test_c(): assert False\n")
    run_pytest(root, tmp_path, "*: no such library")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    environment = os.environ | {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "POCKETLM_EXPECTED_SKIPS": str(tmp_path / "expected.txt"),
    }
    assert subprocess.run(command, cwd=root, env=environment, capture_output=True, timeout=120).returncode == 1
