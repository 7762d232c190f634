"""The committed vectors are what the code produces, fit their schemas, and say what was worked out by hand."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from jsonschema import Draft202012Validator

from chat.sampling import Xoshiro256
from tests.vectors.generate import DESCRIPTIONS, VECTORS, find_difference, main, write

ROOT = VECTORS.parent.parent


def load(name: str) -> dict[str, Any]:
    data = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    assert isinstance(data, dict)
    return data


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((VECTORS / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def expected(name: str, case: str) -> Any:
    return next(c["expected"] for c in load(name)["cases"] if c["name"] == case)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for path in VECTORS.glob("*.json"):
        shutil.copy(path, tmp_path)
    return tmp_path


def test_the_committed_vectors_are_what_the_code_produces() -> None:
    assert find_difference(VECTORS) is None


def test_the_generator_runs_by_name_and_exits_with_0() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.vectors.generate", "--check"],
        cwd=ROOT,
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_writing_again_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in VECTORS.glob("*.json")}
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (VECTORS / path.name).read_bytes()


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_changed_vector_is_refused_by_name(name: str, copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = copied / f"{name}.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    data["cases"][0]["name"] += "!"
    path.write_text(json.dumps(data), encoding="utf-8")
    assert main(["--check"], folder=copied) == 1
    assert f"{name}.json differs from what the code produces" in capsys.readouterr().err


def test_missing_and_left_over_vectors_are_refused_by_name(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copied / "old.json").write_text("{}")
    assert main(["--check"], folder=copied) == 1
    assert "old.json is made by nothing" in capsys.readouterr().err
    (copied / "utf8.json").unlink()
    assert main(["--check"], folder=copied) == 1
    assert "utf8.json is missing" in capsys.readouterr().err


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_vectors_fit_their_schema(name: str) -> None:
    assert [f"{e.json_path}: {e.message}" for e in validator(name).iter_errors(load(name))] == []


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_case_without_its_expected_value_does_not_fit_the_schema(name: str) -> None:
    data = load(name)
    del data["cases"][0]["expected"]
    assert not validator(name).is_valid(data)
    data = load(name)
    data["cases"][0]["surplus"] = 1
    assert not validator(name).is_valid(data)


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_case_names_are_unique(name: str) -> None:
    names = [case["name"] for case in load(name)["cases"]]
    assert len(names) == len(set(names))


def test_there_is_a_schema_for_each_file_and_no_other() -> None:
    assert {p.name for p in (VECTORS / "schemas").iterdir()} == {f"{name}.schema.json" for name in DESCRIPTIONS}


# What follows was worked out by hand, so that the vectors do not only agree with the code that made them.


@pytest.mark.parametrize(
    ("name", "case", "value"),
    [
        (
            "stop_filter",
            "a stop text in seven pieces",
            {"outputs": ["Hi", "", "", "", "", "", "", "", ""], "flush": "", "is_stopped": True},
        ),
        (
            "stop_filter",
            "a stop text that stays a beginning",
            {"outputs": ["1 ", "<|e 2", ""], "flush": "<|", "is_stopped": False},
        ),
        (
            "stop_filter",
            "a stop text inside a longer one that began before",
            {"outputs": ["", "", "a", ""], "flush": "", "is_stopped": True},
        ),
        ("utf8", "an emoji in two pieces", {"outputs": ["x", "😀y"], "flush": ""}),
        ("utf8", "four bytes cut after three by a letter", {"outputs": ["", "\ufffda"], "flush": ""}),
        ("utf8", "an overlong slash in three bytes", {"outputs": ["", "\ufffd\ufffd\ufffd"], "flush": ""}),
        # The Unicode standard 15.0, table 3-8 (and its text on maximal subparts):
        # 61 F1 80 80 E1 80 C2 62 80 63 80 BF 64.
        (
            "utf8",
            "the Unicode standard's example",
            {"outputs": ["a\ufffd\ufffd\ufffdb\ufffdc\ufffd\ufffdd"], "flush": ""},
        ),
        ("typed", "an end-of-turn marker", {"text": "stop<\u200b|eot|>now"}),
        (
            "template",
            "three turns",
            {
                "text": (
                    "<|header_start|>user<|header_end|>\n\nHi<|eot|>"
                    "<|header_start|>assistant<|header_end|>\n\nHello.<|eot|>"
                    "<|header_start|>user<|header_end|>\n\nHow are you?<|eot|>"
                    "<|header_start|>assistant<|header_end|>\n\nFine.<|eot|>"
                    "<|header_start|>user<|header_end|>\n\nBye<|eot|>"
                    "<|header_start|>assistant<|header_end|>\n\n"
                )
            },
        ),
        (
            "turns",
            "next question after a cut reply, llama4",
            {
                "text": (
                    "<|eot|><|header_start|>user<|header_end|>\n\nGo on.<|eot|>"
                    "<|header_start|>assistant<|header_end|>\n\n"
                )
            },
        ),
        ("turns", "next question after a cut reply, completion", {"text": " catGo on."}),
        (
            "turns",
            "restoring two turns, chatml",
            {
                "text": (
                    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
                    "<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nHow are you?<|im_end|>\n"
                    "<|im_start|>assistant\nFine."
                )
            },
        ),
        ("turns", "the stop texts of llama4", {"texts": ["<|eot|>", "<|eom|>", "<|end_of_text|>"]}),
        # Six slots, window 4. Positions 5, 6, 7 go to slots 5, 0, 1; slots 2, 3, 4 still hold 2, 3, 4.
        (
            "ring_slots",
            "a chunk across the wrap",
            {
                "slots": 6,
                "sees": 4,
                "max_chunk": 3,
                "slots_written": [5, 0, 1],
                "positions_held": [6, 7, 2, 3, 4, 5],
                "visible": [[2, 5], [3, 6], [4, 7]],
                "mask": ["..xxxx", "x..xxx", "xx..xx"],
            },
        ),
        # 2^31 - 2 = 2147483646 = 10 * 214748364 + 6.
        (
            "ring_slots",
            "a global ring just past 2^31",
            {
                "slots": 10,
                "sees": 8,
                "max_chunk": 3,
                "slots_written": [6, 7, 8],
                "positions_held": [
                    2147483640,
                    2147483641,
                    2147483642,
                    2147483643,
                    2147483644,
                    2147483645,
                    2147483646,
                    2147483647,
                    2147483648,
                    2147483639,
                ],
                "visible": [[2147483639, 2147483646], [2147483640, 2147483647], [2147483641, 2147483648]],
                "mask": ["xxxxxxx..x", "xxxxxxxx..", ".xxxxxxxx."],
            },
        ),
        # 100 positions end with the next token's own, 140: 41 to 140. The second turn began at 40.
        (
            "window",
            "the second turn is cut",
            {"first_visible_position": 41, "first_visible_turn": 1, "is_partial": True, "remaining": None},
        ),
        ("window", "room for the message and one token", {"new_tokens": 1}),
        (
            "window",
            "room for the message alone",
            {
                "error": (
                    "the chat is full: the message has 70 tokens, and of the package's 100 only 70 are left; "
                    "start a new chat"
                )
            },
        ),
        (
            "restore",
            "the reserve drops a turn, endless",
            {
                "has_system": True,
                "first": 3,
                "tokens": 80,
                "note": "2 older messages no longer fit and are not remembered; they stay readable",
            },
        ),
        (
            "restore",
            "a single turn larger than the window, bounded",
            {
                "has_system": False,
                "first": 2,
                "tokens": 0,
                "note": (
                    "the newest turn alone has 105 tokens and 80 fit, so nothing of the saved chat is remembered; "
                    "it stays readable"
                ),
            },
        ),
        ("manifests", "good: bounded", {"is_good": True}),
        (
            "manifests",
            "bad: a missing key",
            {"is_good": False, "error": "manifest.json: chunk is missing", "place": "chunk"},
        ),
        (
            "manifests",
            "as text: negative bytes",
            {
                "is_good": False,
                "error": "manifest.json: files[2].bytes is -512; it must be at least 0",
                "place": "files[2].bytes",
            },
        ),
        (
            "manifests",
            "bad: a newer schema",
            {
                "is_good": False,
                "error": "this package needs a newer pocketlm: schema 2, this one reads 1",
                "place": "schema_version",
            },
        ),
        (
            "manifests",
            "bad: a window beyond the context",
            {"is_good": False, "error": "manifest.json: window is 65, more than context.tokens 64", "place": "window"},
        ),
    ],
)
def test_a_vector_says_what_was_worked_out_by_hand(name: str, case: str, value: Any) -> None:
    assert expected(name, case) == value


def test_the_utf8_vectors_agree_with_pythons_own_decoder() -> None:
    for case in load("utf8")["cases"]:
        whole = bytes.fromhex("".join(case["pieces_hex"]))
        assert "".join(case["expected"]["outputs"]) + case["expected"]["flush"] == whole.decode(errors="replace")


def test_the_ring_vectors_agree_with_a_cache_written_token_by_token() -> None:
    for case in load("ring_slots")["cases"]:
        answer, end = case["expected"], case["position"] + case["count"]
        if "error" in answer or end > 1000:
            continue
        cache = [-1] * answer["slots"]
        for position in range(end):
            cache[position % answer["slots"]] = position
        assert answer["positions_held"] in (cache, [])
        for query, row in enumerate(answer["mask"], start=case["position"]):
            seen = sorted(cache[slot] for slot, is_seen in enumerate(row) if is_seen == "x")
            assert seen == list(range(max(0, query - answer["sees"] + 1), query + 1))


def test_every_base_of_the_manifest_vectors_is_there_and_every_edit_reaches_its_place() -> None:
    data = load("manifests")
    for case in data["cases"]:
        if "base" not in case:
            continue
        place: Any = data["bases"][case["base"]]
        for step in case.get("edit", {"path": [None]})["path"][:-1]:
            place = place[step]
        assert isinstance(place, dict | list)


def steps(case: str) -> list[dict[str, Any]]:
    return list(expected("static_kv", case)["calls"])


def test_a_chat_over_static_caches_is_as_it_was_worked_out_by_hand() -> None:
    first, second, *_, third, fourth = steps("an endless chat, two methods")[:6]
    assert (first["method"], first["tokens"], first["last"]) == ("prefill", [3, 10, 17, 24], "...x")
    assert first["mask_local"] == ["........x...", "........xx..", "........xxx.", "........xxxx"]
    assert (first["cos"][0], first["sin"][0]) == ("3c00 3c00 3c00 3c00", "0000 0000 0000 0000")
    assert (second["method"], second["tokens"], second["last"], second["position"]) == ("forward", [31], "x", 4)
    # Positions 0 to 6 lie in slots 0 to 6 of 8. The query at 10 sees 3 to 10.
    assert (third["position"], third["slots_local"], third["slots_global"]) == (7, [7, 0, 1, 2], [7, 8, 9, 10])
    assert third["mask_local"] == ["xxxxxxx.x...", ".xxxxxx.xx..", "..xxxxx.xxx.", "...xxxx.xxxx"]
    # Slots 0 to 2 hold 8 to 10 now, slots 3 to 7 still 3 to 7. Two tokens are real.
    assert (fourth["method"], fourth["position"], fourth["last"]) == ("prefill", 11, ".x..")
    assert fourth["tokens"][2:] == [0, 0] and fourth["slots_local"] == [3, 4]
    assert fourth["mask_local"] == ["xxx.xxxxx...", "xxx..xxxxx..", "xxx...xxxxx.", "xxx....xxxxx"]
    assert fourth["mask_global"][0] == "xxxxxxxxxxx.........x..."


@pytest.mark.parametrize(("name", "bits"), [
    ("float16: one third", "3555"),
    ("float16: a tie goes down to the even one", "3c00"),
    ("float16: just above a tie, which a float32 on the way would lose", "3c01"),
    ("float16: the mask's value", "f0e2"),
    ("float16: half of it, a tie with zero", "0000"),
])  # fmt: skip
def test_a_double_becomes_the_float16_that_was_worked_out_by_hand(name: str, bits: str) -> None:
    assert expected("static_kv", name) == {"bits": bits}


def static_steps() -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    cases = [case for case in load("static_kv")["cases"] if case["call"] == "steps"]
    return [(case["program"], case["expected"]["calls"]) for case in cases if "calls" in case["expected"]]


def test_the_masks_agree_with_caches_written_token_by_token_and_each_token_is_written_once() -> None:
    for program, calls in static_steps():
        for kind in ("local", "global"):
            slots = [s for s, is_global in zip(program["slots"], program["is_global"], strict=True)
                     if is_global == (kind == "global")][:1]  # fmt: skip
            start = calls[0]["position"]
            for (size,) in [slots] if slots else []:
                cache = {p % size: p for p in range(max(0, start - size), start)}
                for call in calls:
                    at, length, count = call["position"], call["length"], call["last"].index("x") + 1
                    for query, row in enumerate(call[f"mask_{kind}"], start=at):
                        held = [cache.get(slot) for slot in range(size)] + list(range(at, at + length))
                        wanted = [p is not None and query - size < p <= query for p in held]
                        assert row == "".join("x" if seen else "." for seen in wanted)
                    cache |= {(at + i) % size: at + i for i in range(count)}
                    assert call[f"slots_{kind}"] == [(at + i) % size for i in range(count)]


def exact_rows(rope: dict[str, Any], position: int) -> list[tuple[mpmath.mpf, mpmath.mpf, float]]:
    """Cosine, sine and how far a double may be off, for each pair of a head, from 60 digits."""
    rows = []
    with mpmath.workdps(60):
        for i in range(rope["head_dim"] // 2):
            frequency = mpmath.power(rope["theta"], -mpmath.mpf(2 * i) / rope["head_dim"])
            if rope["factor"]:
                wavelength, original = 2 * mpmath.pi / frequency, rope["original_context"]
                low, high = rope["low_freq_factor"], rope["high_freq_factor"]
                smooth = min(max((original / wavelength - low) / (high - low), 0), 1)
                frequency = (1 - smooth) * frequency / rope["factor"] + smooth * frequency
            angle = position * frequency
            error = 1e-15 * (1 + (float(angle) if frequency != 1 else 0))  # a frequency of 1 makes the angle exact
            rows.append((mpmath.cos(angle), mpmath.sin(angle), error))
    return rows


def halves_around(value: mpmath.mpf, error: float) -> set[str]:
    with mpmath.workdps(60):
        ends = [float(value - error), float(value + error)]
    return {f"{int(np.float64(end).astype(np.float16).view(np.uint16)):04x}" for end in ends}


def test_the_rows_are_right_to_60_digits_and_none_lies_on_an_edge_of_float16() -> None:
    for case in load("static_kv")["cases"]:
        for row in case["expected"].get("rows", []):
            exact = exact_rows(case["rope"], row["position"])
            for i, (cos, sin, error) in enumerate(exact):
                for name, value in (("cos", cos), ("sin", sin)):
                    assert abs(row[name][i] - value) <= error
                    if value != 0:
                        assert halves_around(value, error) == {row[f"{name}_bits"].split()[i]}, (case["name"], row)


def test_the_rows_of_each_step_lie_on_no_edge_either() -> None:
    for program, calls in static_steps():
        for call in calls:
            for offset in range(call["length"]):
                for i, (cos, sin, error) in enumerate(exact_rows(program["rope"], call["position"] + offset)):
                    for name, value in (("cos", cos), ("sin", sin)):
                        if value != 0:
                            assert halves_around(value, error) == {call[name][offset].split()[i]}, call["position"]


def test_no_sampled_id_hangs_on_the_last_bits_of_an_exponential() -> None:
    for case in load("static_kv")["cases"]:
        if case["call"] != "sample" or "error" in case["expected"] or case["temperature"] == 0:
            continue
        weights = np.exp(
            (np.array(case["logits"], dtype=float) - max(map(float, case["logits"]))) / case["temperature"]
        )
        order = np.argsort(-weights, kind="stable")
        before = np.cumsum(weights[order]) - weights[order]
        edge = np.abs(before - case["top_p"] * weights.sum())
        assert case["top_p"] == 1 or np.all((edge > 1e-9) | (edge == 0)), case["name"]
        kept = order[before < case["top_p"] * weights.sum()]
        kept = kept[::-1] if case["top_p"] < 1 else np.arange(len(weights))
        ends = np.cumsum(weights[kept])
        generator = Xoshiro256.seeded(int(case["seed"]))
        for token in case["expected"]["ids"]:
            drawn = generator.uniform() * ends[-1]
            assert np.abs(ends - drawn).min() > 1e-9 and kept[np.searchsorted(ends, drawn, side="right")] == token
