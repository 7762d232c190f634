"""What `pocketlm sensitivity` found: the cost of each part, ranked, for programs and people. Loads no torch."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from evaluation.report_words import digits, percent, places_of, size, span
from evaluation.result import TextFacts
from evaluation.scores import Interval

FORMAT, VERSION = "pocketlm-sensitivity", 1
By = Literal["layer", "kind", "block"]

_MOST_ROWS = 24  # of layers in the table for people


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What quantizing one part alone costs: KL(float || that) in nats a token, and how often the first choice stays."""

    name: str
    kl: Interval
    agreement: Interval
    pattern: str | None = None  # that an override of these weights takes; None: activations, cache, everything
    layers: tuple[str, ...] = ()  # weight matrices in it
    schemes: tuple[str, ...] = ()  # of these
    float_bytes: int | None = None  # of the weights in the float checkpoint; None where no weights are quantized
    bytes: int | None = None  # of their codes and scales
    more_bytes: int | None = None  # that 8 bits per channel would take instead; None where it would take no more

    @property
    def saved_bytes(self) -> int | None:
        return None if self.float_bytes is None or self.bytes is None else self.float_bytes - self.bytes

    def to_json(self) -> dict[str, Any]:
        found = asdict(self) | {"saved_bytes": self.saved_bytes}
        return found | {"kl": self.kl.to_json(), "agreement": self.agreement.to_json()}


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """Layers to keep in 8 bits, and what everything together costs then: measured, not added up."""

    overrides: Mapping[str, str]  # pattern to scheme, as `quantize` takes them
    more_bytes: int
    kl: Interval
    agreement: Interval

    @property
    def arguments(self) -> str:
        """Ready for a command line."""
        return " ".join(f"--override {shlex.quote(f'{name}={scheme}')}" for name, scheme in self.overrides.items())

    def to_json(self) -> dict[str, Any]:
        found = asdict(self) | {"arguments": self.arguments}
        return found | {"kl": self.kl.to_json(), "agreement": self.agreement.to_json()}


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """Everything that was measured."""

    checkpoint: str
    recipe: str
    group_size: int | None
    method: str
    by: By
    text: TextFacts
    rows: tuple[Cost, ...]  # of weights, the most costly first
    activations: Cost | None  # None where the recipe leaves them float
    cache: Cost | None
    weights: Cost  # all of them together
    everything: Cost  # weights, activations and cache together: the converted integer model
    sum_of_rows: Interval  # the rows' KL added up, to hold against `weights`
    suggestion: Suggestion | None
    seconds: float
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def others(self) -> tuple[Cost, ...]:
        """The rows that are no layer's."""
        weights = None if self.weights is self.everything else self.weights
        return tuple(cost for cost in (weights, self.activations, self.cache, self.everything) if cost is not None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; a bound that does not exist is null."""
        plain = ("checkpoint", "recipe", "group_size", "method", "by")
        costs = ("activations", "cache", "weights", "everything", "suggestion")
        found = {name: getattr(self, name) for name in costs}
        return {
            "format": FORMAT,
            "version": VERSION,
            **{name: getattr(self, name) for name in plain},
            "text": asdict(self.text),
            "rows": [row.to_json() for row in self.rows],
            **{name: None if cost is None else cost.to_json() for name, cost in found.items()},
            "sum_of_rows": self.sum_of_rows.to_json(),
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
            "versions": dict(self.versions),
        }

    def lines(self) -> list[str]:
        """The same for people: a ranked table, what it adds up to, what to do about it."""
        text = self.text
        each = {"layer": "each layer", "kind": "each kind of layer", "block": "each block"}[self.by]
        head = [
            f"{self.checkpoint}: {each} alone in {self.recipe} ({self.method}), all else float; KL to the float model "
            "in nats a token",
            f"{text.source}: {text.documents:,} documents by the protocol {text.protocol}, {text.tokens:,} tokens "
            f"scored, cut at {text.max_tokens} ({text.cut:,} were longer); in brackets 95 % intervals over documents",
        ]
        shown, left = self.rows[:_MOST_ROWS], self.rows[_MOST_ROWS:]
        table = _table([*shown, *self.others], places_of(self.rows[0].kl.value) + 1)
        ends = [*table[: len(shown) + 1]]
        if left:
            rest = sum(row.kl.value for row in left)
            ends.append(f"  and {len(left)} more, which cost {digits(rest)} added up (--json has all)")
        return [*head, *ends, "", *table[len(shown) + 1 :], "", self.sums(), *self._advice()]

    def sums(self) -> str:
        """The rows' costs against what they cost together, in a sentence."""
        what = {"layer": "layers", "kind": "kinds of layers", "block": "blocks"}[self.by]
        ratio = (
            f", {digits(self.weights.kl.value / self.sum_of_rows.value)} times that" if self.sum_of_rows.value else ""
        )
        return (
            f"The {what} by themselves add up to {span(self.sum_of_rows)}; together they cost {span(self.weights.kl)}"
            f"{ratio}. What single ones cost does not simply add up, so measure what you choose."
        )

    def _advice(self) -> list[str]:
        if self.suggestion is None:
            return []
        more, whole = self.suggestion.more_bytes, self.everything.bytes or 1
        return [
            f"With 8 bits for what costs most a byte, {size(more)} more ({digits(100 * more / whole, 2)} % of "
            f"{size(whole)}), everything together costs {span(self.suggestion.kl)} instead of "
            f"{span(self.everything.kl)}, measured. Add to pocketlm quantize:",
            f"  {self.suggestion.arguments}",
        ]


def _table(costs: Sequence[Cost], places: int) -> list[str]:
    """A header and a line a cost, in columns."""
    rows = [("", "KL", "same first choice", "saves", "8 bits take")]
    for cost in costs:
        saved = "" if cost.saved_bytes is None else size(cost.saved_bytes)
        more = "" if cost.more_bytes is None else f"+{size(cost.more_bytes)}"
        rows.append((label(cost), span(cost.kl, min(places, 6)), percent(cost.agreement), saved, more))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def label(cost: Cost) -> str:
    """What a row is, for people."""
    words = {
        "activations": "activations in INT8, alone",
        "cache": "keys and values in INT8, alone",
        "weights": "all weights together",
        "everything": "everything together",
    }
    return words.get(cost.name, cost.name)
