"""What an evaluation found, for programs, people and reports."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from evaluation.intervals import Resamples
from evaluation.scores import ThingScores
from evaluation.summary import summarize, summarize_task, to_lines
from model.tokenizer_readers import Tokenizer

_FACTS = ("name", "path", "kind", "recipe", "method", "bytes", "kernels", "how", "trained_on")


@dataclass(frozen=True, kw_only=True)
class TextFacts:
    """What was scored, so that another run can score the same."""

    source: str
    protocol: str
    held_out_of: str | None
    max_tokens: int  # where documents were cut, the given first token included
    documents: int
    cut: int  # of them were longer
    tokens: int  # scored
    bytes: int  # that the scored tokens stand for
    sha256: str | None  # of a text file


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Every thing's scores."""

    text: TextFacts | None  # None: only tasks were scored
    reference: str | None  # the name of what KL and agreement compare with
    things: tuple[ThingScores, ...]
    notes: tuple[str, ...]
    tokenizer: Tokenizer  # of all things

    def resamples(self) -> Resamples | None:
        """The draws of documents that every interval of the text is made of."""
        return None if self.text is None else Resamples(self.text.documents)

    def to_json(self) -> dict[str, Any]:
        """What `pocketlm evaluate --json` prints; for a single thing its text figures stand at the top as well."""
        resamples = self.resamples()
        things = [
            {name: getattr(thing, name) for name in _FACTS}
            | {"seconds": round(thing.seconds, 3), "warnings": list(thing.warnings)}
            | ({} if resamples is None else summarize(thing, resamples).to_json())
            | {"tasks": [summarize_task(task).to_json() for task in thing.tasks]}
            | {"harness": {task: dict(metrics) for task, metrics in thing.harness.items()}}
            for thing in self.things
        ]
        whole = {
            "text": None if self.text is None else asdict(self.text),
            "reference": self.reference,
            "notes": list(self.notes),
            "things": things,
        }
        return whole | (_single(self.text, self.things[0]) if self.text and len(things) == 1 else {})

    def lines(self) -> list[str]:
        """The same for people."""
        lines = []
        if self.text is not None:
            held_out = "" if self.text.held_out_of is None else f", held out by {self.text.held_out_of}"
            lines.append(
                f"{self.text.source}{held_out}: {self.text.documents:,} documents by the protocol "
                f"{self.text.protocol}, {self.text.tokens:,} tokens scored, cut at {self.text.max_tokens} "
                f"({self.text.cut:,} were longer); in brackets 95 % intervals over documents"
            )
        return lines + to_lines(self.things, self.resamples(), self.reference)


def _single(text: TextFacts, thing: ThingScores) -> dict[str, Any]:
    nll = sum(float(document.nll.sum()) for document in thing.documents)
    return {
        "documents": text.documents,
        "tokens": text.tokens,
        "nll": nll,
        "perplexity": math.exp(nll / text.tokens),
        "recipe": thing.recipe,
        "protocol": text.protocol,
        "max_tokens": text.max_tokens,
        "seconds": round(thing.seconds, 3),
    }
