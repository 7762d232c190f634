"""Inputs of the vectors of the static-kv loop (calls, masks, slots, rows, sampled ids) and the code that answers them.

Positions are such that no row lies so close to a rounding edge that another language's cosine or power could fall on
its other side: tests/test_vectors.py proves it.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from chat.sampling import SeededSampler, Xoshiro256
from chat.static_kv import Rope, StaticKv, calls, half_bits, inverse_frequencies, mask, rope_rows, temperatures
from chat.window import Context
from tests.vectors.text_cases import Case, answer

PLAIN = Rope(theta=10_000.0, head_dim=8)
PRO = Rope(theta=500_000.0, head_dim=8)  # MobileLLM-Pro's theta
SCALED = Rope(
    theta=500_000.0, head_dim=8, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_context=8192
)  # Llama 3.1's settings
ROPES = {"theta 10,000": PLAIN, "theta 500,000": PRO, "the scaling of Llama 3.1": SCALED}

ENDLESS = StaticKv(
    context=Context(kind="endless", tokens=20),
    vocab_size=96,
    chunk=4,
    has_prefill=True,
    slots=(8, 20, 8),
    is_global=(False, True, False),
    num_kv_heads=2,
    rope=PLAIN,
)
BOUNDED = dataclasses.replace(ENDLESS, context=Context(kind="bounded", tokens=20))
OTHER = dataclasses.replace(ENDLESS, temperature_floor=16, temperature_scale=0.1)
ONE_KIND = dataclasses.replace(ENDLESS, slots=(20, 20), is_global=(True, True))


def one_method(program: StaticKv) -> StaticKv:
    return dataclasses.replace(program, has_prefill=False)


# How many ids are sent at once: a prompt, then what is sampled one by one, and so on. The window of 8 is passed in the
# second turn, the context of 20 in the third; prompts end before, at and after the edge of a chunk of 4.
CHAT = [5, 1, 1, 6, 1, 10, 1, 1, 4, 1, 8]
SHORT = [5, 1, 1, 6, 1, 4, 1, 1]  # exactly the 20 of a bounded context
LATE = [6, 1, 1]
STEPS: list[tuple[str, StaticKv, int, list[int]]] = [
    ("an endless chat, two methods", ENDLESS, 0, CHAT),
    ("an endless chat, one method", one_method(ENDLESS), 0, CHAT),
    ("a bounded chat to its end, two methods", BOUNDED, 0, SHORT),
    ("a bounded chat to its end, one method", one_method(BOUNDED), 0, SHORT),
    ("a temperature on layers without RoPE", OTHER, 12, LATE),
    ("no local layer", ONE_KIND, 17, LATE),
    ("chunks of one token", dataclasses.replace(one_method(ENDLESS), chunk=1), 18, [3, 1]),
    ("at position 10,000,000", ENDLESS, 10_000_000, LATE),
    ("across 2^31", dataclasses.replace(ENDLESS, rope=PRO), 2**31 - 3, LATE),
]
REFUSED: list[tuple[str, StaticKv, int, list[int]]] = [
    ("nothing to run", ENDLESS, 0, []),
    ("a negative position", ENDLESS, -1, [1]),
    ("an id past the vocabulary", ENDLESS, 0, [95, 96]),
    ("a negative id", ENDLESS, 0, [-1]),
    ("one token past a bounded context", BOUNDED, 18, [1, 2, 3]),
    ("a full bounded context", BOUNDED, 20, [1]),
]
POSITIONS = [*range(10), 19, 20, 21, 511, 512, 2047, 2048, 4095, 8191, 131_071, 9_999_999, 10_000_000]


def static_cases() -> list[Case]:
    """All of them; `call` says which function of the loop is asked."""
    return [*_step_cases(), *_rope_cases(), *_number_cases(), *_sampling_cases()]


def _step_cases() -> list[Case]:
    cases: list[Case] = []
    for name, program, position, counts in STEPS:
        ids = [(7 * i + 3) % program.vocab_size for i in range(sum(counts))]
        sends = [ids[sum(counts[:i]) : sum(counts[: i + 1])] for i in range(len(counts))]
        cases.append(
            {
                "name": name,
                "call": "steps",
                "program": _program(program),
                "position": position,
                "sends": sends,
                "expected": {"calls": _steps(program, position, sends)},
            }
        )
    for name, program, position, ids in REFUSED:
        cases.append(
            {
                "name": name,
                "call": "steps",
                "program": _program(program),
                "position": position,
                "sends": [ids],
                "expected": answer(calls, ids, position, program),
            }
        )
    return cases


def _program(program: StaticKv) -> Case:
    """Flat, as the constant methods have it."""
    values = dataclasses.asdict(program)
    rope, context = values.pop("rope"), values.pop("context")
    values |= {"is_endless": context["kind"] == "endless", "context": context["tokens"]}
    values["is_global"] = [int(flag) for flag in program.is_global]
    values["slots"] = list(program.slots)
    del values["num_kv_heads"]  # no number of a step depends on it
    return values | {"rope": rope}


def _steps(program: StaticKv, position: int, sends: Sequence[Sequence[int]]) -> list[Case]:
    found = []
    for ids in sends:
        for call in calls(ids, position, program):
            cos, sin = rope_rows(call.position, call.length, inverse_frequencies(program.rope))
            step: Case = {
                "method": call.method,
                "length": call.length,
                "position": call.position,
                "tokens": call.tokens,
                "last": "".join("x" if value else "." for value in call.last),
                "cos": [_hex(row) for row in cos],
                "sin": [_hex(row) for row in sin],
            }
            if program.temperature_floor:
                factors = temperatures(
                    call.position, call.length, floor=program.temperature_floor, scale=program.temperature_scale
                )
                step["temperature"] = _hex(factors)
            for kind, is_global in (("local", False), ("global", True)):
                slots = program.kind_slots(is_global=is_global)
                if slots is not None:
                    rows = mask(call.position, call.length, slots)
                    step[f"mask_{kind}"] = ["".join("x" if is_seen else "." for is_seen in row) for row in rows]
                    step[f"slots_{kind}"] = call.slots(slots)
            found.append(step)
        position += len(ids)
    return found


def _hex(values: Sequence[float]) -> str:
    """Float16 bit patterns, four digits each."""
    return " ".join(f"{half_bits(value):04x}" for value in values)


def _rope_cases() -> list[Case]:
    cases: list[Case] = []
    for name, rope in ROPES.items():
        frequencies = inverse_frequencies(rope)
        rows = {position: rope_rows(position, 1, frequencies) for position in POSITIONS}
        expected = {
            "frequencies": frequencies,
            "rows": [
                {
                    "position": position,
                    "cos": cos[0],
                    "sin": sin[0],
                    "cos_bits": _hex(cos[0]),
                    "sin_bits": _hex(sin[0]),
                }
                for position, (cos, sin) in rows.items()
            ],
        }
        cases.append({"name": name, "call": "rope", "rope": dataclasses.asdict(rope), "expected": expected})
    return cases


HALVES: list[tuple[str, float]] = [
    ("one", 1.0),
    ("minus zero", -0.0),
    ("the mask's value", -10_000.0),
    ("one third", 1 / 3),
    ("a tie goes down to the even one", 1 + 2.0**-11),
    ("a tie goes up to the even one", 1 + 3 * 2.0**-11),
    ("just above a tie, which a float32 on the way would lose", 1 + 2.0**-11 + 2.0**-40),
    ("just below the next power of two", 1 - 2.0**-13),
    ("the smallest normal number", 2.0**-14),
    ("the largest subnormal number", 2.0**-14 - 2.0**-24),
    ("the smallest subnormal number", 2.0**-24),
    ("half of it, a tie with zero", 2.0**-25),
    ("just above half of it", 2.0**-25 * (1 + 2.0**-30)),
    ("a negative subnormal tie", -3 * 2.0**-25),
    ("the smallest double", 5e-324),
    ("the largest", 65_504.0),
    ("what still rounds to the largest", 65_519.999),
    ("what no longer does", 65_520.0),
]
TEMPERATURES: list[tuple[str, int, int, int, float]] = [  # name, position, T, floor, scale
    ("Llama 4's temperature at its first step", 8190, 3, 8192, 0.1),
    ("a temperature with a step of one token", 0, 4, 1, 0.5),
    ("a temperature at position 10,000,000", 10_000_000, 2, 8192, 0.1),
]


def _number_cases() -> list[Case]:
    cases: list[Case] = []
    for name, value in HALVES:
        expected = answer(lambda v: {"bits": f"{half_bits(v):04x}"}, value)
        cases.append({"name": f"float16: {name}", "call": "half", "value": value, "expected": expected})
    for name, position, length, floor, scale in TEMPERATURES:
        factors = temperatures(position, length, floor=floor, scale=scale)
        cases.append(
            {
                "name": name,
                "call": "temperature",
                "position": position,
                "length": length,
                "floor": floor,
                "scale": scale,
                "expected": {"values": factors, "bits": _hex(factors)},
            }
        )
    return cases


EVEN = [0.0] * 6
SURE = [0.5, 9.0, -3.25, 2.0, -12.0, 0.125]
WIDE = [round(4 * math.sin(1.7 * i * i), 3) for i in range(40)]
SAMPLES: list[tuple[str, list[float], float, float, int]] = [  # name, logits, temperature, top_p, seed
    ("greedy takes the first of the largest", [1.0, 3.0, 3.0, -1.0], 0.0, 1.0, 0),
    ("equal logits", EVEN, 1.0, 1.0, 7),
    ("equal logits, half of them kept", EVEN, 1.0, 0.5, 7),
    ("a seed of 0", WIDE, 1.0, 1.0, 0),
    ("the largest seed", WIDE, 1.0, 1.0, 2**63 - 1),
    ("another seed", WIDE, 1.0, 1.0, 1234567),
    ("a low temperature", WIDE, 0.25, 1.0, 3),
    ("a high temperature", WIDE, 2.0, 1.0, 3),
    ("a nucleus", WIDE, 1.0, 0.9, 3),
    ("a small nucleus", WIDE, 1.5, 0.3, 11),
    ("a nucleus of one", SURE, 0.7, 0.5, 5),
    ("logits of minus infinity never come", [-math.inf, 1.0, -math.inf, 0.5], 1.0, 1.0, 9),
]
OVERFLOWED = {"not a number": [0.0, math.nan], "an infinite logit": [0.0, math.inf], "none": [-math.inf] * 2}
PICKS = 24


def _sampling_cases() -> list[Case]:
    cases: list[Case] = []
    for seed in (0, 1, 1234567, 2**63 - 1):
        generator = Xoshiro256.seeded(seed)
        cases.append(
            {
                "name": f"xoshiro256** of seed {seed}",
                "call": "random",
                "seed": str(seed),  # beyond 2^53 JSON's numbers are not exact
                "expected": {"words": [f"{generator.next():016x}" for _ in range(6)]},
            }
        )
    for name, logits, temperature, top_p, seed in SAMPLES:
        cases.append(
            _sample(name, logits, temperature, top_p, seed, {"ids": _picked(logits, temperature, top_p, seed)})
        )
    for name, logits in OVERFLOWED.items():
        cases.append(_sample(f"overflowed: {name}", logits, 1.0, 1.0, 0, answer(_picked, logits, 1.0, 1.0, 0)))
    return cases


def _sample(name: str, logits: list[float], temperature: float, top_p: float, seed: int, expected: Any) -> Case:
    shown = [value if math.isfinite(value) else str(value) for value in logits]  # JSON has neither NaN nor infinities
    return {
        "name": f"sampling: {name}",
        "call": "sample",
        "logits": shown,
        "temperature": temperature,
        "top_p": top_p,
        "seed": str(seed),
        "expected": expected,
    }


def _picked(logits: list[float], temperature: float, top_p: float, seed: int) -> list[int]:
    sampler = SeededSampler(temperature=temperature, top_p=top_p, seed=seed)
    return [sampler.pick(logits) for _ in range(PICKS)]
