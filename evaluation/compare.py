"""Compares a float model, what quantization made of it and what training made of that, on the files that ship.

Scores all of them on one token stream, chooses the best PTQ on other documents than those it reports, and writes JSON,
Markdown and a page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evaluation.compare_choice import Choosing, Chosen, choose
from evaluation.compare_details import find_disagreements, measure_layers
from evaluation.compare_inputs import Given, read_inputs
from evaluation.comparison import Difference, Restoration, Role, difference_of, figures_of, histogram_of, restoration_of
from evaluation.evaluate import evaluate_things
from evaluation.intervals import Resamples
from evaluation.report import Comparison, Failed, Row, Selection
from evaluation.report_markdown import to_markdown
from evaluation.report_page import to_page
from evaluation.result import Evaluation, TextFacts
from evaluation.scores import ThingScores
from evaluation.scoring import Progress
from evaluation.verdict import Verdict, judge, judge_without
from model.files import atomic_output, check_target, dump_json

JSON_FILE, MARKDOWN_FILE, PAGE_FILE = "report.json", "report.md", "index.html"

_PACKAGES = ("executorch", "pocketlm", "torch", "torchao")


def compare(
    float_: Path,
    *,
    ptq: Sequence[Path],
    qat: Sequence[Path],
    text: str,
    choosing: Choosing | None = None,
    failed: Sequence[Failed] = (),
    quotes: bool = True,
    progress: Progress | None = None,
    **scoring: Any,
) -> Comparison:
    """Scores everything and says what it means; writes nothing.

    Args:
        float_: a float checkpoint, or a package of the recipe `float`: what KL and agreement refer to.
        ptq: quantized checkpoints or packages made of it without training.
        qat: those made of it with training.
        text: what is scored; `scoring` goes to `evaluate_things` (protocol, max_tokens, documents, tasks, ...).
        failed: methods that gave no thing, to be listed with their errors.
        quotes: whether passages of the text may stand in the result.
        progress: receives a line every few seconds.

    Raises:
        ValueError: things that do not belong together, a text that cannot be read or is too short to choose on.
        GateError: a package is not what its manifest says.
    """
    say = progress or (lambda line: None)
    given = read_inputs(float_, ptq, qat)
    paths = [one.path for one in given]
    evaluation = evaluate_things(paths, text=text, reference=float_, progress=say, **scoring)
    roles: list[Role] = [one.role for one in given]
    chosen = choose(evaluation, roles, paths, choosing or Choosing(), progress=say, scoring=scoring)
    found = _reckon(evaluation, given, chosen)
    names = [row.name for row in found.rows if row.role == "qat" or row.name == chosen.selection.best_ptq]
    drawn = [i for i, thing in enumerate(chosen.reported) if thing.name in names]
    if quotes:
        say("looking up where they disagree most")
    places = [] if not quotes else find_disagreements(paths, drawn, chosen.reported, evaluation.tokenizer)
    say("measuring each layer against the float model's")
    layers, tokens = measure_layers(paths, chosen.reported)
    return replace(found, failed=tuple(failed), disagreements=tuple(places), layers=tuple(layers), layer_tokens=tokens)


def _reckon(evaluation: Evaluation, given: Sequence[Given], chosen: Chosen) -> Comparison:
    """All that follows from the scores alone."""
    assert evaluation.text is not None
    things, resamples = chosen.reported, Resamples(len(chosen.reported[0].documents))
    scored = _Scored(things=things, given=given, selection=chosen.selection, resamples=resamples)
    return Comparison(
        text=_facts(evaluation.text, things[0]),
        selection=chosen.selection,
        rows=tuple(_row(one, thing, resamples) for one, thing in zip(given, things, strict=True)),
        differences=tuple(scored.differences()),
        restorations=tuple(scored.restorations()),
        histograms=tuple(histogram_of(thing) for thing in things[1:]),
        verdicts=tuple(scored.verdicts()),
        versions={name: version(name) for name in _PACKAGES},
        notes=evaluation.notes,
    )


def write_report(found: Comparison, out: Path, *, overwrite: bool = False) -> None:
    """Writes REPORT/report.json, report.md and index.html, all or nothing.

    Raises:
        ValueError: `out` exists and may not be replaced.
        EnvironmentFault: the disk is full, or the place cannot be written.
    """
    with atomic_output(out, overwrite=overwrite) as partial:
        (partial / JSON_FILE).write_text(dump_json(found.to_json()), encoding="utf-8")
        (partial / MARKDOWN_FILE).write_text(to_markdown(found), encoding="utf-8")
        (partial / PAGE_FILE).write_text(to_page(found), encoding="utf-8")


def check_output(out: Path, inputs: Sequence[Path], *, overwrite: bool) -> None:
    """Refuses an output that must not be written, before anything is scored.

    Raises:
        ValueError: it exists and may not be replaced, or it and an input lie in each other.
    """
    for path in inputs:
        check_target(out, overwrite=overwrite, source=path)


@dataclass(frozen=True, kw_only=True)
class _Scored:
    """The reported things, float first, with what is known of them."""

    things: Sequence[ThingScores]
    given: Sequence[Given]
    selection: Selection
    resamples: Resamples

    def differences(self) -> list[Difference]:
        """Each thing less float, then each QAT less the best PTQ."""
        float_, *others = self.things
        found = [difference_of(thing, float_, self.resamples) for thing in others]
        ptq = self._best_ptq()
        return found + ([] if ptq is None else [difference_of(qat, ptq, self.resamples) for qat in self._qats()])

    def restorations(self) -> list[Restoration]:
        """What each QAT won back of what the best PTQ lost."""
        ptq = self._best_ptq()
        return [] if ptq is None else [restoration_of(self.things[0], ptq, qat, self.resamples) for qat in self._qats()]

    def verdicts(self) -> list[Verdict]:
        """Of each QAT, the best first; without QAT or PTQ of what there is."""
        restorations = self.restorations()
        if restorations:
            return [judge(restoration) for restoration in restorations]
        alone = self._qats()[:1] or [thing for thing in [self._best_ptq()] if thing is not None]
        loss = difference_of(alone[0], self.things[0], self.resamples) if alone else None
        return [judge_without(loss, has_qat=bool(self._qats()))]

    def _best_ptq(self) -> ThingScores | None:
        return next((thing for thing in self.things if thing.name == self.selection.best_ptq), None)

    def _qats(self) -> list[ThingScores]:
        found = [thing for thing, given in zip(self.things, self.given, strict=True) if given.role == "qat"]
        return sorted(found, key=lambda thing: thing.name != self.selection.best_qat)


def _row(given: Given, thing: ThingScores, resamples: Resamples) -> Row:
    return Row(
        role=given.role,
        name=thing.name,
        path=str(given.path),
        kind=thing.kind,
        recipe=thing.recipe,
        method=thing.method,
        bytes=tree_bytes(given.path),
        weight_bytes=thing.bytes,
        kernels=thing.kernels,
        how=thing.how,
        seconds=round(thing.seconds, 3),
        figures=figures_of(thing, resamples),
        warnings=tuple(thing.warnings),
    )


def tree_bytes(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _facts(text: TextFacts, float_: ThingScores) -> Mapping[str, Any]:
    """What was scored and is reported."""
    return {
        "file": text.source,
        "sha256": text.sha256,
        "protocol": text.protocol,
        "held_out_of": text.held_out_of,
        "max_tokens": text.max_tokens,
        "documents": len(float_.documents),
        "tokens": float_.num_tokens,
        "bytes": sum(document.bytes for document in float_.documents),
    }
