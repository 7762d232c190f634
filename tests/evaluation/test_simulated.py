"""CoreML packages beside checkpoints: run by the simulation, on a bounded number of tokens, in one report."""

import numpy as np
import pytest

from evaluation.compare import compare
from evaluation.evaluate import evaluate_things
from evaluation.layer_snr import layer_noise, read_layers
from evaluation.scoring import TokenDocument
from evaluation.simulated import few_questions, first_documents
from evaluation.things import SIMULATED
from evaluation.tokens import TokenStream

LINES = "def read_json(path):\nOnce upon a time there was a little test.\nThe quick brown fox jumps.\nAnother line.\n"


@pytest.fixture
def text(tmp_path):
    file = tmp_path / "lines.txt"
    file.write_text(LINES, encoding="utf-8")
    return file


def stream_of(*lengths: int) -> TokenStream:
    """Documents with so many tokens to score."""
    documents = [TokenDocument(name=str(n), ids=tuple(range(n + 1)), bytes=n) for n in lengths]
    return TokenStream(documents=tuple(documents), cut=0)


def test_only_the_first_documents_of_together_so_many_tokens_are_scored_when_something_is_simulated():
    stream = stream_of(10, 20, 5, 40)
    assert first_documents(stream, [], 30) == (stream, [])
    assert first_documents(stream, ["p"], 75) == (stream, [])
    kept, (note,) = first_documents(stream, ["p"], 31)
    assert [len(document.ids) - 1 for document in kept.documents] == [10, 20]
    assert note.startswith("p: simulated here, so the first 2 of 4 documents (30 tokens)")
    with pytest.raises(ValueError, match="first document has 10 tokens to score, more than 9"):
        first_documents(stream, ["p"], 9)


def test_few_questions_are_asked_when_something_is_simulated():
    assert few_questions("arc", list(range(30)), []) == (list(range(30)), [])
    asked, (note,) = few_questions("arc", list(range(30)), ["p"])
    assert asked == list(range(20)) and "20 of 30 questions of arc" in note


def test_a_coreml_package_scores_as_its_checkpoint_but_for_float16(tiny_ane, text):
    found = evaluate_things([tiny_ane.source, tiny_ane.checkpoint, tiny_ane.package], text=text, simulated_tokens=60)
    _, integers, package = found.things
    assert package.how == SIMULATED and "simulation in float16" in package.kernels
    assert integers.num_tokens == package.num_tokens <= 60 and found.notes[0].startswith("package: simulated here")
    for ours, theirs in zip(package.documents, integers.documents, strict=True):
        assert float(np.abs(ours.nll - theirs.nll).max()) < 0.5  # nats, of logits of 60
    agreed = np.concatenate([document.agree for document in package.documents])
    assert agreed.mean() > 0.9


def test_float_xnnpack_and_coreml_stand_in_one_report(tiny_ane, tiny_gpu, text):
    found = compare(
        tiny_gpu.source, ptq=[tiny_gpu.checkpoint], qat=[tiny_gpu.package], text=str(text), simulated_tokens=60
    )
    assert [row.role for row in found.rows] == ["float", "ptq", "qat"]
    assert found.rows[2].how == SIMULATED and {noise.layer for noise in found.layers} >= {"embedding"}


def test_the_layers_of_a_package_are_the_checkpoints_in_its_own_row_order(tiny_ane):
    import contextlib

    with contextlib.ExitStack() as stack:
        float_, integers, package = (
            read_layers(path, stack) for path in (tiny_ane.source, tiny_ane.checkpoint, tiny_ane.package)
        )
        stored = {noise.layer: noise.weights_db for noise, _ in layer_noise("q", integers, float_)}
        shipped = {noise.layer: noise.weights_db for noise, _ in layer_noise("p", package, float_)}
    assert stored.keys() == shipped.keys() and len(shipped) == 15
    assert all(abs(stored[layer] - shipped[layer]) < 0.1 for layer in stored)  # scales rounded to float16


def test_a_twin_of_a_coreml_package_is_refused(tiny_ane, text):
    with pytest.raises(ValueError, match="packages was made of"):
        evaluate_things([tiny_ane.package], text=text, twins=[tiny_ane.checkpoint])
