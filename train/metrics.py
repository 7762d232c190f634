"""The figures of a run, a JSON line each: written as they come, cut back to a step when the run resumes.

Records with a "step" are a step's or an evaluation's; those without one are events. Loads without torch.
"""

import contextlib
import json
import math
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from model.errors import EnvironmentFault
from model.files import atomic_output


class Metrics:
    """An open metrics file; made by `Metrics.open`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def open(cls, path: Path, *, keep_to_step: int | None) -> Self:
        """Opens the file of a run.

        Args:
            keep_to_step: None for a new run. For a resumed one the step of its state: later records and a last line
                that a kill has cut are dropped, records without a step stay. A missing file is begun anew.

        Raises:
            ValueError: the file of a new run exists already, or that of a resumed run is damaged.
            EnvironmentFault: it cannot be written.
        """
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        if keep_to_step is None:
            flags |= os.O_EXCL
        elif os.path.lexists(path):
            kept = [record for record in read_metrics(path) if record.get("step", 0) <= keep_to_step]
            with atomic_output(path, overwrite=True, folder=False) as partial, partial.open("wb") as file:
                file.writelines(_line(record) for record in kept)
                file.flush()
                os.fsync(file.fileno())
        try:
            return cls(path, os.open(path, flags, 0o666))
        except FileExistsError:
            raise ValueError(
                f"{path} exists already: pass --resume to go on with that run, or name another output"
            ) from None
        except OSError as error:
            raise EnvironmentFault(f"cannot write {path} ({error.strerror}); name another output") from error

    def write(self, record: dict[str, Any]) -> None:
        """Appends one record; it is with the operating system, safe from a kill, when this returns.

        Raises:
            ValueError: a number in it is not finite; nothing was written.
            EnvironmentFault: the disk is full or fails.
        """
        rest = memoryview(_line(record))
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            raise EnvironmentFault(
                f"cannot write {self._path} ({error.strerror}); free some space and go on with --resume"
            ) from error

    def close(self) -> None:
        """Closes the file; a second time does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All records, in the order of the file. A last line that a kill has cut is no record.

    Raises:
        ValueError: the file is missing, or a line is not one of ours; the message names it.
    """
    try:
        *lines, last = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ValueError(f"cannot read {path} ({error.strerror}); name a run's metrics.jsonl") from None
    records = [_parse(path, number, line) for number, line in enumerate(lines, start=1)]
    with contextlib.suppress(ValueError):  # an editor may have taken the line's end only
        records.append(_parse(path, len(lines) + 1, last))
    return records


def _line(record: dict[str, Any]) -> bytes:
    """One JSON line. Floats are spelt by `repr`, so that they are read back bit for bit."""
    for key, value in record.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{key} is {value} in {record}; metrics hold finite numbers only")
    return (json.dumps(record, allow_nan=False) + "\n").encode()


def _parse(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line, parse_constant=_refuse)
        if not isinstance(record, dict):
            raise ValueError("not an object")
        if type(record.get("step", 0)) is not int:
            raise ValueError(f"its step is {record['step']!r}, not an integer")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}, line {number} is damaged ({error}); remove that line and try again") from None
    return record


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")
