"""What `pocketlm compare` found, as data: `report.json` is this, and Markdown and the page are drawn from it alone.

Loads no torch.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from evaluation.comparison import HISTOGRAM_EDGES, Difference, Figures, Histogram, Restoration, Role
from evaluation.verdict import Verdict

FORMAT = "pocketlm-comparison"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing that was scored."""

    role: Role
    name: str
    path: str
    kind: str
    recipe: str | None
    method: str | None
    bytes: int  # of everything on disk
    weight_bytes: int  # of the program or the weight file
    kernels: str
    how: str
    seconds: float
    figures: Figures
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A method or a thing that gave no figures."""

    role: Role
    name: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Selection:
    """How the best of several was chosen: never on the documents whose figures are reported."""

    rule: str
    documents: int  # that chose; 0 where there was nothing to choose
    kl_mean: Mapping[str, float]  # on those documents, nats a token
    best_ptq: str | None
    best_qat: str | None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A token that a model would write next."""

    text: str
    by_float: float  # the float model's probability of it
    by_thing: float


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """A place in the text where a thing's distribution is far from the float model's."""

    thing: str
    document: str  # its name: a file, or its place in the text, from 1
    position: int  # of the predicted token in the document, the first given one being 0
    before: str  # the end of the text that both models had seen
    actual: str  # the token that the text has there
    kl: float  # nats
    float_choice: Choice
    thing_choice: Choice


@dataclass(frozen=True, kw_only=True)
class LayerNoise:
    """How far one layer of a thing is from the float model's, as a ratio of powers in dB: higher is nearer."""

    thing: str
    layer: str
    scheme: str
    weights_db: float  # |W|^2 / |W - W'|^2; infinite where nothing differs
    outputs_db: float | None  # |X W^T|^2 / |X (W - W')^T|^2 with the float model's own inputs X of the layer


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that the report says."""

    text: Mapping[str, Any]  # file, sha256, protocol, max_tokens, documents, tokens, bytes
    selection: Selection
    rows: tuple[Row, ...]  # float first, then PTQ, then QAT
    differences: tuple[Difference, ...]  # of each thing and float, then of each QAT and the best PTQ
    restorations: tuple[Restoration, ...]  # of each QAT against the best PTQ
    histograms: tuple[Histogram, ...]
    verdicts: tuple[Verdict, ...]  # the first is the report's own
    failed: tuple[Failed, ...] = ()
    disagreements: tuple[Disagreement, ...] = ()
    layers: tuple[LayerNoise, ...] = ()
    layer_tokens: int = 0  # that the outputs of layers were measured on
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # of the scoring: what was cut and why

    @property
    def verdict(self) -> Verdict:
        return self.verdicts[0]

    def row(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: what is not finite becomes null, since JSON has no word for it."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "verdict": self.verdict.sentence,
            "histogram_edges": list(HISTOGRAM_EDGES),
            **_plain(asdict(self)),
        }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
