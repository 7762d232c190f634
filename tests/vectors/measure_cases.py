"""The vectors of figures: statistics of a turn, the runtime's errors as sentences, the golden self-test."""

import json
from collections.abc import Sequence
from typing import Any

from chat.utf8 import Utf8Joiner
from tests.vectors.sentence_cases import refusal
from tests.vectors.text_cases import Case

LOADED: Case = {"model_load_start_ms": 1_790_000_000_000, "model_load_end_ms": 1_790_000_000_700}
RUN: Case = LOADED | {
    "prompt_tokens": 16,
    "generated_tokens": 40,
    "inference_start_ms": 1_790_000_001_000,
    "prompt_eval_end_ms": 1_790_000_001_200,
    "first_token_ms": 1_790_000_001_250,
    "inference_end_ms": 1_790_000_003_200,
    "aggregate_sampling_time_ms": 3,
    "SCALING_FACTOR_UNITS_PER_SECOND": 1000,
    "prefill_token_per_sec": 80.0,
    "decode_token_per_sec": 20.0,
}
_RATES = ("prefill_token_per_sec", "decode_token_per_sec")
REPORTS: list[tuple[str, str]] = [
    ("a whole report", json.dumps(RUN)),
    ("without rates, for a duration was 0", json.dumps({k: v for k, v in RUN.items() if k not in _RATES})),
    ("a prompt faster than a millisecond", json.dumps(RUN | {"prompt_eval_end_ms": 1_790_000_001_000})),
    ("one token", json.dumps(RUN | {"generated_tokens": 0, "inference_end_ms": 1_790_000_001_250})),
    ("decoding faster than a millisecond", json.dumps(RUN | {"inference_end_ms": 1_790_000_001_200})),
    ("stopped before the first token", json.dumps(RUN | {"first_token_ms": 0, "generated_tokens": 0})),
    ("a clock that was set back", json.dumps(RUN | {"first_token_ms": 1_789_999_999_999})),
    ("no prompt (a continuation)", json.dumps(RUN | {"prompt_tokens": 0})),
    ("a key of a later version", json.dumps(RUN | {"cache_hits": 3})),
    ("a missing key", json.dumps({k: v for k, v in RUN.items() if k != "generated_tokens"})),
    ("a fraction for a count", json.dumps(RUN | {"prompt_tokens": 1.5})),
    ("a negative count", json.dumps(RUN | {"generated_tokens": -1})),
    ("not JSON", "PyTorchObserver"),
    ("a list", "[]"),
    ("nothing", ""),
]
_WHOLE = ("prompt_tokens", "generated_tokens", "inference_start_ms", "prompt_eval_end_ms", "first_token_ms")


def of_report(text: str) -> Case | None:
    """The figures of ExecuTorch's report of one call (extension/llm/runner/stats.h), or None when it cannot be read.

    `generated_tokens` leaves out the first token, which the prefill gives.
    """
    try:
        report = json.loads(text)
    except ValueError:
        return None
    keys = (*_WHOLE, "inference_end_ms")
    if not isinstance(report, dict) or not all(type(report.get(key)) is int and report[key] >= 0 for key in keys):
        return None
    has_token = report["first_token_ms"] > 0
    first_ms = report["first_token_ms"] - report["inference_start_ms"]
    prefill_ms = report["prompt_eval_end_ms"] - report["inference_start_ms"]
    decode_ms = report["inference_end_ms"] - report["prompt_eval_end_ms"]
    generated, prompt = report["generated_tokens"], report["prompt_tokens"]
    return {
        "prompt_tokens": prompt,
        "new_tokens": generated + 1 if has_token else 0,
        "time_to_first_token_s": first_ms / 1000 if has_token and first_ms >= 0 else None,
        "decode_tokens_per_s": 1000 * generated / decode_ms if generated and decode_ms > 0 else None,
        "prefill_tokens_per_s": 1000 * prompt / prefill_ms if prompt and prefill_ms > 0 else None,
    }


def of_reply(reply: Case) -> Case:
    """The same of a reply that our own clock timed."""
    first = reply["time_to_first_token_s"]
    has_rate = first is not None and first > 0 and reply["prompt_tokens"] > 0
    return {
        "prompt_tokens": reply["prompt_tokens"],
        "new_tokens": reply["new_tokens"],
        "time_to_first_token_s": first,
        "decode_tokens_per_s": reply["decode_tokens_per_s"],
        "prefill_tokens_per_s": reply["prompt_tokens"] / first if has_rate else None,
    }


REPLIES: list[tuple[str, int, int, float | None, float | None]] = [
    ("a reply", 12, 40, 0.25, 20.0),
    ("one token", 12, 1, 0.5, None),
    ("cancelled in the prompt", 12, 0, None, None),
    ("a first token in no time", 12, 2, 0.0, 8.0),
]


def statistics_cases() -> list[Case]:
    cases: list[Case] = [
        {"name": f"report: {name}", "call": "of_report", "report": text, "expected": of_report(text)}
        for name, text in REPORTS
    ]
    for name, prompt, new, first, decode in REPLIES:
        reply = {
            "prompt_tokens": prompt,
            "new_tokens": new,
            "time_to_first_token_s": first,
            "decode_tokens_per_s": decode,
        }
        cases.append({"name": f"reply: {name}", "call": "of_reply", "reply": reply, "expected": of_reply(reply)})
    return cases


