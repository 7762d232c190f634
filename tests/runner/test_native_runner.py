"""The native runner against the golden ids of packages, against Python's runtime, and against bad input."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from chat.window import Context
from export.manifest import read_manifest
from export.runner import PteRunner
from runner.build import runner_program
from runner.engine import CppRunner, CppSampler
from tests.packages import CHUNK, CONTEXT, other_int4, tiny_bounded, tiny_float, tiny_int4  # noqa: F401 (fixtures)

ENDLESS = Context(kind="endless", tokens=CONTEXT)


@pytest.fixture(scope="module")
def program() -> Path:
    return runner_program()


def run(program, *words, code=0):
    done = subprocess.run([str(program), *map(str, words)], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    return done


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def new_ids(program, package, ids, count, *options):
    found = lines(run(program, "generate", package, "--ids", ",".join(map(str, ids)), "-n", count, *options))
    return [line["id"] for line in found[:-1]], found[-1]


def golden(package):
    return read_manifest((package / "manifest.json").read_bytes()).golden


@pytest.mark.parametrize("made", ["tiny_int4", "tiny_bounded", "tiny_float", "other_int4"])
@pytest.mark.parametrize("kernels", ["own", "portable"])
def test_golden_ids_come_out_up_to_the_first_step_that_noise_can_turn(request, program, made, kernels):
    package = request.getfixturevalue(made).package
    wanted = golden(package)
    ids, last = new_ids(program, package, wanted.prompt_ids, len(wanted.ids), "--kernels", kernels, "--threads", 2)
    assert ids[: wanted.compared] == list(wanted.ids)[: wanted.compared]
    assert last["prompt_tokens"] == len(wanted.prompt_ids)
    assert ("portable" in last["kernels"]) == (kernels == "portable")


def test_logits_are_those_of_pythons_runtime_at_chunk_edges_and_past_the_window(program, tiny_float):  # noqa: F811
    random = np.random.default_rng(5)
    python = PteRunner(tiny_float.package / "model.pte", chunk=CHUNK, context=ENDLESS)
    with CppRunner([str(program)], tiny_float.package, context=ENDLESS, threads=2) as native:
        position = 0
        for count in (1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 1, CONTEXT, 2 * CONTEXT + 5, 1):
            ids = random.integers(0, 320, count).tolist()
            found, wanted = np.array(native.logits(ids, position)), python.logits(ids, position).numpy()
            # Float recipe: float32's own noise, as in docs/numerics.md.
            assert np.abs(found - wanted).max() <= 1e-5 * max(1, np.abs(wanted).max()), (position, count)
            position += count


def test_a_long_prompt_in_several_requests_is_one_prompt(program, tiny_float):  # noqa: F811
    ids = np.random.default_rng(6).integers(0, 320, 40 * CHUNK + 3).tolist()
    with CppRunner([str(program)], tiny_float.package, context=ENDLESS) as native:
        whole = native.logits(ids, 0)
        native.prefill(ids[: 2 * CHUNK], 0)
        assert native.logits(ids[2 * CHUNK :], 2 * CHUNK) == whole


def test_a_bounded_context_is_counted(program, tiny_bounded):  # noqa: F811
    package, prompt = tiny_bounded.package, [5] * 90
    ids, last = new_ids(program, package, prompt, 50, "--stop", 319)
    assert (len(ids), last["end"]) == (7, "context")  # 96 positions: six are written, the seventh is not
    assert new_ids(program, package, [5] * 96, 50, "--stop", 319)[1]["new_tokens"] == 1
    refused = run(program, "generate", package, "--ids", ",".join(["5"] * 97), code=1)
    assert "would reach position 97 and this package is bounded to 96" in refused.stderr
    context = Context(kind="bounded", tokens=96)
    with CppRunner([str(program)], package, context=context) as native:
        assert len(list(native.generate_ids(prompt, 0, 50, CppSampler()))) == 7
        with pytest.raises(ValueError, match="limit of 96 tokens"):
            native.prefill([5] * 97, 0)


def test_a_program_without_its_manifest_is_taken_for_bounded_unless_said_otherwise(program, tmp_path, tiny_int4):  # noqa: F811
    bare = tmp_path / "bare.pte"
    bare.symlink_to(tiny_int4.package / "model.pte")
    ids = ",".join(["5"] * (CONTEXT + 1))
    assert "bounded to 241" in run(program, "generate", bare, "--ids", ids, code=1).stderr
    assert lines(run(program, "generate", bare, "--ids", ids, "-n", 1, "--endless"))[-1]["new_tokens"] == 1


def test_a_seed_repeats_itself_and_stop_ids_end_the_text(program, tiny_int4):  # noqa: F811
    sampling = ("--temperature", "1.5", "--top-p", "0.95", "--stop", "319")
    first, last = new_ids(program, tiny_int4.package, [1, 2], 30, *sampling, "--seed", 3)
    assert new_ids(program, tiny_int4.package, [1, 2], 30, *sampling, "--seed", 3)[0] == first
    assert last["seed"] == 3
    others = [new_ids(program, tiny_int4.package, [1, 2], 30, *sampling, "--seed", seed)[0] for seed in (4, 5, 6)]
    assert any(other != first for other in others)
    ids, last = new_ids(program, tiny_int4.package, [1, 2], 30, *sampling[:4], "--seed", 3, "--stop", str(first[4]))
    assert (ids, last["end"]) == (first[: first.index(first[4]) + 1], "stop")


def test_info_says_what_the_program_is_without_loading_it(program, tiny_int4):  # noqa: F811
    (found,) = lines(run(program, "info", tiny_int4.package))
    assert found["runner"]["executorch"] == "1.5.1"
    model = found["model"]
    assert (model["context"], model["max_context"], model["chunk"], model["vocab_size"]) == ("endless", 241, 16, 320)
    assert model["bytes"] == (tiny_int4.package / "model.pte").stat().st_size
    assert found["threads"] >= 1


def test_bench_gives_what_its_readers_expect(program, tiny_int4):  # noqa: F811
    words = ("-p", 20, "-n", 3, "--depth", "0,300", "--threads", "1,2", "-r", 2)
    (found,) = lines(run(program, "bench", tiny_int4.package, *words))
    assert found["runner"].keys() >= {"version", "executorch", "kernels", "machine"}
    assert found["model"].keys() >= {"path", "bytes", "max_context", "chunk", "vocab_size"}
    assert found["load_ms"].keys() == {"map", "method", "first_call"}
    assert [result["threads"] for result in found["results"]] == [1, 2]
    for result in found["results"]:
        assert [len(result[name]) for name in ("first_token_ms", "bandwidth_gb_s", "int8_peak_gops")] == [2, 2, 2]
        for kind, tokens in (("prefill", 20), ("decode", 3)):
            assert [(row["depth"], row["tokens"], len(row["ms"])) for row in result[kind]] == [
                (0, tokens, 2),
                (300, tokens, 2),
            ]
            assert all(ms > 0 for row in result[kind] for ms in row["ms"])
    memory = found["memory"]
    assert 0 < memory["steady_bytes"] <= memory["peak_bytes"]
    assert memory["anonymous_bytes"] + memory["file_bytes"] <= memory["steady_bytes"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "no command was given"),
        (("sing",), 2, "unknown command 'sing'"),
        (("generate",), 2, "no model was given"),
        (("generate", "a", "b"), 2, "a second model was given, 'b' after 'a'"),
        (("generate", "a", "--loud"), 2, "unknown option --loud"),
        (("generate", "a", "-n"), 2, "-n needs a value, N"),
        (("generate", "a", "-n", "0"), 2, "-n is '0'; it takes a number from 1 to"),
        (("generate", "a", "-n", "1", "-n", "2"), 2, "-n was given twice"),
        (("generate", "a", "--ids", "1,,2"), 2, "--ids is ''; it takes a number"),
        (("generate", "a", "--temperature", "warm"), 2, "--temperature is 'warm'"),
        (("generate", "a", "--top-p", "0"), 1, "top_p is 0"),
        (("generate", "nowhere", "--ids", "1"), 1, "nowhere is not there; name a package's folder or its model.pte"),
        (("generate", "nowhere", "--kernels", "abacus"), 1, "abacus"),
        (("bench", "a", "-p", "0", "-n", "0"), 2, "leaves nothing to time"),
        (("profile", "a"), 2, "add --etdump FILE"),
        (("info", "a", "--endless=1"), 2, "--endless takes no value"),
    ],
)
def test_bad_input_is_one_line_and_an_exit_code(program, words, code, message):
    done = run(program, *words, code=code)
    assert message in done.stderr
    assert (done.stderr.count("\n"), done.stdout) == (1, "")


def test_a_damaged_file_is_refused_and_not_run(program, tmp_path, tiny_int4):  # noqa: F811
    data = (tiny_int4.package / "model.pte").read_bytes()
    for name, content in (("empty", b""), ("text", b"no program at all" * 99), ("cut", data[: len(data) // 2])):
        (tmp_path / name).write_bytes(content)
        done = run(program, "generate", tmp_path / name, "--ids", "1", code=1)
        assert str(tmp_path / name) in done.stderr
        assert done.stderr.startswith("pocketlm-runner: ")
    done = run(program, "generate", tiny_int4.package, "--ids", "320", code=1)
    assert "token id 320 is not in the vocabulary; ids go from 0 to 319" in done.stderr


def test_a_missing_operator_is_named(program, tmp_path, tiny_int4):  # noqa: F811
    data = (tiny_int4.package / "model.pte").read_bytes()
    (tmp_path / "model.pte").write_bytes(data.replace(b"llama::custom_quantized_sdpa", b"llama::custom_quantized_XXXX"))
    done = run(program, "generate", tmp_path / "model.pte", "--ids", "1", code=1)
    assert "uses operators that this runner does not have (error 20): llama::custom_quantized_XXXX" in done.stderr
