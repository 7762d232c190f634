"""Fills a teacher's cache, killed before each of its operations on a file in turn (tests/train/test_teacher_cache.py).

    python -m tests.train.killed_fill FOLDER

One process forks for each kill, since loading torch takes longer than all the rest.
"""

import json
import os
import sys
from pathlib import Path

import torch

from tests.train.killed_run import kill_at
from train.distillation import Head
from train.teacher_cache import TeacherCache
from train.teacher_facts import TeacherFacts

V, C, WINDOW, WINDOWS, SHARD_WINDOWS = 40, 4, 8, 10, 3
FACTS = TeacherFacts(sha256="a teacher", vocab_size=V, top_k=5)


def batches() -> list[torch.Tensor]:
    return list(torch.randint(V, (WINDOWS, WINDOW), generator=torch.Generator().manual_seed(0)).split(2))


class Teacher:
    """A model of one table whose every position depends on the window up to there; counts what it is asked."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.table = torch.randn(V, C, generator=generator)
        self.windows = 0

    def __call__(self, tokens: torch.Tensor) -> Head:
        self.windows += len(tokens)
        return Head(torch.tanh(self.table[tokens].cumsum(1)).flatten(0, 1), self.table)


def fill(cache: TeacherCache, teacher: Teacher, windows: list[torch.Tensor] | None = None) -> int:
    given = batches() if windows is None else windows
    return cache.fill(given, teacher, total=0, positions=2 * WINDOW, chunk=7, progress=lambda line: None)


def _forked(folder: Path, kill: tuple[str, int] | None) -> tuple[int, list[str]]:
    """The exit status, and the operations where nothing was killed."""
    notes: list[str] = []
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        kill_at(str(folder), kill, notes)
        fill(TeacherCache.open(folder, FACTS), Teacher())
        os.write(writing, json.dumps(notes).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        said = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), json.loads(said or "[]")


def main() -> None:
    torch.set_num_threads(1)
    root = Path(sys.argv[1])
    code, notes = _forked(root / "whole", None)
    results = []
    for number in range(1, len(notes) + 1):
        folder = root / f"killed-{number}"
        status, _ = _forked(folder, ("", number))
        teacher = Teacher()
        cache = TeacherCache.open(folder, FACTS)
        kept = len(cache)
        fill(cache, teacher)
        targets = cache.targets(torch.cat(batches()))
        right = TeacherCache.open(root / "whole", FACTS).targets(torch.cat(batches()))
        results.append(
            {
                "operation": notes[number - 1].replace(str(root), ""),
                "status": status,
                "kept": kept,
                "asked": teacher.windows,
                "is_right": torch.equal(targets.ids_MK, right.ids_MK) and torch.equal(targets.tail_M, right.tail_M),
                "left": sorted(path.name for path in folder.iterdir()),
            }
        )
    print(json.dumps({"code": code, "results": results}))


if __name__ == "__main__":
    import train.teacher_cache

    train.teacher_cache.SHARD_POSITIONS = SHARD_WINDOWS * WINDOW
    main()
