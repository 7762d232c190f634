"""What a comparison looks at once more after scoring: the places of disagreement, and the layers."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from evaluation.disagreements import describe_places, farthest_places
from evaluation.layer_snr import StoredLayer, layer_noise, output_noise, read_layers
from evaluation.report import Disagreement, LayerNoise
from evaluation.scores import ThingScores
from evaluation.things import open_things
from model.checkpoint import INFO_FILE
from model.tokenizer_readers import Tokenizer
from quant.checkpoint import build_model

_MOST_PLACES = 8  # of a thing, where it disagrees most
_LAYER_TOKENS, _LAYER_DOCUMENT = 1024, 256  # that the outputs of layers are measured on, and of one document


def find_disagreements(
    paths: Sequence[Path], drawn: Sequence[int], things: Sequence[ThingScores], tokenizer: Tokenizer
) -> list[Disagreement]:
    """The places of some things where each is farthest from the first, opened again and run on these places only.

    Args:
        drawn: indices into `paths` and `things`, whose first is the float model.
    """
    with contextlib.ExitStack() as stack:
        reference, *opened = (thing.scorer for thing in open_things([paths[0], *(paths[i] for i in drawn)], stack))
        return [
            disagreement
            for i, scorer in zip(drawn, opened, strict=True)
            for disagreement in describe_places(
                things[i], farthest_places(things[i], _MOST_PLACES), scorer, reference, tokenizer
            )
        ]


def measure_layers(paths: Sequence[Path], things: Sequence[ThingScores]) -> tuple[list[LayerNoise], int]:
    """The noise of every layer of every thing but the first, which is the float model.

    Returns:
        The noise; and on how many tokens that of the outputs was measured: 0 where the float model is a package, which
        tells nothing of its inside.
    """
    with contextlib.ExitStack() as stack:
        reference = read_layers(paths[0], stack)
        found: list[list[LayerNoise]] = []
        stored: list[dict[str, StoredLayer]] = []
        for path, thing in zip(paths[1:], things[1:], strict=True):
            measured = list(layer_noise(thing.name, read_layers(path, stack), reference))
            found.append([noise for noise, _ in measured])
            stored.append({noise.layer: layer for noise, layer in measured})
        if not (paths[0] / INFO_FILE).is_file() or not found:
            return [noise for part in found for noise in part], 0
        documents = _some_documents(things[0])
        outputs = output_noise(build_model(paths[0]), documents, stored)
    whole = [
        replace(noise, outputs_db=levels.get(noise.layer))
        for part, levels in zip(found, outputs, strict=True)
        for noise in part
    ]
    return whole, sum(map(len, documents))


def _some_documents(thing: ThingScores) -> list[Sequence[int]]:
    """The beginnings of the first documents, as many as the outputs are measured on."""
    found: list[Sequence[int]] = []
    left = _LAYER_TOKENS
    for document in thing.documents:
        if left < 1:
            break
        found.append(document.tokens[: min(left, _LAYER_DOCUMENT)])
        left -= len(found[-1])
    return found
