"""Things that nobody scored: per-token figures drawn so that what a comparison must find is known."""

import numpy as np

from evaluation.scores import DocumentScore, TaskScore, ThingScores

VOCABULARY = 512


def make_things(
    documents: int = 60, tokens: int = 50, seed: int = 0, **things: tuple[float, float]
) -> list[ThingScores]:
    """A float thing of 1.5 nats a token and others, each given as (nats above float, mean KL).

    What is hard about a document is shared by all of them; a thing's own noise is a tenth of it.
    """
    generator = np.random.default_rng(seed)
    ids = [tuple(generator.integers(0, VOCABULARY, tokens + 1).tolist()) for _ in range(documents)]
    hardness = [generator.gamma(2.0, 0.75, tokens) for _ in range(documents)]
    found = []
    for name, (above, kl) in {"float": (0.0, 0.0), **things}.items():
        scored = []
        for number in range(documents):
            divergence = generator.gamma(0.5, 2 * kl, tokens) if kl else None
            scored.append(
                DocumentScore(
                    nll=hardness[number] + above + (generator.normal(0, 0.1, tokens) if kl else 0),
                    kl=divergence,
                    agree=None if divergence is None else divergence < 3 * kl,
                    bytes=4 * tokens,
                    tokens=ids[number],
                    best=generator.integers(0, VOCABULARY, tokens, dtype=np.int32),
                    name=str(number + 1),
                )
            )
        found.append(make_thing(name, scored, float_=not kl))
    return found


def make_thing(name: str, documents: list[DocumentScore], *, float_: bool) -> ThingScores:
    correct = np.random.default_rng(len(name)).random(40) < (0.7 if float_ else 0.6)
    task = TaskScore(
        name="arc_easy",
        form="choices",
        correct=correct,
        correct_by_length=correct,
        gold_nll=np.ones(40),
        cut=0,
        seconds=1.0,
    )
    return ThingScores(
        name=name,
        path=f"made/{name}",
        kind="float checkpoint" if float_ else "package",
        recipe=None if float_ else "8da4w-g32",
        method=None if float_ else name,
        bytes=1_000_000 if float_ else 170_000,
        kernels="torch 2.13.0 eager, 2 threads" if float_ else "ExecuTorch 1.5.1, XnnpackBackend",
        how="whole documents" if float_ else "the shipped forward, one token at a time",
        seconds=1.0,
        documents=documents,
        tasks=(task,),
    )
