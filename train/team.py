"""The processes of one run: who is first, what they tell each other, and how all of them end when one does.

One process is a team by itself: nothing is shared, nothing waits. Several are started by torchrun, or by
`pocketlm train --processes` (train/launch.py), and find each other by what those put into the environment. The first
one speaks and writes; what it knows reaches the others through a store that outlives any of them.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from model.errors import EnvironmentFault

STORE = "POCKETLM_STORE"  # the file that processes of one machine find each other by, from train/launch.py
LIFELINE = "POCKETLM_LIFELINE"  # the descriptor that reaches its end when the process that started us is gone

_Made = TypeVar("_Made")

_POLL_S = 0.05
_FAILURE = "failure"
# How long a process whose connection broke waits for another one to say why, before it calls that one dead.
_LAST_WORDS_S = 3.0
_FIRST_WORD_S = 0.3  # where all fail alike, the first one is given the word
_MEET = timedelta(minutes=10)  # until all processes are there, and in one exchange between them


class Team:
    """One process's view of the processes of its run.

    Args:
        rank: which one this is, from 0.
        size: how many there are.
        local_rank: which one of this machine.
        local_size: how many of this machine.
        store: torch.distributed's, that all of them see; None for one process.
        exit_code: what a process ends with after an error.
    """

    def __init__(
        self,
        *,
        rank: int = 0,
        size: int = 1,
        local_rank: int = 0,
        local_size: int = 1,
        store: Any = None,
        exit_code: Callable[[BaseException], int] = lambda _: 1,
    ) -> None:
        self.rank, self.size, self.local_rank, self.local_size = rank, size, local_rank, local_size
        self._store, self._exit_code = store, exit_code
        self._turn, self._is_over = 0, False

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def from_first(self, make: Callable[[], Any]) -> Any:
        """What `make` returns in the first process, a JSON value, in all of them. The others wait, however long."""
        if self.size == 1:
            return make()
        self._turn += 1
        key = f"turn-{self._turn}"
        if self.is_first:
            value = make()
            self._store.set(key, json.dumps(value))
            return value
        while not self._store.check([key]):
            if self._store.check([_FAILURE]):
                raise _PeerFailed
            time.sleep(_POLL_S)
        return json.loads(self._store.get(key))

    def first_then_others(self, make: Callable[[], _Made]) -> _Made:
        """What `make` returns in each process; the others begin when the first has done it."""
        made: list[_Made] = []
        self.from_first(lambda: made.append(make()))
        return made[0] if made else make()

    def sum(self, value: float) -> float:
        """The sum of every process's number, in float64."""
        if self.size == 1:
            return value
        import torch
        import torch.distributed as dist

        total = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(total)
        return float(total)

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in the order of their ranks."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What ends this block by an error ends the block of every process; only the one where it began may say why.

        Raises:
            SystemExit: in the others, with the exit code of the one that failed.
            EnvironmentFault: another process is gone and left no word.
        """
        try:
            yield
        except BaseException as error:
            if self.size == 1 or self._is_over:
                raise
            self._is_over = True
            verdict = self._verdict(error)
            if verdict is error:
                raise
            raise verdict from error

    def _verdict(self, error: BaseException) -> BaseException:
        """The error as this process should raise it."""
        is_echo = _is_broken_connection(error)
        try:
            code = self._failure(_LAST_WORDS_S if is_echo else 0.0 if self.is_first else _FIRST_WORD_S)
            if code is None:
                if is_echo:
                    error = EnvironmentFault(
                        "another process of this run is gone (killed, or out of memory?); start again with --resume"
                    )
                own = error.code if isinstance(error, SystemExit) else self._exit_code(error)
                said = json.dumps({"rank": self.rank, "code": own if isinstance(own, int) else 1})
                if json.loads(self._store.compare_set(_FAILURE, "", said))["rank"] == self.rank:
                    return error
                code = self._failure(0.0)
        except RuntimeError:  # the store is gone with the process that kept it: one of those left speaks
            if self.rank != 1:
                return SystemExit(self._exit_code(error))
            return EnvironmentFault("the first process of this run is gone; start again with --resume")
        return SystemExit(code)

    def _failure(self, patience_s: float) -> int | None:
        """The exit code of the process that failed first; None where none did."""
        end = time.monotonic() + patience_s
        while not self._store.check([_FAILURE]):
            if time.monotonic() >= end:
                return None
            time.sleep(_POLL_S)
        return int(json.loads(self._store.get(_FAILURE))["code"])


class _PeerFailed(RuntimeError):
    """Another process has failed while this one waited for the first."""


def _is_broken_connection(error: BaseException) -> bool:
    """Whether an error says no more than that another process is not there any more."""
    if isinstance(error, _PeerFailed):
        return True
    if not isinstance(error, RuntimeError):
        return False
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or "gloo" in str(error) or "Connection closed by peer" in str(error)


def is_one_of_many(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process was started as one of several."""
    return int(environment.get("WORLD_SIZE", "1")) > 1


@contextlib.contextmanager
def join_team(exit_code: Callable[[BaseException], int]) -> Iterator[Team]:
    """The team that the environment names, for the time of the block; without one, a team of this process alone.

    Args:
        exit_code: what a process ends with after an error.

    Raises:
        EnvironmentFault: the other processes did not come.
    """
    if not is_one_of_many():
        yield Team()
        return
    import torch
    import torch.distributed as dist

    _watch_lifeline()
    read = {name: int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")}
    try:
        if STORE in os.environ:
            store: Any = dist.FileStore(os.environ[STORE], read["WORLD_SIZE"])
        else:
            store, _, _ = next(dist.rendezvous("env://", timeout=_MEET))
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
            store=dist.PrefixStore("group", store),
            rank=read["RANK"],
            world_size=read["WORLD_SIZE"],
            timeout=_MEET,
        )
    except (RuntimeError, ValueError) as error:
        raise EnvironmentFault(f"the {read['WORLD_SIZE']} processes did not find each other: {error}") from error
    team = Team(
        rank=read["RANK"],
        size=read["WORLD_SIZE"],
        local_rank=read["LOCAL_RANK"],
        local_size=read["LOCAL_WORLD_SIZE"],
        store=dist.PrefixStore("team", store),
        exit_code=exit_code,
    )
    with team.together():
        yield team
    dist.destroy_process_group()


def _watch_lifeline() -> None:
    """Ends this process when the one that started it is gone, however that ended."""
    name = os.environ.get(LIFELINE)
    if name is None:
        return
    import signal

    def wait() -> None:
        os.read(int(name), 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
