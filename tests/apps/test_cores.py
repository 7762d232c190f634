"""The cores' own tests (JUnit, XCTest), run by the scripts that compile them with warnings as errors."""

import re
import subprocess

import pytest

from tests.apps.engine_client import ROOT


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-8000:]
    return said


@pytest.mark.kotlin
def test_kotlins_core_passes_its_junit_tests() -> None:
    found = re.search(r"OK \((\d+) tests\)", run(".ci/kotlin.sh", "test"))
    assert found is not None and int(found[1]) > 50


@pytest.mark.swift
def test_swifts_core_passes_its_tests() -> None:
    found = re.findall(r"Executed (\d+) tests, with 0 failures", run(".ci/swift.sh", "test"))
    assert found and max(map(int, found)) > 50


@pytest.mark.swift
def test_swift_is_formatted_and_linted() -> None:
    run(".ci/swift.sh", "lint")
