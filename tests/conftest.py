"""What all tests share: the path of ../shared, few threads, and the rule that a skip nobody expects is a failure.

Packages that tests share are made by tests/packages.py.
"""

import fnmatch
import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# Property tests draw anew at home and the same examples in CI, where a run must mean the same twice.
settings.register_profile("home", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "home")

# Before anything imports torch: two test processes on two cores must not start four threads each.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# A shell without job control starts background work with SIGINT ignored, and each process of a test would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Development data beside the checkout; tests that need it are skipped where it is missing."""
    if not SHARED.is_dir():
        pytest.skip("../shared is not here: it holds the development data and lies beside the checkout")
    return SHARED


class ExpectedSkips:
    """Fails the run when a test was skipped that the list does not allow.

    The list is a file named by POCKETLM_EXPECTED_SKIPS: a pattern a line (`*` and `?`), matched against
    `<test id>: <reason>`; `#` begins a comment. Without the variable every skip is allowed and prints its reason.
    """

    def __init__(self, patterns: list[str]) -> None:
        self.patterns = patterns
        self.unexpected: list[str] = []

    def note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        line = f"{report.nodeid}: {reason.removeprefix('Skipped: ')}"
        if not any(fnmatch.fnmatchcase(line, pattern) for pattern in self.patterns):
            self.unexpected.append(line)

    pytest_runtest_logreport = note
    pytest_collectreport = note

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unexpected and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.unexpected:
            terminalreporter.section("skips that were not expected", red=True)
            for line in self.unexpected:
                terminalreporter.line(line)


def read_patterns(path: Path) -> list[str]:
    """The patterns of a list of expected skips."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    # Ids hold brackets (parametrised tests), which mean themselves here.
    return [line.replace("[", "[[]") for line in lines if line and not line.startswith("#")]


def pytest_configure(config: pytest.Config) -> None:
    expected = os.environ.get("POCKETLM_EXPECTED_SKIPS")
    if expected:
        config.pluginmanager.register(ExpectedSkips(read_patterns(ROOT / expected)), "expected-skips")


from tests.packages import (  # noqa: E402, F401  fixtures for all folders
    other_ane,
    other_int4,
    other_mixed,
    tiny_ane,
    tiny_ane_learned,
    tiny_bounded,
    tiny_float,
    tiny_float_table,
    tiny_gpu,
    tiny_int4,
    tiny_learned,
    tiny_mixed,
    tiny_stateful,
)
