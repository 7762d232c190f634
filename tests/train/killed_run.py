"""Runs that SIGKILL ends at a chosen operation on a file, without a word of the product's code being changed.

Python tells its audit hooks of each file that is opened, renamed or removed, just before it happens. A process started
here counts those that change something below one folder, and kills itself before the chosen one.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent.parent
_CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree")


def kill_at(folder: str, kill: tuple[str, int] | None, notes: list[str], *, number: int = signal.SIGKILL) -> None:
    """Adds the hook to this process.

    Args:
        kill: a part of a note, and how many such operations there are before the process ends, itself included; it is
            not done any more. None: do all.
        notes: gets a line for each operation.
        number: of the signal.
    """

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            is_change = bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) or bool(
                set(mode or "") & set("wax+")
            )
        elif event in _CHANGES:
            path, is_change = arguments[0], True
        else:
            return
        name = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        # Names without a folder come from rmtree, which works relative to descriptors.
        if is_change and name and (name.startswith(folder) or not os.path.isabs(name)):
            notes.append(f"{event} {name}")
            if kill is not None and sum(kill[0] in note for note in notes) == kill[1]:
                os.kill(os.getpid(), number)

    sys.addaudithook(hook)


class Forker:
    """A process that has loaded everything and forks for each command line: a fifth of a second in place of three.

    It is a process of its own because pytest's has threads, and forks of such ones may hang.
    """

    def __init__(self) -> None:
        code = "from tests.train.killed_run import serve; serve()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *argv: object, folder: Path, kill: tuple[str, int] | None = None) -> tuple[int, str, list[str]]:
        """Runs a command line, killed as `kill_at` says.

        Returns:
            The exit code, or minus the signal that ended it; stdout and stderr; and the operations of a run that was
            not killed.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        request = {"argv": [*map(str, argv)], "folder": str(folder), "kill": kill}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return answer["code"], answer["said"], answer["notes"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


def serve() -> None:
    """The forker's end: a request a line on stdin, an answer a line on stdout."""
    import matplotlib.figure  # noqa: F401
    import torch

    import cli.main
    import train.loop  # noqa: F401

    torch.set_num_threads(1)
    for line in sys.stdin:
        request = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            os.dup2(writing, 1)
            os.dup2(writing, 2)
            notes: list[str] = []
            kill_at(request["folder"], request["kill"], notes)
            code = cli.main.main(request["argv"])
            sys.stdout.flush()
            sys.stderr.flush()
            _tell(writing, "\0" + json.dumps(notes))
            os._exit(code)
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as pipe:
            said, _, notes_text = pipe.read().partition("\0")
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps({"code": code, "said": said, "notes": json.loads(notes_text or "[]")}), flush=True)


def _tell(descriptor: int, text: str) -> None:
    rest = text.encode()
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def main(argv: Sequence[str]) -> int:
    """`python -m tests.train.killed_run FOLDER NUMBER train ...`: the command line, killed before that operation."""
    from cli.main import main as pocketlm

    kill_at(argv[0], ("", int(argv[1])), [])
    return pocketlm(argv[2:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
