"""The golden prompt, on a scripted runner whose numbers are known, and repeated on a real package."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from chat.window import Context
from export.export_xnnpack import golden_runners
from export.golden import PROMPTS, STEPS, measure_golden, repeat_golden
from export.manifest_parts import Golden
from export.manifest_rules import MIN_GOLDEN_STEPS, check_golden
from export.package import open_package
from export.runner import open_runner
from model.errors import GateError
from model.tokenizer import TokenizerSpec, load_tokenizer
from tests.packages import CHUNK, CONTEXT, Made

VOCAB = 50
SPEC = TokenizerSpec(
    file="tokenizer.json", kind="hf", vocab_size=VOCAB, bos_id=None, num_bos=0, bos_text="<s>", stop_ids=(7,),
    special_tokens=(),
)  # fmt: skip
PROMPT = PROMPTS[0]
PROMPT_IDS = [40, 41, 42]


class Tokenizer:
    """Ids that mean nothing."""

    def encode(self, text: str, *, first: bool) -> list[int]:
        assert (text, first) == (PROMPT, True)
        return list(PROMPT_IDS)

    def piece(self, token: int) -> bytes:
        return f"[{token}]".encode()

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(f"[{token}]" for token in ids)


class Script:
    """A runner that answers step n (0 after the prompt) with token n % 5 ahead by `margins[n]`.

    Whatever was written in a chunk of several tokens answers with `noise` added to one logit.
    """

    def __init__(
        self, margins: list[float], *, noise: float = 0.0, stop_at: int | None = None, top: float = 1.0
    ) -> None:
        self.margins, self.noise, self.stop_at, self.top = margins, noise, stop_at, top
        self.calls: list[tuple[int, int]] = []
        self.written: list[int] = []

    def logits(self, ids: Sequence[int], position: int) -> Tensor:
        assert position <= len(self.written), "a gap in the cache"
        self.written[position:] = list(ids)
        self.calls.append((position, len(ids)))
        step = len(self.written) - len(PROMPT_IDS)
        row = torch.zeros(VOCAB)
        if step >= 0:
            best = 7 if step == self.stop_at else step % 5
            row[best] = self.top
            row[20] = self.top - self.margins[step]
        if len(ids) > 1:
            row[30] += self.noise
        return row


def measure(script: Script, room: int | None = None) -> Golden:
    return measure_golden(script, Tokenizer(), SPEC, room=room, prompts=(PROMPT,))  # type: ignore[arg-type]


def check(golden: Golden, context: Context = Context(kind="endless", tokens=512)) -> None:  # noqa: B008
    """What the manifest demands of it."""
    record = type("Record", (), {"bos_id": None, "num_bos": 0, "bos_text": "<s>", "stop_ids": (7,)})()
    check_golden(golden, tokenizer=record, context=context, vocab_size=VOCAB)


class SeveralPrompts(Tokenizer):
    """Each prompt is its number, then the ids of the others."""

    def encode(self, text: str, *, first: bool) -> list[int]:
        return [40 + PROMPTS.index(text), 41, 42]


class SeveralScripts(Script):
    """Another script for each prompt, chosen by its first id."""

    def __init__(self, scripts: list[Script]) -> None:
        super().__init__([])
        self.scripts = scripts

    def logits(self, ids: Sequence[int], position: int) -> Tensor:
        if position == 0:
            self.chosen = self.scripts[ids[0] - 40]
        return self.chosen.logits(ids, position)


def measure_several(*scripts: Script, room: int | None = None) -> Golden:
    runner = SeveralScripts(list(scripts))
    return measure_golden(runner, SeveralPrompts(), SPEC, room=room)  # type: ignore[arg-type]


SURE, UNSURE = [0.5] * STEPS, [0.5, 0.001] * (STEPS // 2)


def test_the_first_prompt_of_which_every_step_can_be_compared_is_taken() -> None:
    never = Script([])  # would fail if it were asked
    golden = measure_several(Script(UNSURE, noise=0.01), Script(SURE), never)
    assert golden.prompt == "<s>" + PROMPTS[1] and golden.compared == STEPS
    assert measure_several(Script(SURE), never, never).prompt == "<s>" + PROMPTS[0]


def test_the_noise_of_every_tried_prompt_counts_and_the_most_steps_win() -> None:
    sure_for = [0.5] * 9 + [0.015] * STEPS
    golden = measure_several(Script(UNSURE, noise=2**-7), Script(sure_for[:STEPS]), Script(UNSURE))
    assert golden.noise_floor == pytest.approx(2 * 2**-7, abs=1e-4)
    assert golden.prompt == "<s>" + PROMPTS[1] and golden.compared == 9
    check(golden)


def test_later_prompts_that_a_bounded_context_cannot_hold_are_left_out() -> None:
    class Longer(SeveralPrompts):
        def encode(self, text: str, *, first: bool) -> list[int]:
            ids = super().encode(text, first=first)
            return ids if text == PROMPTS[0] else ids + [41] * 9

    runner = SeveralScripts([Script(UNSURE, noise=0.01), Script([]), Script([])])
    golden = measure_golden(runner, Longer(), SPEC, room=20)  # type: ignore[arg-type,call-arg]
    assert golden.prompt == "<s>" + PROMPTS[0] and golden.compared == 1


def test_ids_margins_and_text_are_those_of_the_greedy_steps() -> None:
    golden = measure(Script([0.5 + 0.01 * n for n in range(STEPS)]))
    assert golden.prompt == "<s>" + PROMPT and golden.prompt_ids == (40, 41, 42)
    assert golden.ids == tuple(n % 5 for n in range(STEPS)) and golden.compared == STEPS
    assert golden.margins == tuple(round(0.5 + 0.01 * n, 4) for n in range(STEPS))
    assert golden.text == "".join(f"[{n % 5}]" for n in range(STEPS))
    check(golden)


@pytest.mark.parametrize("noise, floor", [(0.0, 0.0001), (2**-9, 0.004), (2**-8, 0.0079)])
def test_the_floor_is_twice_the_largest_difference_between_chunks_and_single_steps(noise: float, floor: float) -> None:
    """Rounded up to four decimals; at least twice float32's own noise, 1e-5 of the largest logit."""
    assert measure(Script([0.5] * STEPS, noise=noise)).noise_floor == pytest.approx(floor)


