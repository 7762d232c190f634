"""Scores things on a text and on tasks: the same code, the same tokens, the same resamples for all of them."""

import contextlib
import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from evaluation.listed import find_list
from evaluation.result import Evaluation, TextFacts
from evaluation.scores import ThingScores
from evaluation.scoring import Progress, Run, score_documents
from evaluation.simulated import MOST_TOKENS, few_questions, first_documents
from evaluation.task_files import Question, read_questions
from evaluation.tasks import DELIMITER, encode_task, score_task
from evaluation.text import Text, read_text
from evaluation.things import Thing, find_reference, open_things, short_names
from evaluation.tokens import TokenStream, tokenize
from evaluation.trained_on import find_overlap
from model.errors import EnvironmentFault
from model.tokenizer import load_tokenizer
from model.tokenizer_readers import Tokenizer


def evaluate_things(
    things: Sequence[Path],
    *,
    text: str | Path | None = None,
    protocol: str | None = None,
    max_tokens: int = 512,
    documents: Path | None = None,
    limit_documents: int | None = None,
    tasks: Sequence[Path] = (),
    limit_questions: int | None = None,
    delimiter: str = DELIMITER,
    reference: Path | None = None,
    trained_on: Sequence[Path] = (),
    twins: Sequence[Path] = (),
    simulated_tokens: int = MOST_TOKENS,
    lm_eval: Sequence[str] = (),
    lm_eval_path: Path | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Scores all things on the same tokens.

    Args:
        things: checkpoints, quantized ones (as the converted integer model), packages (by their own program).
        text: see `evaluation.text.read_text`, as are `protocol`, `documents` and `limit_documents`.
        max_tokens: where each document is cut, first token included; a bounded package may cut it earlier.
        tasks: files of questions (evaluation/task_files.py); `delimiter` stands before what is scored of each.
        reference: what KL compares with, also if it is none of the things; by default the first float checkpoint that
            was not itself trained for a recipe.
        trained_on: lists of training documents (or folders with one) that belong to all things.
        twins: quantized checkpoints whose packages are to be run by a twin (evaluation/twin.py).
        simulated_tokens: most tokens of the text for all things when one is simulated (evaluation/simulated.py).
        lm_eval: tasks of lm-evaluation-harness, its own or of the files in `lm_eval_path`.
        progress: receives a line every few seconds, and each note and warning as it arises.

    Raises:
        ValueError: nothing to score, a thing, text or list that cannot be read, or things that cannot be compared.
        GateError: a package is not what its manifest says, or a twin is another program.
        EnvironmentFault: lm_eval is missing, or its data.
    """
    _check_asked(text, tasks, lm_eval)
    questions = [read_questions(path, limit_questions) for path in tasks]
    found = text if text is None else read_text(str(text), protocol=protocol, listed=documents, limit=limit_documents)
    with contextlib.ExitStack() as stack:
        opened = open_things(things, stack, reference=reference)
        job = _Job(opened, find_reference(opened, reference), progress or (lambda line: None))
        job.use_twins(twins)
        job.score_text(found, [find_list(place) for place in trained_on], max_tokens, simulated_tokens)
        job.score_tasks(short_names(tasks), questions, delimiter, is_limited=limit_questions is not None)
        job.run_harness(lm_eval, lm_eval_path, limit_questions)
        return job.result()


class _Job:
    """The opened things and what was found of them so far."""

    def __init__(self, opened: Sequence[Thing], reference: int | None, progress: Progress) -> None:
        self.tokenizer: Tokenizer = load_tokenizer(opened[0].folder, opened[0].spec)
        self._opened, self._reference, self._progress = list(opened), reference, progress
        self._notes: list[str] = []
        self._facts: TextFacts | None = None
        self._scores = [_unscored(thing) for thing in opened]

    @property
    def _simulated(self) -> list[str]:
        """Names of what is run by a simulation."""
        return [thing.name for thing in self._opened if thing.is_simulated]

    @property
    def room(self) -> int:
        """The most tokens of a question, the same for every thing."""
        return min(thing.most_tokens for thing in self._opened)

    def use_twins(self, checkpoints: Sequence[Path]) -> None:
        """Runs each package that was made of one of these checkpoints by a twin, once that is proved to be one."""
        if not checkpoints:
            return  # what lowers a program takes seconds to import
        from evaluation.twin import find_package, swap_in_twin

        for checkpoint in checkpoints:
            i = find_package(self._opened, checkpoint)
            self._opened[i], note = swap_in_twin(self._opened[i], checkpoint, self.tokenizer, progress=self._progress)
            self._scores[i] = _unscored(self._opened[i])
            self._note([note])

    def score_text(self, text: Text | None, lists: Sequence[Path], max_tokens: int, simulated_tokens: int) -> None:
        """Scores the documents, after all that can be said of them beforehand."""
        if text is None:
            return
        if max_tokens < 2:
            raise ValueError(f"max_tokens is {max_tokens}; at least 2 are needed (one given, one scored)")
        cut = min([max_tokens, *(thing.room for thing in self._opened if thing.room is not None)])
        stream, notes = first_documents(
            tokenize(text.documents, self.tokenizer, max_tokens=cut), self._simulated, simulated_tokens
        )
        self._note(notes)
        self._facts = text_facts(text, stream, cut)
        self._note(_context_notes(self._opened, stream, max_tokens, cut))
        runs = []
        for i, thing in enumerate(self._opened):
            overlap = find_overlap(text, [*thing.trained_lists, *lists])
            if overlap is not None:
                self._scores[i] = replace(self._scores[i], trained_on=overlap.documents, warnings=(overlap.sentence,))
                self._progress(f"warning: {thing.name} was {overlap.sentence}")
            runs.append(Run(name=thing.name, scorer=thing.scorer))
        score_documents(runs, stream.documents, reference=self._reference, progress=self._progress)
        for i, run in enumerate(runs):
            self._scores[i] = replace(self._scores[i], documents=tuple(run.documents), seconds=run.seconds)

    def score_tasks(
        self, names: Sequence[str], files: Sequence[Sequence[Question]], delimiter: str, *, is_limited: bool
    ) -> None:
        """Scores files of questions: the first ones, if something is simulated and nobody has said how many to take."""
        for name, questions in zip(names, files, strict=True):
            taken, notes = (questions, []) if is_limited else few_questions(name, questions, self._simulated)
            self._note(notes)
            self.score_task(name.removesuffix(".jsonl"), taken, delimiter)

    def score_task(self, name: str, questions: Sequence[Question], delimiter: str) -> None:
        """Scores one file of questions with every thing."""
        task = encode_task(name, questions, self.tokenizer, room=self.room, delimiter=delimiter)
        if task.cut:
            self._note([f"{task.name}: {task.cut} texts are longer than the context and were cut from the left"])
        for i, thing in enumerate(self._opened):
            found = score_task(task, thing.scorer, label=f"{thing.name}: {task.name}", progress=self._progress)
            self._scores[i] = replace(self._scores[i], tasks=(*self._scores[i].tasks, found))

    def run_harness(self, tasks: Sequence[str], folder: Path | None, limit: int | None) -> None:
        """Runs tasks of lm-evaluation-harness with every thing."""
        if not tasks:
            return
        if self._simulated and limit is None:
            raise ValueError(
                f"{self._simulated[0]} is simulated, which is slow: say with --limit how many questions to take"
            )
        from evaluation.harness import ThingLM, run_tasks

        for i, thing in enumerate(self._opened):
            model = ThingLM(
                thing.scorer, self.tokenizer, thing.spec, room=self.room, label=thing.name, progress=self._progress
            )
            self._scores[i] = replace(self._scores[i], harness=run_tasks(model, tasks, folder=folder, limit=limit))

    def result(self) -> Evaluation:
        """All of it."""
        return Evaluation(
            text=self._facts,
            reference=None if self._reference is None else self._opened[self._reference].name,
            things=tuple(self._scores),
            notes=tuple(self._notes),
            tokenizer=self.tokenizer,
        )

    def _note(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._notes.append(line)
            self._progress(f"note: {line}")


def _check_asked(text: str | Path | None, tasks: Sequence[Path], lm_eval: Sequence[str]) -> None:
    if text is None and not tasks and not lm_eval:
        raise ValueError("there is nothing to score; give a text or tasks")
    if lm_eval and importlib.util.find_spec("lm_eval") is None:
        raise EnvironmentFault(
            'lm-evaluation-harness is missing, which runs its tasks: pip install "pocketlm[eval]" (or lm_eval==0.4.13)'
        )


def _unscored(thing: Thing) -> ThingScores:
    return ThingScores(
        name=thing.name,
        path=str(thing.path),
        kind=thing.kind,
        recipe=thing.recipe,
        method=thing.method,
        bytes=thing.bytes,
        kernels=thing.kernels,
        how=thing.how,
        seconds=0.0,
        documents=(),
    )


def text_facts(text: Text, stream: TokenStream, cut: int) -> TextFacts:
    """What was scored, cut at so many tokens."""
    return TextFacts(
        source=text.source,
        protocol=text.protocol,
        held_out_of=text.held_out_of,
        max_tokens=cut,
        documents=len(stream.documents),
        cut=stream.cut,
        tokens=stream.tokens,
        bytes=sum(document.bytes for document in stream.documents),
        sha256=text.file_sha256,
    )


def _context_notes(things: Sequence[Thing], stream: TokenStream, asked: int, cut: int) -> list[str]:
    """What is scored otherwise than a reader might think."""
    notes = []
    longest = max(len(document.ids) for document in stream.documents)
    for thing in things:
        if thing.room is not None and thing.room < asked and thing.room == cut and stream.cut:
            notes.append(
                f"{thing.name} has a bounded context of {cut - 1:,} tokens: {stream.cut:,} longer documents are cut "
                f"after {cut:,} tokens for all"
            )
        if thing.is_trained_for:
            notes.append(f"{thing.name} was trained for a recipe but is scored unrounded; quantize it for what ships")
        if thing.context is not None and thing.context.kind == "endless" and longest > thing.context.tokens + 1:
            notes.append(
                f"{thing.name} sees the last {thing.context.tokens:,} tokens; documents have up to {longest:,}"
            )
        if longest > thing.config.max_context + 1:
            notes.append(
                f"{thing.name} was trained for {thing.config.max_context:,} tokens; documents have {longest:,}"
            )
    if len(stream.documents) == 1:
        notes.append("one document has no interval: an interval needs several documents to draw from")
    return notes
