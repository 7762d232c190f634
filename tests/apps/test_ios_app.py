"""The iOS app compiled and run on Linux: its code over stubs of Apple's modules, ExecuTorch's calls over processes."""

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.apps.app_program import BUDGET
from tests.apps.engine_client import ENGINE, ROOT
from tests.apps.test_end_to_end import QUESTIONS, python_replies
from tests.apps.trees import IOS_STUBS

pytestmark = pytest.mark.swift
CHROOT = Path(os.environ.get("POCKETLM_SWIFT", ROOT / ".cache" / "swift"))
BUILD = ROOT / ".cache" / "swift-app"


@pytest.fixture(scope="module")
def tests() -> list[str]:
    """The command of the built tests, outside the chroot so that they can start Python."""
    options = ["--package-path", str(IOS_STUBS), "--scratch-path", str(BUILD), "--jobs", "2"]
    # swift::threading::fatal is missing from Debian's libswiftObservation; nothing calls it.
    options += ["-Xswiftc", "-warnings-as-errors", "-Xlinker", "--allow-shlib-undefined"]
    subprocess.run(
        [".ci/swift.sh", "run", "swift", "build", "--build-tests", *options], cwd=ROOT, check=True, timeout=900
    )
    libraries = [CHROOT / "usr/lib/x86_64-linux-gnu", CHROOT / "usr/libexec/swift/lib/swift/linux", BUILD / "debug"]
    loader = [str(CHROOT / "lib64/ld-linux-x86-64.so.2"), "--library-path", ":".join(map(str, libraries))]
    return [*loader, str(BUILD / "debug" / "PocketLMOnLinuxPackageTests.xctest")]


def run(tests: list[str], tmp_path: Path, *names: str, **environment: str) -> str:
    home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [*tests, *names], cwd=ROOT, env=home | environment, capture_output=True, text=True, timeout=900, check=False
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-5000:]
    return output


def test_the_apps_units(tests: list[str], tmp_path: Path) -> None:
    output = run(tests, tmp_path)
    (executed,) = re.findall(r"Test Suite 'All tests' passed.*\n\s*Executed (\d+) tests", output)
    assert int(executed) > 20


class Answers(BaseHTTPRequestHandler):
    """What a download meets: a file, an end that comes too early, none at all."""

    protocol_version = "HTTP/1.1"
    is_over = threading.Event()

    def do_GET(self) -> None:
        asked = [self.headers[name] for name in ("Range", "If-Range", "Accept-Encoding")]
        known = {"/file": bytes(i % 251 for i in range(251)) * 159363, "/echo": " ".join(map(str, asked)).encode()}
        body = known.get(self.path, b"")[:40_000_000]
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", "1000" if self.path in ("/short", "/hang") else str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if self.path in ("/short", "/hang"):
            self.wfile.write(b"a few bytes")
            self.wfile.flush()
            self.close_connection = True
        if self.path == "/hang":
            self.is_over.wait(60)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    Answers.is_over.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        Answers.is_over.set()
        running.shutdown()
        thread.join()


def test_downloads_go_through_urlsession(tests: list[str], tmp_path: Path, server: str) -> None:
    output = run(tests, tmp_path, "EngineTests.TransportTests", POCKETLM_SERVER=server)
    assert "Executed 7 tests, with 0 failures" in output and "skipped" not in output


def run_flow(tests: list[str], folder: Path, package: Path, questions: Sequence[str], replies: list[str]) -> None:
    """The whole app without its screens: each reply must be the one given."""
    flow = {
        "package": str(package),
        "command": ENGINE,
        "questions": questions,
        "replies": replies,
        "budget": BUDGET,
    }
    (folder / "flows.json").write_text(json.dumps([flow]))
    output = run(tests, folder, "EngineTests.AppFlowTests", POCKETLM_FLOWS=str(folder / "flows.json"))
    assert "Executed 1 test, with 0 failures" in output and "skipped" not in output


def test_a_package_goes_through_the_whole_app(tests: list[str], tmp_path: Path, endless_package: Path) -> None:
    replies, _ = python_replies(endless_package, QUESTIONS)
    run_flow(tests, tmp_path, endless_package, QUESTIONS, replies)


def test_a_coreml_package_goes_through_the_whole_app(tests: list[str], tmp_path: Path, coreml_package: Path) -> None:
    questions = (*QUESTIONS, " And so")  # its window is longer
    replies, _ = python_replies(coreml_package, questions, runner="python")
    run_flow(tests, tmp_path, coreml_package, questions, replies)
