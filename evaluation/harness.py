"""lm-evaluation-harness over any thing: its own model interface, so that its tasks and metrics are run as they are.

Written for lm_eval 0.4.13 (EleutherAI/lm-evaluation-harness, lm_eval/api/model.py). Import it late: it takes seconds,
and the library is optional.
"""

import difflib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lm_eval import simple_evaluate
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from evaluation.scorers import Scorer
from evaluation.scoring import Progress, score_continuations
from evaluation.tasks import cut_left, encode_pair
from model.errors import EnvironmentFault
from model.tokenizer import TokenizerSpec
from model.tokenizer_readers import Tokenizer

_PROGRESS_SECONDS = 5.0
_MAX_NEW_TOKENS = 256  # where a task does not say, as lm_eval's own models have it
_BOOTSTRAP = 1000


class ThingLM(LM):
    """One thing as the harness sees a model.

    Args:
        room: the most tokens of a text, the scored ones included; longer ones lose tokens from the left.
        label: begins each line of progress.
    """

    def __init__(
        self, scorer: Scorer, tokenizer: Tokenizer, spec: TokenizerSpec, *, room: int, label: str, progress: Progress
    ) -> None:
        super().__init__()
        self._scorer, self._tokenizer, self._spec = scorer, tokenizer, spec
        self._room, self._label, self._progress = room, label, progress
        self._begin = tokenizer.encode("", first=True)

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Nats of each continuation after its context, and whether greedy decoding would write it."""
        return self._each(requests, lambda request: self._continuation(*request.args))

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """Nats of each whole text, in windows as wide as the context, each token predicted once."""
        return self._each(requests, lambda request: self._whole(request.args[0]))

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Greedy continuations, up to the first of the task's stop texts.

        Raises:
            ValueError: the task wants sampling, which this interface does not do.
        """
        return self._each(requests, lambda request: self._generate(*request.args))

    def _each(self, requests: Sequence[Any], answer: Any) -> list[Any]:
        answers, said = [], time.monotonic()
        for number, request in enumerate(requests, 1):
            answers.append(answer(request))
            if time.monotonic() - said > _PROGRESS_SECONDS or number == len(requests):
                said = time.monotonic()
                self._progress(f"{self._label}: {number:,} of {len(requests):,} requests")
        return answers

    def _continuation(self, context: str, continuation: str) -> tuple[float, bool]:
        ids, start = encode_pair(context, continuation, self._tokenizer)
        if not context and not self._begin:
            ids, start = [self._prefix(), *ids], 1
        if len(ids) > self._room:
            ids, start = cut_left(ids, start, self._room, self._begin)
        return next(score_continuations(self._scorer, [(ids, start)]))

    def _whole(self, text: str) -> float:
        ids = self._tokenizer.encode(text, first=True)[len(self._begin) :]
        windows = get_rolling_token_windows(ids, self._prefix(), max_seq_len=self._room - 1, context_len=1)
        total = 0.0
        for context, scored in map(make_disjoint_window, windows):
            total += next(score_continuations(self._scorer, [([*context, *scored], len(context))]))[0]
        return total

    def _prefix(self) -> int:
        """What stands before a text: its begin, or where the tokenizer has none, the end of another."""
        if self._begin:
            return self._begin[-1]
        return self._spec.stop_ids[0] if self._spec.stop_ids else 0

    def _generate(self, context: str, settings: Mapping[str, Any]) -> str:
        if settings.get("do_sample") and settings.get("temperature", 0.0):
            raise ValueError("the task samples its answers; only greedy generation is done here: set do_sample: false")
        until = settings.get("until") or []
        until = [until] if isinstance(until, str) else until
        most = int(settings.get("max_gen_toks", _MAX_NEW_TOKENS))
        ids = self._tokenizer.encode(context, first=True) or [self._prefix()]
        if len(ids) + most > self._room:
            ids, _ = cut_left(ids, 1, max(1, self._room - most), self._begin)
        new: list[int] = []
        while len(new) < min(most, self._room - 1):
            row = next(iter(self._scorer.rows([*ids, *new], len(ids) + len(new) - 1)))
            new.append(int(row[-1].argmax()))
            text = self._tokenizer.decode(new)
            found = [place for stop in until if stop and (place := text.find(stop)) >= 0]
            if found:
                return text[: min(found)]
            if new[-1] in self._spec.stop_ids:
                return self._tokenizer.decode(new[:-1])
        return self._tokenizer.decode(new)


def run_tasks(model: ThingLM, tasks: Sequence[str], *, folder: Path | None, limit: int | None) -> dict[str, Any]:
    """Runs tasks of the harness.

    Args:
        tasks: names of tasks, groups or tags.
        folder: of task files (YAML) beside the harness's own.
        limit: only so many questions of each.

    Returns:
        For each task its metrics by name; those that end with `_stderr` are the harness's standard errors.

    Raises:
        ValueError: there is no such task, or it cannot be run.
        EnvironmentFault: its data cannot be fetched.
    """
    manager = _manager(tasks, folder)
    try:
        found = simple_evaluate(
            model=model,
            tasks=list(tasks),
            task_manager=manager,
            limit=limit,
            bootstrap_iters=_BOOTSTRAP,
            log_samples=False,
        )
    except OSError as error:  # datasets' errors of the network and of missing files are of this kind
        raise EnvironmentFault(f"the data of {', '.join(tasks)} cannot be read ({error}); check its place") from error
    except (KeyError, TypeError, AttributeError, LookupError) as error:
        raise ValueError(f"lm-evaluation-harness cannot run {', '.join(tasks)} ({error!r}); check the task") from error
    return {task: _metrics(result) for task, result in found["results"].items()}


def _manager(tasks: Sequence[str], folder: Path | None) -> Any:
    """Of the folder's tasks alone where those are enough: the harness's own thousands take seconds to list."""
    if folder is not None and not folder.is_dir():
        raise ValueError(f"{folder} is no folder; give the one that holds the task files")
    place = None if folder is None else str(folder)
    if place is not None:
        manager = TaskManager(include_path=place, include_defaults=False)
        if set(tasks) <= set(manager.all_tasks):
            return manager
    manager = TaskManager(include_path=place)
    for task in tasks:
        if task not in manager.all_tasks:
            near = difflib.get_close_matches(task, manager.all_tasks, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"lm-evaluation-harness has no task {task!r}{hint}; own ones come with --lm-eval-path")
    return manager


def _metrics(result: Mapping[str, Any]) -> dict[str, float]:
    """`acc,none` becomes `acc`; a filter that is not `none` stays in the name."""
    return {
        name.removesuffix(",none"): float(value)
        for name, value in result.items()
        if isinstance(value, int | float) and "," in name
    }
