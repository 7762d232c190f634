"""A test's end of the processes of the apps' end-to-end tests: one line of JSON there, one back."""

import base64
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
ENGINE = [sys.executable, "-m", "tests.apps.engine_process"]


class LineProcess:
    """A process that answers lines of JSON. Use it in a `with`, which ends it."""

    def __init__(self, command: Sequence[str]) -> None:
        self.command = list(command)
        self.process = subprocess.Popen(
            self.command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )

    def send(self, **request: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the process ended with {self.process.wait()}"
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer

    def ask(self, **request: Any) -> dict[str, Any]:
        """Sends a request and returns its one answer."""
        self.send(**request)
        return self.receive()

    def kill(self) -> None:
        """As the system ends an app: at once."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> "LineProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class EngineClient(LineProcess):
    """The engine's process."""

    def __init__(self, kind: str, package: Path) -> None:
        super().__init__([*ENGINE, "--kind", kind, str(package)])

    def generate(self, text: str, *, tokens: int, first: bool = False, stop_at: int | None = None) -> list[bytes]:
        """The pieces of one call; stops from the callback of piece `stop_at` on. `stats` has the report afterwards."""
        self.send(op="generate", text=text, first=first, max_new_tokens=tokens, temperature=0.0, lockstep=True)
        pieces: list[bytes] = []
        while "piece_base64" in (answer := self.receive()):
            assert answer["is_stop"] is False
            pieces.append(base64.b64decode(answer["piece_base64"]))
            if stop_at is not None and len(pieces) >= stop_at:
                self.send(op="stop")
            self.send(op="go")
        assert answer.get("done"), answer
        self.stats = answer["stats"]
        return pieces