def test_large_logits_have_a_higher_floor() -> None:
    assert measure(Script([0.5] * STEPS, top=80.0)).noise_floor == pytest.approx(0.0016)


@pytest.mark.parametrize("close", [0, 5, 15, 16, 20, 31])
def test_ids_are_compared_up_to_the_first_margin_below_the_floor(close: int) -> None:
    margins = [0.5] * STEPS
    margins[close] = 0.005
    golden = measure(Script(margins, noise=0.003))
    assert golden.compared == close
    assert len(golden.ids) == len(golden.margins) == max(MIN_GOLDEN_STEPS, close)
    assert golden.text == "".join(f"[{n % 5}]" for n in range(close))
    check(golden)


def test_a_margin_right_at_the_floor_still_counts() -> None:
    golden = measure(Script([0.004] * STEPS, noise=2**-9))
    assert golden.noise_floor == 0.004 and golden.compared == STEPS
    check(golden)


def test_the_noise_is_measured_on_prefixes_run_again_from_the_start() -> None:
    script = Script([0.5] * STEPS)
    measure(script)
    singles, again = script.calls[: len(PROMPT_IDS) + STEPS - 1], script.calls[len(PROMPT_IDS) + STEPS - 1 :]
    assert singles == [(at, 1) for at in range(len(PROMPT_IDS) + STEPS - 1)]
    assert len(again) >= 4 and all(position == 0 and count >= len(PROMPT_IDS) for position, count in again)


