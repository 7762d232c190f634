"""What decides a teacher's targets, and the index of a folder that keeps them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.files import dump_json, read_json, sha256_file
from train.teacher_targets import KEY_BYTES, TEMPERATURES, record_type

FORMAT = "pocketlm-teacher-targets"
VERSION = 1
INDEX = "index.json"


@dataclass(frozen=True, kw_only=True)
class TeacherFacts:
    """What decides a teacher's targets, beside the text.

    Raises:
        ValueError: a number out of range.
    """

    sha256: str  # of the teacher, by `teacher_sha256`
    vocab_size: int
    top_k: int = 64
    precision: str = "float32"  # of the teacher's matrix products: a run file's train.precision
    temperatures: tuple[float, ...] = TEMPERATURES  # at which the targets can be read

    def __post_init__(self) -> None:
        if not 1 <= self.top_k <= self.vocab_size:
            raise ValueError(f"distill.top_k is {self.top_k}; it must be from 1 to the vocabulary's {self.vocab_size}")
        if not self.temperatures or any(not t > 0 for t in self.temperatures):
            raise ValueError(f"the temperatures {self.temperatures} must be one or more numbers above 0")

    def record_type(self, window: int) -> np.dtype[Any]:
        return record_type(
            window=window, top_k=self.top_k, num_temperatures=len(self.temperatures), vocab_size=self.vocab_size
        )

    @property
    def position_bytes(self) -> int:
        """On the disk, for each position."""
        return self.record_type(1).itemsize - KEY_BYTES


def teacher_sha256(folder: Path) -> str:
    """One hash for what a float checkpoint computes: of its weights file and its configuration.

    Raises:
        ValueError: the folder is no checkpoint.
    """
    config = read_json(folder / "checkpoint.json").get("config")
    digest = hashlib.sha256(dump_json(config).encode())
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise ValueError(f"{weights} is missing; copy or make that folder again")
    digest.update(sha256_file(weights).encode())
    return digest.hexdigest()


def refuse_foreign(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; name a folder by distill.cache")
    foreign = sorted(path.name for path in folder.glob("*") if not path.name.startswith("."))
    if foreign:
        raise ValueError(
            f"{folder} holds {foreign[0]} and no {INDEX}, so it is no cache of a teacher's targets; name another "
            "folder by distill.cache"
        )


def read_index(folder: Path) -> dict[str, Any]:
    index = read_json(folder / INDEX)
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise ValueError(f"{folder / INDEX} does not describe a teacher's targets; name another distill.cache")
    if index.get("version") != VERSION:
        raise ValueError(
            f"{folder} holds targets of version {index.get('version')!r}, this pocketlm reads {VERSION}; remove the "
            "folder to have it made again"
        )
    return index


def check_facts(folder: Path, stored: dict[str, Any], asked: TeacherFacts) -> tuple[float, ...]:
    """The temperatures that a cache was made with.

    Raises:
        ValueError: it was made of something else.
    """
    for name, what in (
        ("sha256", "another teacher"),
        ("vocab_size", "another vocabulary"),
        ("top_k", "another top_k"),
        ("precision", "another precision"),
    ):
        if stored.get(name) != getattr(asked, name):
            raise ValueError(
                f"{folder} holds the targets of {what} ({stored.get(name)}; this run has {getattr(asked, name)}); "
                "name another folder by distill.cache"
            )
    return tuple(float(t) for t in stored["temperatures"])


def check_temperature(folder: Path, temperature: float, kept: tuple[float, ...]) -> None:
    """Refuses a temperature that the cache was not made with.

    Raises:
        ValueError: always then.
    """
    if temperature not in kept:
        raise ValueError(
            f"{folder} keeps what is needed for the temperatures {', '.join(f'{t:g}' for t in kept)} and not for "
            f"{temperature:g}: another temperature's tail does not follow from theirs; choose one of these, or name "
            "another folder by distill.cache"
        )