# runtime/core/error.h of executorch 1.5.1
CODES = {
    0x01: "engineInternal",
    0x02: "engineInvalidState",
    0x03: "engineEndOfMethod",
    0x04: "engineAlreadyLoaded",
    0x10: "engineNotSupported",
    0x11: "engineNotImplemented",
    0x12: "engineInvalidArgument",
    0x13: "engineInvalidType",
    0x14: "engineOperatorMissing",
    0x15: "engineTooManyKernels",
    0x16: "engineKernelTwice",
    0x20: "engineNotFound",
    0x21: "engineMemory",
    0x22: "engineAccess",
    0x23: "engineInvalidProgram",
    0x24: "engineExternalData",
    0x25: "engineResources",
    0x30: "engineDelegateVersion",
    0x31: "engineDelegateMemory",
    0x32: "engineDelegateHandle",
}
NO_REASON = "no reason was given"


def engine_error(code: int | None, detail: str) -> Case:
    """A runtime's failure as a refusal: by its code, else by its own words."""
    if code:
        return refusal(CODES.get(code, "engineUnknown"), code=str(code))
    reason = detail.strip().rstrip(".")
    return refusal("engineFailed", reason=reason or NO_REASON)


def engine_error_cases() -> list[Case]:
    given: list[tuple[int | None, str]] = [(code, "as the runtime says it") for code in CODES]
    given += [(99, "new"), (-1, "odd"), (0x7FFFFFFF, ""), (None, " the process ended.\n"), (None, ""), (0, "ok?")]
    return [
        {
            "name": f"{'no code' if code is None else f'code {code}'}: {detail.strip() or 'no words'}",
            "code": code,
            "detail": detail,
            "expected": engine_error(code, detail),
        }
        for code, detail in given
    ]


GOLDEN: Case = {"ids": list(range(20, 36)), "text": " a time there", "compared": 4}


def self_test(golden: Case, *, ids: Sequence[int] | None = None, pieces: Sequence[bytes] = ()) -> Case:
    """The verdict by ids, or by the text of a runner that gives none."""
    compared = golden["compared"]
    if not compared:
        return {"verdict": "unsure", **refusal("selfTestUnsure")}
    if ids is None:
        return _by_text(golden, pieces)
    for step, (wanted, found) in enumerate(zip(golden["ids"][:compared], ids, strict=False), start=1):
        if wanted != found:
            said = refusal("selfTestFailedIds", step=str(step), found=str(found), wanted=str(wanted))
            return {"verdict": "failed", **said}
    if len(ids) < compared:
        return {"verdict": "failed", **refusal("selfTestShort", found=str(len(ids)), wanted=str(compared))}
    later = enumerate(zip(golden["ids"], ids, strict=False), start=1)
    step = next((step for step, (wanted, found) in later if wanted != found), None)
    if step is None:
        return {"verdict": "passed", **refusal("selfTestPassed", compared=str(compared))}
    return {"verdict": "passed", **refusal("selfTestPassedLater", compared=str(compared), step=str(step))}


def _by_text(golden: Case, pieces: Sequence[bytes]) -> Case:
    """The pieces joined begin with the golden text. Where that ends inside a character, U+FFFD stands for the rest."""
    joiner = Utf8Joiner()
    found = "".join(joiner.push(piece) for piece in pieces) + joiner.flush()
    wanted = golden["text"].rstrip("\ufffd")
    if found.startswith(wanted):
        return {"verdict": "passed", **refusal("selfTestPassed", compared=str(golden["compared"]))}
    said = refusal("selfTestFailedText", found=found[: len(wanted)], wanted=wanted)
    return {"verdict": "failed", **said}


def self_test_cases() -> list[Case]:
    ids = GOLDEN["ids"]
    by_ids: list[tuple[str, Case, list[int]]] = [
        ("all ids", GOLDEN, ids),
        ("a later id differs", GOLDEN, [*ids[:9], 1, *ids[10:]]),
        ("the first that is not compared differs", GOLDEN, [*ids[:4], 1, *ids[5:]]),
        ("the last that is compared differs", GOLDEN, [*ids[:3], 1, *ids[4:]]),
        ("the first differs", GOLDEN, [1, *ids[1:]]),
        ("the compared ones alone", GOLDEN, ids[:4]),
        ("it stopped before", GOLDEN, ids[:3]),
        ("no id", GOLDEN, []),
        ("nothing is compared", GOLDEN | {"compared": 0, "text": ""}, [1, 2]),
    ]
    cut = GOLDEN | {"text": " caf\ufffd", "compared": 3}
    by_text: list[tuple[str, Case, list[bytes]]] = [
        ("the text", GOLDEN, [b" a", b" time", b" there", b" was"]),
        ("the text in halves of characters", GOLDEN | {"text": "é😀"}, [b"\xc3", b"\xa9\xf0\x9f", b"\x98\x80"]),
        ("a golden text that ends inside a character", cut, [b" caf", b"\xc3", b"\xa9 au lait"]),
        ("another text", GOLDEN, [b" a", b" tree", b" there"]),
        ("a composed letter for a decomposed one", GOLDEN | {"text": "e\u0301"}, ["\u00e9".encode()]),
        ("a text that is too short", GOLDEN, [b" a", b" time"]),
        ("no text", GOLDEN, []),
        ("nothing is compared, by text", GOLDEN | {"compared": 0, "text": ""}, [b"x"]),
    ]
    cases: list[Case] = [
        {"name": name, "golden": golden, "found": {"ids": found}, "expected": self_test(golden, ids=found)}
        for name, golden, found in by_ids
    ]
    cases += [_text_case(*case) for case in by_text]
    return cases


def _text_case(name: str, golden: Case, pieces: list[bytes]) -> dict[str, Any]:
    found = {"pieces_hex": [piece.hex() for piece in pieces]}
    return {"name": name, "golden": golden, "found": found, "expected": self_test(golden, pieces=pieces)}
