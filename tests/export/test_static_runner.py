"""The host loop over an eager stand-in gives the logits of the cache-free model, at every position."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import export.static_runner as static_runner
from chat.sampling import SeededSampler
from chat.static_kv import Call
from chat.window import Context, context_end_sentence
from evaluation.scorers import PackageScorer
from export.manifest import Manifest
from export.manifest_parts import Method, TensorSpec
from export.package import Package
from export.static_runner import StatefulRunner, StaticRunner, open_coreml_runner
from model.checkpoint import load_model
from model.transformer import Transformer
from tests.export.small_package import bare_manifest
from tests.export.static_standin import EagerProgram, static_manifest, windowed_logits
from tests.packages import OTHER, TINY, make_checkpoint

WINDOW, CONTEXT = 8, 20
IDS: list[int] = torch.randint(0, 320, (70,), generator=torch.Generator().manual_seed(5)).tolist()
SMALL = {
    "tiny": dataclasses.replace(TINY, sliding_window=WINDOW),
    "other": dataclasses.replace(OTHER, sliding_window=WINDOW),
}


@functools.cache
def reference(model: Transformer, start: int = 0) -> Tensor:
    return windowed_logits(model, IDS, context=CONTEXT, start=start)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Transformer]:
    folder = tmp_path_factory.mktemp("models")
    for name, config in SMALL.items():
        make_checkpoint(config, folder / name, own_norms=True)
    return {name: load_model(folder / name).eval() for name in SMALL}


def runner_of(
    model: Transformer, *, chunk: int, precision: static_runner.Precision = "fp32", **options: Any
) -> StaticRunner:
    manifest = static_manifest(model.config, context=CONTEXT, chunk=chunk, **options)
    return StaticRunner(EagerProgram(model, manifest), manifest, precision=precision)


def error(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1))


def worst(model: Transformer, runner: StaticRunner, steps: Sequence[int], *, start: int = 0, skip: int = 0) -> float:
    """The largest relative error over calls of so many ids each, those before `skip` ids left out."""
    at, errors = 0, [0.0]
    for count in steps:
        found = runner.logits(IDS[at : at + count], start + at)
        at += count
        if at > skip:
            errors.append(error(found, reference(model, start)[at - 1]))
    return max(errors)


def steps_of(*counts: int) -> list[int]:
    """These, then one by one up to the end."""
    return [*counts, *[1] * (len(IDS) - sum(counts))]


@pytest.mark.parametrize("methods", ["two", "one"])
@pytest.mark.parametrize("chunk", [1, 2, 3, 7, WINDOW])
@pytest.mark.parametrize("name", SMALL)
def test_every_position_is_that_of_the_cache_free_model(models, name, chunk, methods):
    # Past the window (8) and the context (20), with prompts that end before, at and after a chunk's edge.
    runner = runner_of(models[name], chunk=chunk, methods=methods)
    steps = steps_of(chunk + 1, 1, 1, 2 * chunk, 3, 2, 13, 1, 21)
    assert worst(models[name], runner, steps) < 1e-5


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 24), min_size=1, max_size=8), st.integers(1, WINDOW), st.sampled_from(["two", "one"]))
def test_it_does_not_matter_how_a_text_is_cut_into_sends(models, counts, chunk, methods):
    steps = [count for i, count in enumerate(counts) if sum(counts[: i + 1]) <= len(IDS)]
    assert worst(models["tiny"], runner_of(models["tiny"], chunk=chunk, methods=methods), steps) < 1e-5


@pytest.mark.parametrize("name", SMALL)
def test_so_it_is_at_position_10_000_000(models, name):
    # What lies before the first token was never written. A logit depends on nothing further back than both windows.
    runner = runner_of(models[name], chunk=4)
    assert worst(models[name], runner, steps_of(5, 1, 30), start=10_000_000, skip=WINDOW + CONTEXT) < 1e-5


def test_a_vocabulary_in_two_pieces_comes_back_in_order():
    torch.manual_seed(0)
    model = Transformer(dataclasses.replace(SMALL["tiny"], vocab_size=16_400)).eval()
    runner = runner_of(model, chunk=4)
    assert worst(model, runner, [5, 1, 6]) < 1e-5


@pytest.mark.parametrize("name", SMALL)
def test_in_float16_the_likeliest_token_stays_where_the_margin_is_clear(models, name):
    runner, wanted = runner_of(models[name], chunk=4, precision="fp16"), reference(models[name])
    same = 0
    for at, token in enumerate(IDS):
        found = runner.logits([token], at)
        assert error(found, wanted[at]) < 2e-3
        margin = wanted[at].topk(2).values.diff().abs().item()
        if margin > 4e-3 * float(wanted[at].abs().max()):
            assert int(found.argmax()) == int(wanted[at].argmax())
            same += 1
    assert same > 40


def _earlier_slot(call: Call, slots: int) -> list[int]:
    return [(slot - 1) % slots for slot in ORIGINAL_SLOTS(call, slots)]


def _one_short(call: Call, slots: int) -> list[int]:
    return [(call.position + i) % (slots - 1) for i in range(len(call.ids))]


def _shifted_rows(position: int, length: int, frequencies: Sequence[float]) -> Any:
    return ORIGINAL_ROWS(position + (position > 4), length, frequencies)


def _all_the_same(position: int, length: int, frequencies: Sequence[float]) -> Any:
    cos, sin = ORIGINAL_ROWS(position, 1, frequencies)
    return cos * length, sin * length


def _not_causal(position: int, length: int, slots: int) -> list[list[bool]]:
    return [row[:slots] + [True] * length for row in ORIGINAL_MASK(position, length, slots)]


def _sees_one_more(position: int, length: int, slots: int) -> list[list[bool]]:
    wider = [[True] * slots + row[slots:] for row in ORIGINAL_MASK(position, length, slots)]
    return wider if position >= slots else ORIGINAL_MASK(position, length, slots)


def _sees_one_less(position: int, length: int, slots: int) -> list[list[bool]]:
    rows = ORIGINAL_MASK(position, length, slots)
    for i, row in enumerate(rows):
        oldest = position + i - slots + 1
        if 0 <= oldest < position:
            row[oldest % slots] = False
    return rows


ORIGINAL_SLOTS, ORIGINAL_MASK, ORIGINAL_ROWS = Call.slots, static_runner.mask, static_runner.rope_rows
MISTAKES: dict[str, tuple[object, str, object]] = {
    "written one slot too early": (Call, "slots", _earlier_slot),
    "a ring of one slot less": (Call, "slots", _one_short),
    "a mask of the position before": (static_runner, "mask", lambda p, n, s: ORIGINAL_MASK(max(p - 1, 0), n, s)),
    "a mask of the position after": (static_runner, "mask", lambda p, n, s: ORIGINAL_MASK(p + 1, n, s)),
    "a mask that is not causal": (static_runner, "mask", _not_causal),
    "a window of one more": (static_runner, "mask", _sees_one_more),
    "a window of one less": (static_runner, "mask", _sees_one_less),
    "rows one position late": (static_runner, "rope_rows", _shifted_rows),
    "one row for a whole chunk": (static_runner, "rope_rows", _all_the_same),
    "the last of the padding": (Call, "last", property(lambda call: [0.0] * (call.length - 1) + [1.0])),
    "padding in front": (Call, "tokens", property(lambda call: [0] * (call.length - len(call.ids)) + [*call.ids])),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_no_mistake_of_the_loop_goes_unseen(models, mistake, monkeypatch):
    where, name, wrong = MISTAKES[mistake]
    monkeypatch.setattr(where, name, wrong)
    runner = runner_of(models["tiny"], chunk=4)
    assert worst(models["tiny"], runner, steps_of(7, 1, 1, 6, 13)) > 1e-2


def test_a_float16_cache_is_all_that_the_program_is_given(models):
    program = EagerProgram(models["other"], manifest := static_manifest(SMALL["other"], context=CONTEXT, chunk=4))
    given: list[Sequence[Any]] = []
    execute = program.execute
    program.execute = lambda method, inputs: (given.append(inputs), execute(method, inputs))[1]  # type: ignore[assignment, method-assign]
    StaticRunner(program, manifest).logits(IDS[:5], 0)
    specs = [*manifest.methods["prefill"].inputs, *manifest.methods["forward"].inputs]
    assert [array.dtype.name for array in (*given[0], *given[1])] == [spec.dtype for spec in specs]


@pytest.mark.parametrize("methods", ["two", "one"])
def test_a_bounded_package_runs_to_its_end_and_refuses_what_does_not_fit(models, methods):
    runner = runner_of(models["tiny"], chunk=6, methods=methods, bounded=True)
    context = Context(kind="bounded", tokens=CONTEXT)
    wanted = reference(models["tiny"])
    assert error(runner.logits(IDS[:13], 0), wanted[12]) < 1e-5
    with pytest.raises(ValueError, match=context_end_sentence(context)):
        runner.logits(IDS[13:21], 13)
    assert error(runner.logits(IDS[13:20], 13), wanted[19]) < 1e-5  # padding would lie past the end
    with pytest.raises(ValueError, match="has reached this package's limit of 20 tokens"):
        runner.logits([1], 20)


def test_a_bounded_stream_ends_at_the_context_without_an_error(models):
    runner = runner_of(models["tiny"], chunk=4, bounded=True)
    assert len(list(runner.generate_ids(IDS[:15], 0, 50, SeededSampler()))) == 6  # the last one is never written


def greedy(model: Transformer, prompt: list[int], count: int) -> list[int]:
    ids = list(prompt)
    for _ in range(count):
        ids.append(int(windowed_logits(model, ids, context=CONTEXT)[-1].argmax()))
    return ids[len(prompt) :]


def test_greedy_ids_are_those_of_the_cache_free_model_and_end_after_a_stop_id(models):
    model, wanted = models["tiny"], greedy(models["tiny"], IDS[:6], 40)
    assert list(runner_of(model, chunk=4).generate_ids(IDS[:6], 0, 40, SeededSampler())) == wanted
    manifest = static_manifest(model.config, context=CONTEXT, chunk=4)
    stop = wanted[7]
    stopping = dataclasses.replace(manifest, tokenizer=dataclasses.replace(manifest.tokenizer, stop_ids=(stop,)))
    runner = StaticRunner(EagerProgram(model, manifest), stopping, precision="fp32")
    found = list(runner.generate_ids(IDS[:6], 0, 40, SeededSampler()))
    assert found == wanted[: wanted.index(stop) + 1]


def test_ids_are_computed_when_they_are_asked_for(models):
    manifest = static_manifest(SMALL["tiny"], context=CONTEXT, chunk=4)
    program = EagerProgram(models["tiny"], manifest)
    stream = StaticRunner(program, manifest).generate_ids(IDS[:6], 0, 40, SeededSampler())
    assert program.calls == []
    first = next(stream)
    assert program.calls == [("prefill", IDS[:4]), ("prefill", IDS[4:6])]
    next(stream)
    assert program.calls[2:] == [("forward", [first])]


def test_another_chat_begins_at_position_0_in_the_same_caches(models):
    runner = runner_of(models["tiny"], chunk=4)
    runner.prefill(IDS[::-1], 0)
    runner.reset()
    assert worst(models["tiny"], runner, steps_of(6, 1, 9)) < 1e-5


def test_evaluation_scores_it_like_any_package(models):
    scorer = PackageScorer(runner_of(models["tiny"], chunk=4), vocab_size=320, safe=WINDOW)
    wanted = reference(models["tiny"])
    for start in (5, 3, 30):  # the second shares a prompt with the first, and goes on in its cache
        found = torch.cat(list(scorer.rows(IDS[: start + 4], start)))
        assert error(found, wanted[start : start + 4]) < 1e-5


def test_a_call_that_fails_changes_nothing_and_can_be_made_again(models):
    manifest = static_manifest(SMALL["tiny"], context=CONTEXT, chunk=4)
    program = EagerProgram(models["tiny"], manifest)
    runner = StaticRunner(program, manifest, precision="fp32")
    runner.prefill(IDS[:30], 0)
    execute = program.execute

    def fail(method: str, inputs: Sequence[Any]) -> list[Any]:
        execute(method, inputs)
        raise KeyboardInterrupt

    program.execute = fail  # type: ignore[assignment, method-assign]
    with pytest.raises(KeyboardInterrupt):
        runner.logits(IDS[30:33], 30)
    program.execute = execute  # type: ignore[method-assign]
    assert error(runner.logits(IDS[30:33], 30), reference(models["tiny"])[32]) < 1e-5


class Scripted:
    """Gives what it was told to."""

    def __init__(self, outputs: list[Any]) -> None:
        self.outputs, self.given, self.num_resets = outputs, [], 0

    def execute(self, method: str, inputs: Sequence[Any], /) -> list[Any]:
        self.given.append((method, inputs))
        return self.outputs

    def reset_state(self) -> None:
        self.num_resets += 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda outputs: outputs[:-1], "forward gave 4 tensors; the manifest lists 5"),
        (
            lambda outputs: [outputs[0], outputs[1][:, :, :0], *outputs[2:]],
            r"gave k_new_0 of shape \[1, 2, 0, 32\], not",
        ),
    ],
)
def test_a_program_that_gives_other_tensors_is_refused(change, says):
    manifest = static_manifest(SMALL["tiny"], context=CONTEXT, chunk=4)
    outputs = [np.zeros(spec.shape, dtype=np.float16) for spec in manifest.methods["forward"].outputs]
    with pytest.raises(ValueError, match=says):
        StaticRunner(Scripted(change(outputs)), manifest).logits([1], 0)


def test_the_loop_refuses_packages_of_another_kind():
    with pytest.raises(
        ValueError, match="this package needs a 'text-llm' runner; the loop drives 'static-kv' packages"
    ):
        StaticRunner(Scripted([]), bare_manifest())
    package = Package(folder=Path("nowhere"), manifest=bare_manifest(), sha256="")
    with pytest.raises(ValueError, match="is for the target xnnpack; only CoreML packages run here"):
        open_coreml_runner(package)


def stateful_manifest() -> Manifest:
    manifest = static_manifest(SMALL["tiny"], context=CONTEXT, chunk=1, bounded=True)
    inputs = tuple(
        TensorSpec(name=n, dtype="int64", shape=s, dynamic=()) for n, s in (("tokens", (1, 1)), ("position", (1,)))
    )
    outputs = (TensorSpec(name="logits", dtype="float16", shape=(1, 320), dynamic=()),)
    return dataclasses.replace(
        manifest,
        target="coreml-stateful",
        runner=dataclasses.replace(manifest.runner, kind="text-llm"),
        methods={"forward": Method(inputs=inputs, outputs=outputs)},
    )


def test_a_stateful_program_gets_one_token_a_call_and_is_emptied_by_a_reset():
    row = np.arange(320, dtype=np.float16)[None]
    program = Scripted([row])
    runner = StatefulRunner(program, stateful_manifest())
    assert torch.equal(runner.logits([7, 8], 3), torch.arange(320, dtype=torch.float32))
    (_, (first, at)), (_, (second, then)) = program.given
    assert (first.tolist(), at.tolist(), second.tolist(), then.tolist()) == ([[7]], [3], [[8]], [4])
    assert {array.dtype for array in (first, at)} == {np.dtype(np.int64)}
    runner.reset()
    assert program.num_resets == 1
    for ids, position, says in (
        ([], 0, "nothing to run"),
        ([320], 0, "id 320 is none"),
        ([1], 20, "limit of 20 tokens"),
    ):
        with pytest.raises(ValueError, match=says):
            runner.logits(ids, position)
    assert len(program.given) == 2


def test_a_stateful_runner_refuses_chunks():
    with pytest.raises(ValueError, match="one token a call"):
        StatefulRunner(Scripted([]), static_manifest(SMALL["tiny"], context=CONTEXT, chunk=4))