@pytest.mark.parametrize("stop_at", [0, 3, 20])
def test_a_stop_id_ends_it(stop_at: int) -> None:
    golden = measure(Script([0.5] * STEPS, stop_at=stop_at))
    assert len(golden.ids) == stop_at + 1 and golden.ids[-1] == 7 and golden.compared == stop_at + 1
    check(golden)


@pytest.mark.parametrize("room", [18, 19, 33, 34, 35])
def test_a_bounded_context_is_never_overrun(room: int) -> None:
    script = Script([0.5] * STEPS)
    golden = measure(script, room)
    assert len(golden.ids) == min(STEPS, room - len(PROMPT_IDS) + 1)
    assert max(position + count for position, count in script.calls) <= room
    check(golden, Context(kind="bounded", tokens=room))


@pytest.mark.parametrize("room", [2, 3, 17])
def test_a_bounded_context_without_room_for_it_is_refused_with_the_least_that_does(room: int) -> None:
    with pytest.raises(ValueError, match=f"bounded context of {room} tokens is too short.*--max-context 18 or more"):
        measure(Script([0.5] * STEPS), room)


def test_a_short_bounded_context_is_enough_for_a_reply_that_stops() -> None:
    assert measure(Script([0.5] * STEPS, stop_at=2), 8).ids == (0, 1, 7)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_overflowed_fail_the_gate(bad: float) -> None:
    with pytest.raises(GateError, match="logits are not finite after 8 tokens"):
        measure(Script([0.5] * 5 + [bad] * STEPS))


def test_repeating_it_compares_every_id_above_the_floor_and_none_below() -> None:
    margins = [0.5] * STEPS
    margins[20] = 0.0
    golden = measure(Script(margins))
    assert repeat_golden(Script(margins), golden) == golden.compared == 20  # type: ignore[arg-type]


@pytest.mark.parametrize("step", [0, 1, 31])
def test_an_id_that_does_not_come_again_fails_the_gate_with_its_step(step: int) -> None:
    golden = measure(Script([0.5] * STEPS))
    margins = [0.5] * STEPS
    margins[step] = -0.5
    with pytest.raises(GateError, match=f"id 20 in place of {golden.ids[step]} at step {step + 1},"):
        repeat_golden(Script(margins), golden)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["tiny_int4", "tiny_bounded", "other_int4", "tiny_float"])
def test_a_packages_golden_prompt_repeats_to_the_last_digit(name: str, request: pytest.FixtureRequest) -> None:
    made: Made = request.getfixturevalue(name)
    with open_package(made.package) as package:
        manifest, program = package.manifest, package.path("program")
        context = Context(kind=manifest.context.kind, tokens=manifest.context.tokens)
        runner, other = golden_runners(program, chunk=manifest.chunk, context=context)
        spec = TokenizerSpec.from_json(manifest.to_json()["tokenizer"])
        room = manifest.context.tokens if manifest.context.kind == "bounded" else None
        tokenizer = load_tokenizer(package.folder, spec)
        for _ in range(2):  # and once more over the caches that the first left behind
            assert measure_golden(runner, tokenizer, spec, room=room, other=other) == manifest.golden
            for each in (runner, open_runner(package)):  # the export's kernels, and those that a user has
                assert repeat_golden(each, manifest.golden) == manifest.golden.compared
    print(f"\n{name}: {manifest.golden.compared} of {len(manifest.golden.ids)}, floor {manifest.golden.noise_floor}")
    assert manifest.golden.compared > 0 and len(manifest.golden.ids) >= MIN_GOLDEN_STEPS


def test_without_a_second_opinion_one_line_says_so(tiny_float: Made, monkeypatch, caplog) -> None:
    monkeypatch.setattr("export.export_xnnpack.library_of", lambda wanted: None)
    context = Context(kind="endless", tokens=CONTEXT)
    _, other = golden_runners(tiny_float.package / "model.pte", chunk=CHUNK, context=context)
    assert other is None
    assert "noise floor knows ExecuTorch's kernels alone" in caplog.text
