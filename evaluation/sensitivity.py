"""What quantizing each part of a model alone costs: KL(float || that) a token, everything else left float.

The float model's logits are computed once a document, and all parts are scored against them (evaluation/scoring.py).
Legend: P parts, N documents.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from evaluation.evaluate import text_facts
from evaluation.intervals import Resamples
from evaluation.listed import lists_beside
from evaluation.result import TextFacts
from evaluation.scores import Floats, Interval
from evaluation.scoring import Progress, Run, TokenDocument, score_documents
from evaluation.sensitivity_chart import to_svg
from evaluation.sensitivity_choice import ROOM, WIDER, Group, group_layers, suggest, weigh
from evaluation.sensitivity_parts import FloatStates, Part, PartScorer, activations_part, weights_part, whole_part
from evaluation.sensitivity_result import By, Cost, Sensitivity, Suggestion
from evaluation.text import Text, read_text
from evaluation.tokens import TokenStream, tokenize
from evaluation.trained_on import find_overlap
from model.checkpoint import load_model, read_info
from model.files import atomic_output, dump_json
from model.tokenizer import TokenizerSpec, load_tokenizer
from quant.calibration import Documents
from quant.checkpoint import plan_checkpoint, quantized_layers
from quant.integers import QuantizedTensor
from quant.methods import TRAINED
from quant.plan import Choice, choose
from quant.recipe import NO_OVERRIDES, SchemeName, find_recipe

JSON_FILE, CHART_FILE = "sensitivity.json", "sensitivity.svg"
_PROGRESS_SECONDS = 5.0
_WEIGHTS = {"weights", "everything"}  # costs of all weight matrices


def measure_sensitivity(
    checkpoint: Path,
    *,
    text: str,
    protocol: str | None = None,
    max_tokens: int = 512,
    documents: Path | None = None,
    limit_documents: int | None = None,
    recipe: str | None = None,
    group_size: int | None = None,
    method: str | None = None,
    calibration: Documents | None = None,
    by: By = "layer",
    progress: Progress | None = None,
) -> Sensitivity:
    """Measures every part on the same tokens; writes nothing.

    Args:
        checkpoint: a float one with a tokenizer.
        text: see `evaluation.text.read_text`, as are `protocol`, `documents` and `limit_documents`; `max_tokens` is
            where each document is cut, first token included.
        recipe: with `group_size`, `method` and `calibration` as in `quant.checkpoint.quantize_checkpoint`.
        by: a row for each weight matrix, for each kind of matrix over all layers, or for all matrices of a layer.
        progress: receives a line every few seconds, and each note as it arises.

    Raises:
        ValueError: the checkpoint is quantized, damaged or without a tokenizer; the recipe quantizes nothing, or it or
            what goes with it is impossible; the text cannot be read.
    """
    say = progress or (lambda line: None)
    if max_tokens < 2:
        raise ValueError(f"max_tokens is {max_tokens}; at least 2 are needed (one given, one scored)")
    choice, spec = _check(checkpoint, recipe, group_size, method, calibration)
    found = read_text(text, protocol=protocol, listed=documents, limit=limit_documents)
    stream = tokenize(found.documents, load_tokenizer(checkpoint, spec), max_tokens=max_tokens)
    notes = _notes(checkpoint, choice, found, stream)
    for note in notes:
        say(f"note: {note}")
    measure = _Measure(checkpoint, choice, calibration, stream.documents, say)
    return measure.result(by, text_facts(found, stream, max_tokens), notes)


def write_sensitivity(found: Sensitivity, out: Path, *, overwrite: bool = False) -> None:
    """Writes OUT/sensitivity.json and sensitivity.svg, both or none.

    Raises:
        ValueError: `out` exists and may not be replaced.
        EnvironmentFault: the disk is full, or the place cannot be written.
    """
    with atomic_output(out, overwrite=overwrite) as partial:
        (partial / JSON_FILE).write_text(dump_json(found.to_json()), encoding="utf-8")
        (partial / CHART_FILE).write_text(to_svg(found), encoding="utf-8")


def _check(
    checkpoint: Path, recipe: str | None, group_size: int | None, method: str | None, calibration: Documents | None
) -> tuple[Choice, TokenizerSpec]:
    """What is to be measured; refuses what shapes and descriptions show to be impossible, before anything is read."""
    info = read_info(checkpoint)
    choice = choose(checkpoint, info, recipe=recipe, group_size=group_size, method=method)
    if find_recipe(choice.recipe).weights == "float":
        raise ValueError("recipe 'float' quantizes nothing, so there is nothing to measure; take another, as 8da4w-g32")
    if info.tokenizer is None:
        raise ValueError(f"{checkpoint} has no tokenizer, so text cannot be scored; convert it from a folder with one")
    plan_checkpoint(checkpoint, recipe=recipe, group_size=group_size, method=method, calibration=calibration)
    return choice, info.tokenizer


def _notes(checkpoint: Path, choice: Choice, text: Text, stream: TokenStream) -> list[str]:
    notes = []
    overlap = find_overlap(text, lists_beside(checkpoint))
    if overlap is not None:
        notes.append(f"{checkpoint} was {overlap.sentence}")
    if choice.method == TRAINED:
        notes.append(
            f"{checkpoint} was trained under fake quantization, so its float weights are no model that anybody wanted: "
            "read a row as what rounding changes, not as what it costs; and overrides would drop what was trained"
        )
    if len(stream.documents) == 1:
        notes.append("one document has no interval: an interval needs several documents to draw from")
    return notes


class _Measure:
    """The float model, and every part of it quantized, on the same documents."""

    def __init__(
        self,
        checkpoint: Path,
        choice: Choice,
        calibration: Documents | None,
        documents: Sequence[TokenDocument],
        say: Progress,
    ) -> None:
        self.checkpoint, self.choice, self.calibration = checkpoint, choice, calibration
        self.documents, self.say = documents, say
        self.recipe = find_recipe(choice.recipe)
        self.model = load_model(checkpoint).eval()
        self.layers = [name for name, scheme in choice.layers.items() if scheme.scheme != "float"]
        self.bytes = weigh(checkpoint, self.model.config, {name: choice.layers[name] for name in self.layers})
        self.resamples = Resamples(len(documents))
        self.tokens: Floats = np.array([len(document.ids) - 1 for document in documents], dtype=np.float64)

    def result(self, by: By, text: TextFacts, notes: Sequence[str]) -> Sensitivity:
        """All that there is to say."""
        started = time.monotonic()
        rows, others, sum_of_rows = self._costs(by)
        everything = others["everything"]
        suggestion = self._suggestion(rows, everything)
        return Sensitivity(
            checkpoint=str(self.checkpoint),
            recipe=self.choice.recipe,
            group_size=self.choice.group_size,
            method=self.choice.method,
            by=by,
            text=text,
            rows=tuple(rows),
            activations=others.get("activations"),
            cache=others.get("cache"),
            weights=others.get("weights", everything),
            everything=everything,
            sum_of_rows=sum_of_rows,
            suggestion=suggestion,
            seconds=time.monotonic() - started,
            notes=tuple(notes),
            versions={name: version(name) for name in ("pocketlm", "torch", "torchao")},
        )

    def _costs(self, by: By) -> tuple[list[Cost], dict[str, Cost], Interval]:
        """Of each row, the most costly first; of all that are no rows, by name; and the rows' KL added up."""
        tensors = self._quantize(NO_OVERRIDES)
        groups = group_layers(self.layers, by)
        parts = [
            weights_part(group.name, self.model, {layer: tensors[layer] for layer in group.layers}) for group in groups
        ]
        parts += self._wholes(tensors)
        kl_PN, agree_PN = self._score(parts)
        costs = [self._cost(parts[i].name, kl_PN[i], agree_PN[i]) for i in range(len(parts))]
        rows = [self._weighed(cost, group) for cost, group in zip(costs, groups, strict=False)]
        every = Group(name="", pattern="*", layers=tuple(self.layers))
        others = {cost.name: cost for cost in costs[len(groups) :]}
        for name in _WEIGHTS & set(others):
            others[name] = replace(self._weighed(others[name], every), pattern=None, more_bytes=None)
        total = self.resamples.ratio(kl_PN[: len(groups)].sum(0), self.tokens)
        return sorted(rows, key=lambda row: -row.kl.value), others, total

    def _suggestion(self, rows: Sequence[Cost], everything: Cost) -> Suggestion | None:
        """What to keep in 8 bits, measured; None where there is nothing, or nothing may be changed."""
        chosen = suggest(rows, ROOM * (everything.bytes or 0))
        if not chosen or self.choice.method == TRAINED:
            return None
        overrides: dict[str, SchemeName] = {row.pattern: WIDER for row in chosen if row.pattern is not None}
        self.say(f"measuring everything together with {len(overrides)} rows in 8 bits")
        part = whole_part("", self.model, self._quantize(overrides), self.recipe)
        kl_PN, agree_PN = self._score([part])
        cost = self._cost("", kl_PN[0], agree_PN[0])
        more = sum(row.more_bytes or 0 for row in chosen)
        return Suggestion(overrides=overrides, more_bytes=more, kl=cost.kl, agreement=cost.agreement)

    def _quantize(self, overrides: Mapping[str, SchemeName]) -> dict[str, QuantizedTensor]:
        choice = self.choice
        return dict(
            quantized_layers(
                self.checkpoint,
                recipe=choice.recipe,
                group_size=None if choice.group_size == self.recipe.group_size else choice.group_size,
                method=choice.method,
                overrides=overrides,
                calibration=self.calibration,
                progress=self.say,
            )
        )

    def _wholes(self, tensors: Mapping[str, QuantizedTensor]) -> list[Part]:
        """What is no layer's: all weights, activations, cache, everything; where only weights are, the last alone."""
        parts = []
        if self.recipe.activations != "float":
            parts.append(activations_part("activations", self.model, list(tensors)))
        if self.recipe.cache != "float":
            parts.append(Part(name="cache", cache=self.recipe.cache))
        if parts:
            parts.append(weights_part("weights", self.model, tensors))
        return [*parts, whole_part("everything", self.model, tensors, self.recipe)]

    def _score(self, parts: Sequence[Part]) -> tuple[Floats, Floats]:
        """Sums of KL and of agreements over the tokens of each document, [P, N] both."""
        clock = _Clock(
            sum(len(document.ids) - 1 for document in self.documents) * (len(parts) + 1), len(parts), self.say
        )
        states = FloatStates(self.model, clock.ran)
        runs = [Run(name=part.name, scorer=PartScorer(states, part)) for part in (Part(name="float"), *parts)]
        kl_PN = np.zeros((len(parts), len(self.documents)))
        agree_PN = np.zeros_like(kl_PN)
        for n, document in enumerate(self.documents):
            score_documents(runs, [document], reference=0)
            for p, run in enumerate(runs[1:]):
                found = run.documents[-1]
                assert found.kl is not None and found.agree is not None
                kl_PN[p, n], agree_PN[p, n] = found.kl.sum(), found.agree.sum()
            for run in runs:
                run.documents.clear()  # sums are all that is needed; every token of every part would be much
        return kl_PN, agree_PN

    def _cost(self, name: str, kl_N: Floats, agree_N: Floats) -> Cost:
        ratio = self.resamples.ratio
        return Cost(name=name, kl=ratio(kl_N, self.tokens), agreement=ratio(agree_N, self.tokens))

    def _weighed(self, cost: Cost, group: Group) -> Cost:
        """With what its weights are and weigh."""
        bytes_ = [self.bytes[layer] for layer in group.layers]
        more = sum(one.wider - one.quantized for one in bytes_)
        return replace(
            cost,
            pattern=group.pattern,
            layers=group.layers,
            schemes=tuple(dict.fromkeys(self.choice.layers[layer].scheme for layer in group.layers)),
            float_bytes=sum(one.in_float for one in bytes_),
            bytes=sum(one.quantized for one in bytes_),
            more_bytes=more if more > 0 else None,
        )


class _Clock:
    """Says every few seconds how far the scoring is and how long it will still take."""

    def __init__(self, total: int, parts: int, say: Progress) -> None:
        self.total, self.parts, self.say = total, parts, say
        self.done, self.started, self.said = 0, time.monotonic(), time.monotonic()

    def ran(self, tokens: int) -> None:
        self.done += tokens
        now = time.monotonic()
        if now - self.said > _PROGRESS_SECONDS:
            self.said = now
            left = (now - self.started) * (self.total - self.done) / self.done
            share, parts = self.done / self.total, f"{self.parts} part{'s' if self.parts > 1 else ''}"
            self.say(f"scored {100 * share:.0f} % of the text with {parts}, {_duration(left)} left")


def _duration(seconds: float) -> str:
    return f"about {seconds / 60:.0f} min" if seconds > 90 else f"about {seconds:.0f} s"
