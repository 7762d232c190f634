"""The parent's end of export/native_child.py: starts the process, speaks its lines, tells why it failed, ends it."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from kernels.load import library_of
from model.errors import EnvironmentFault

_CHILD = Path(__file__).with_name("native_child.py")
_LOG_PLACE = re.compile(r"^(?:[A-Z] )?(?:\[|tokenizers:)[^\]]*\.(?:cpp|h):\d+\] ")
_TROUBLE = re.compile(r"fail|missing|not found|expected|error|invalid|must |>=|small|couldn't|could not|memory", re.I)
_LEAVE_SECONDS = 5.0


class Child:
    """The process, its pipes, and whether it waits for an answer."""

    def __init__(self, program: Path, tokenizer: Path, *, warm_up: str, is_verbose: bool) -> None:
        self._program = program
        self.num_pieces = 0  # of the newest call
        self.kernels = ""  # what it runs attention with; known when it is ready
        self._is_running = True  # until it is ready
        self._owes_answer = False
        self._ahead: dict[str, Any] | None = None
        self._end: dict[str, Any] = {}
        self._log_start = 0
        self._log = None if is_verbose else tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        kernels = library_of(None)
        read_end, write_end = os.pipe()
        self._replies = os.fdopen(read_end, "rb")
        try:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    str(_CHILD),
                    str(program),
                    str(tokenizer),
                    str(write_end),
                    warm_up,
                    str(kernels or ""),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                pass_fds=(write_end,),
                process_group=0,  # a terminal's Ctrl-C is for the parent, which then closes
            )
        finally:
            os.close(write_end)

    def start(self, **command: object) -> None:
        """Sends a command; `receive` gives its pieces and its end."""
        self._is_running, self.num_pieces = True, 0
        if self._log is not None and not self._log.closed:
            self._log_start = os.fstat(self._log.fileno()).st_size
        self._write(command)

    def receive(self) -> dict[str, Any]:
        """The next message.

        Raises:
            ValueError: the runner refused or failed, or the process died; the message says what its log says.
            EnvironmentFault: a library is missing.
        """
        message, self._ahead = self._ahead or self._read(), None
        if "piece" in message:
            self.num_pieces += 1
            self._owes_answer = True
            return message
        self._is_running, self._end = False, message
        self.kernels = message.get("kernels", self.kernels)
        if "error" in message:
            line = f"{self._program}: the native runner failed: {self._trouble(message['error'])}"
            raise EnvironmentFault(line) if message.get("is_environment") else ValueError(line)
        return message

    def go_on(self) -> None:
        """Answers a piece, if that was not done yet: more."""
        if self._owes_answer:
            self._owes_answer = False
            self._write({"do": "go"})

    def is_at_end(self) -> bool:
        """Answers a piece with "more" and looks whether the runner had it for the last one."""
        self.go_on()
        self._ahead = self._read()
        return "piece" not in self._ahead

    def settle(self) -> dict[str, Any]:
        """Brings a call to its end, whatever its caller has left of it; returns its last message."""
        while self._is_running:
            if self._owes_answer:
                self._owes_answer = False
                self._write({"do": "stop"})
            self.receive()
        return self._end

    def close(self) -> None:
        """Ends the process: at once in the middle of a call, else by the end of its commands. May be called twice."""
        try:
            if self._is_running:
                self._process.kill()
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process.wait(_LEAVE_SECONDS)
        except (subprocess.TimeoutExpired, OSError):
            pass
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._replies.close()
            if self._log is not None:
                self._log.close()

    def _write(self, message: dict[str, Any]) -> None:
        if self._process.stdin is None or self._process.stdin.closed:
            raise ValueError("the native runner is closed; open it again")
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._death() from None

    def _read(self) -> dict[str, Any]:
        line = self._replies.readline()
        if not line:
            raise self._death()
        message: dict[str, Any] = json.loads(line)
        return message

    def _death(self) -> ValueError:
        self._is_running = False
        code = self._process.wait()
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit status {code}"
        cause = "memory ran out, or somebody killed it" if code == -signal.SIGKILL else self._trouble("")
        return ValueError(
            f"{self._program}: the native runner's process ended {how}{': ' * bool(cause)}{cause}; "
            "run the package in Python's runtime to see whether the file is at fault"
        )

    def _trouble(self, said: str) -> str:
        """What went wrong: the runner's own words, and the first line of its log that tells of trouble."""
        if self._log is None:
            return f"{said} (the log is above)".strip()
        self._log.seek(self._log_start)
        lines = self._log.read().decode(errors="replace").splitlines()
        native = [_LOG_PLACE.sub("", line) for line in lines if _LOG_PLACE.match(line)]
        first = next((line for line in native if _TROUBLE.search(line)), lines[-1] if lines else "")
        return f"{said} ({first.strip()})" if said and first else said or first.strip()
