"""A sensitivity that nobody measured: as many layers as wanted, with costs that are known."""

import numpy as np

from evaluation.result import TextFacts
from evaluation.scores import Interval
from evaluation.sensitivity_result import Cost, Sensitivity, Suggestion

KINDS = (
    "attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.o_proj",
    "feed_forward.gate_proj", "feed_forward.up_proj", "feed_forward.down_proj",
)  # fmt: skip
TEXT = TextFacts(
    source="valid.txt", protocol="stories", held_out_of=None, max_tokens=512, documents=40, cut=3, tokens=9_876,
    bytes=31_000, sha256="0" * 64,
)  # fmt: skip


def make_cost(name: str, kl: float, *, pattern: str | None = None, more: int | None = None, size: int | None = None):
    return Cost(
        name=name,
        kl=Interval(value=kl, low=0.9 * kl, high=1.1 * kl),
        agreement=Interval(value=1 - kl / 2, low=1 - kl, high=1.0),
        pattern=pattern,
        layers=() if pattern is None else (name,),
        schemes=() if pattern is None else ("int4-group",),
        float_bytes=None if size is None else 7 * size,
        bytes=size,
        more_bytes=more,
    )


def make_sensitivity(layers: int = 30, seed: int = 0) -> Sensitivity:
    """Costs that spread over four powers of ten; layer 2's v_proj costs most, a norm-like one nothing at all."""
    generator = np.random.default_rng(seed)
    names = [f"layers.{i}.{kind}" for i in range(layers) for kind in KINDS]
    costs = dict(zip(names, 0.01 * generator.lognormal(-2, 2, len(names)), strict=True))
    costs["layers.2.attention.v_proj"] = 2 * max(costs.values())
    costs["layers.0.attention.o_proj"] = 0.0
    costs["embedding"] = 0.9 * max(costs.values())
    rows = [make_cost(name, kl, pattern=name, more=1_000, size=2_300) for name, kl in costs.items()]
    rows.sort(key=lambda row: -row.kl.value)
    total = sum(costs.values())
    size = 2_300 * len(rows)
    return Sensitivity(
        checkpoint="models/some-model-with-a-long-name/checkpoint",
        recipe="8da4w-g32",
        group_size=32,
        method="rtn",
        by="layer",
        text=TEXT,
        rows=tuple(rows),
        activations=make_cost("activations", 0.01 * total),
        cache=make_cost("cache", 0.002 * total),
        weights=make_cost("weights", 1.3 * total, size=size),
        everything=make_cost("everything", 1.33 * total, size=size),
        sum_of_rows=Interval(value=total, low=0.95 * total, high=1.05 * total),
        suggestion=Suggestion(
            overrides={rows[0].name: "int8-channel"},
            more_bytes=1_000,
            kl=Interval(value=total, low=0.9 * total, high=1.1 * total),
            agreement=Interval(value=0.9, low=0.85, high=0.95),
        ),
        seconds=12.0,
        notes=("a note",),
        versions={"torch": "2.13.0"},
    )
