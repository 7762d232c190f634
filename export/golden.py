"""The golden prompt of a package: ids that every machine must repeat, measured on the exported file itself.

Greedy ids are comparable only while the best logit leads by more than the arithmetic's own noise. INT8 activations
flip at rounding edges, so the noise is measured: the same positions computed token by token, in chunks, and by
other kernels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from export.manifest_parts import Golden
from export.manifest_rules import MIN_GOLDEN_STEPS
from export.runner import LogitsRunner
from model.errors import GateError
from model.tokenizer import TokenizerSpec
from model.tokenizer_readers import Tokenizer

PROMPTS = ("Once upon a time", "def read_json(path):", "The capital of France is")
STEPS = 32  # most ids that are kept
_CHUNKED = tuple(range(0, STEPS, 2))  # after so many new ids the prefix is run again as one prefill; flips are rare
_RELATIVE_FLOOR = 1e-5  # of max(1, max |logit|): float32's own noise, docs/numerics.md
UNMEASURED = Golden(prompt="?", prompt_ids=(0,), ids=(0,), text="", margins=(0.0,), noise_floor=0.0, compared=0)
_DIGITS = 4  # margins are rounded: enough to compare, and less to differ between machines


@dataclass(frozen=True, kw_only=True)
class _Greedy:
    """What a program makes of one prompt."""

    prompt: str
    prompt_ids: list[int]
    ids: list[int]
    margins: list[float]
    noise: float

    def compared(self, floor: float) -> int:
        """How many steps come before the first one whose margin is below the floor."""
        return next((i for i, margin in enumerate(self.margins) if margin < floor), len(self.margins))


def measure_golden(
    runner: LogitsRunner,
    tokenizer: Tokenizer,
    spec: TokenizerSpec,
    *,
    room: int | None,
    prompts: Sequence[str] = PROMPTS,
    other: LogitsRunner | None = None,
) -> Golden:
    """Generates greedily and measures every step's margin and the noise floor.

    What a model was trained on decides which prompt it is sure of, so they are tried in turn until all steps of one can
    be compared; else the one with the most is taken. The floor is the largest that any of the tried ones has shown.

    Args:
        runner: over the exported file; its cache is overwritten.
        room: positions of a bounded context, None for an endless one.
        other: the same program by other kernels, or in a wider arithmetic; how far its logits lie from the runner's
            is noise as well, for another processor rounds elsewhere.

    Raises:
        ValueError: a bounded context is too short for the first prompt and 16 new tokens.
        GateError: the program's logits are not finite.
    """
    tried: list[_Greedy] = []
    for prompt in prompts:
        prompt_ids = tokenizer.encode(prompt, first=True)
        if room is not None and tried and room < len(prompt_ids) + MIN_GOLDEN_STEPS - 1:
            continue
        tried.append(_greedy(runner, prompt, prompt_ids, spec, room, other))
        floor = max(greedy.noise for greedy in tried)
        if tried[-1].compared(floor) == len(tried[-1].ids):
            break
    best = max(tried, key=lambda greedy: greedy.compared(floor))
    compared = best.compared(floor)
    keep = max(min(MIN_GOLDEN_STEPS, len(best.ids)), compared)
    return Golden(
        prompt=spec.bos_text + best.prompt,
        prompt_ids=tuple(best.prompt_ids),
        ids=tuple(best.ids[:keep]),
        text=tokenizer.decode(best.ids[:compared]),
        margins=tuple(best.margins[:keep]),
        noise_floor=floor,
        compared=compared,
    )


def _greedy(
    runner: LogitsRunner,
    prompt: str,
    prompt_ids: list[int],
    spec: TokenizerSpec,
    room: int | None,
    other: LogitsRunner | None,
) -> _Greedy:
    if room is not None and room < len(prompt_ids):
        raise ValueError(_too_short(room, len(prompt_ids)))
    steps = STEPS if room is None else min(STEPS, room - len(prompt_ids) + 1)
    ids: list[int] = []
    rows: list[Tensor] = []
    logits = _one_by_one(runner, prompt_ids)
    while True:
        if not bool(torch.isfinite(logits).all()):
            raise GateError(
                f"the program's logits are not finite after {len(prompt_ids) + len(ids)} tokens: "
                "its numbers overflow; check the checkpoint's weights"
            )
        rows.append(logits)
        ids.append(int(logits.argmax()))
        if len(ids) >= steps or ids[-1] in spec.stop_ids:
            break
        logits = runner.logits([ids[-1]], len(prompt_ids) + len(ids) - 1)
    if len(ids) < MIN_GOLDEN_STEPS and ids[-1] not in spec.stop_ids:
        raise ValueError(_too_short(room, len(prompt_ids)))
    return _Greedy(
        prompt=prompt,
        prompt_ids=prompt_ids,
        ids=ids,
        margins=[_rounded(float(top[0] - top[1])) for top in (row.topk(2).values for row in rows)],
        noise=_noise_floor(runner, prompt_ids, ids, rows, other),
    )


def repeat_golden(runner: LogitsRunner, golden: Golden) -> int:
    """Generates the golden prompt again.

    Args:
        runner: over the package's program; its cache is overwritten.

    Returns:
        How many ids were compared: all of those must be equal everywhere.

    Raises:
        GateError: one of them differs; the message names the step and both ids.
    """
    logits, position = runner.logits(golden.prompt_ids, 0), len(golden.prompt_ids)
    for step, wanted in enumerate(golden.ids[: golden.compared]):
        if step:
            logits = runner.logits([golden.ids[step - 1]], position)
            position += 1
        if (found := int(logits.argmax())) != wanted:
            raise GateError(
                f"the golden prompt is not repeated: id {found} in place of {wanted} at step {step + 1}, where the "
                f"margin was {golden.margins[step]:.4g} and the noise {golden.noise_floor:.4g}; export it again"
            )
    return golden.compared


def _too_short(room: int | None, prompt: int) -> str:
    return (
        f"a bounded context of {room} tokens is too short for the golden prompt ({prompt} tokens) and "
        f"{MIN_GOLDEN_STEPS} new ones; give --max-context {prompt + MIN_GOLDEN_STEPS - 1} or more"
    )


def _one_by_one(runner: LogitsRunner, ids: list[int]) -> Tensor:
    logits = torch.empty(0)
    for position, token in enumerate(ids):
        logits = runner.logits([token], position)
    return logits


def _noise_floor(
    runner: LogitsRunner, prompt_ids: list[int], ids: list[int], rows: list[Tensor], other: LogitsRunner | None
) -> float:
    """Twice the largest difference (a margin is a difference of two logits), at least float32's own."""
    largest = _RELATIVE_FLOOR * max(1.0, max(float(row.abs().max()) for row in rows))
    for count in _CHUNKED:
        if count < len(rows):
            again = runner.logits([*prompt_ids, *ids[:count]], 0)
            largest = max(largest, float((again - rows[count]).abs().max()))
    if other is not None:
        pending, at = prompt_ids, 0
        for row, token in zip(rows, ids, strict=True):
            largest = max(largest, float((other.logits(pending, at) - row).abs().max()))
            pending, at = [token], at + len(pending)
    return _rounded(2 * largest, up=True)


def _rounded(value: float, *, up: bool = False) -> float:
    """Four decimals; the floor is rounded up, so that rounding never hides noise."""
    scale = 10**_DIGITS
    return (-(-value * scale // 1) if up else round(value * scale)) / scale
