"""A whole comparison of things that nobody scored."""

import dataclasses

from evaluation.comparison import difference_of, figures_of, histogram_of, restoration_of
from evaluation.intervals import Resamples
from evaluation.report import Choice, Comparison, Disagreement, Failed, LayerNoise, Row, Selection
from evaluation.scores import ThingScores
from evaluation.verdict import judge
from tests.evaluation.synthetic_things import make_things

PARTS = ("attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.o_proj")
FEED = ("feed_forward.gate_proj", "feed_forward.up_proj", "feed_forward.down_proj")


def make_comparison(
    *, documents: int = 40, text_before: str = "Once upon a time there was a little", suffix: str = ""
) -> Comparison:
    """Float, two PTQ things and two QAT things, one of which adapted to the text.

    Args:
        suffix: of each name but float's.
    """
    things = make_things(
        documents=documents, rtn=(0.164, 0.185), hqq=(0.15, 0.16), distilled=(0.03, 0.039), tuned=(-0.15, 0.198)
    )
    by_name = {thing.name: thing for thing in things}
    things = [things[0], *(dataclasses.replace(thing, name=thing.name + suffix) for thing in things[1:])]
    by_name, resamples = dict(zip(by_name, things, strict=True)), Resamples(documents)
    float_, hqq = by_name["float"], by_name["hqq"]
    qats = [by_name["distilled"], by_name["tuned"]]
    restorations = tuple(restoration_of(float_, hqq, qat, resamples) for qat in qats)
    return Comparison(
        text={
            "file": "valid.txt",
            "sha256": "0" * 64,
            "protocol": "stories",
            "max_tokens": 512,
            "documents": documents,
            "tokens": documents * 50,
            "bytes": documents * 200,
        },
        selection=Selection(
            rule="The best was chosen by mean KL on every 5th document; the others are reported.",
            documents=documents // 4,
            kl_mean={"rtn": 0.186, "hqq": 0.161},
            best_ptq="hqq" + suffix,
            best_qat="distilled" + suffix,
        ),
        rows=tuple(make_row(thing, resamples) for thing in things),
        failed=(Failed(role="ptq", name="gptq", error="the Hessian of layers.1.feed_forward.up_proj is singular"),),
        differences=(
            *(difference_of(thing, float_, resamples) for thing in things[1:]),
            *(difference_of(qat, hqq, resamples) for qat in qats),
        ),
        restorations=restorations,
        histograms=tuple(histogram_of(by_name[name]) for name in ("hqq", "distilled", "tuned")),
        disagreements=tuple(
            make_disagreement(name + suffix, number, text_before)
            for name in ("hqq", "distilled")
            for number in range(6)
        ),
        layers=tuple(make_layers(suffix)),
        layer_tokens=1024,
        verdicts=tuple(judge(restoration) for restoration in restorations),
        versions={"pocketlm": "0.1.0", "torch": "2.13.0", "executorch": "1.5.1"},
    )


def make_row(thing: ThingScores, resamples: Resamples) -> Row:
    roles = {"float": "float", "rtn": "ptq", "hqq": "ptq"}
    return Row(
        role=roles.get(thing.method or "float", "qat"),
        name=thing.name,
        path=thing.path,
        kind=thing.kind,
        recipe=thing.recipe,
        method=thing.method,
        bytes=thing.bytes + 20_000,
        weight_bytes=thing.bytes,
        kernels=thing.kernels,
        how=thing.how,
        seconds=thing.seconds,
        figures=figures_of(thing, resamples),
        warnings=("3 documents of the text were trained on",) if thing.method == "tuned" else (),
    )


def make_disagreement(name: str, number: int, before: str) -> Disagreement:
    return Disagreement(
        thing=name,
        document=str(number + 1),
        position=20 + number,
        before=before,
        actual=" girl",
        kl=3.0 - 0.3 * number,
        float_choice=Choice(text=" girl", by_float=0.81, by_thing=0.04),
        thing_choice=Choice(text=" | dog\n", by_float=0.02, by_thing=0.66),
    )


def make_layers(suffix: str) -> list[LayerNoise]:
    found = []
    for name, base in (("hqq", 20.0), ("distilled", 17.0), ("tuned", 9.0)):
        name += suffix
        found.append(LayerNoise(thing=name, layer="embedding", scheme="int4-group", weights_db=base, outputs_db=None))
        for number in range(5):
            for part in PARTS + FEED:
                scheme = "int8-channel" if part.endswith("down_proj") else "int4-group"
                decibels = base + number / 2 + (18 if scheme == "int8-channel" else 0) + len(part) % 3
                layer = f"layers.{number}.{part}"
                found.append(
                    LayerNoise(thing=name, layer=layer, scheme=scheme, weights_db=decibels, outputs_db=decibels + 1.5)
                )
    return found
