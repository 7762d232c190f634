"""inspect, generate, chat and the dry run of export on real packages, through the command line."""

import io
import json
import shutil
import sys
from pathlib import Path

import pytest

from cli.main import main


@pytest.fixture
def say(capfd):
    """Runs a command line; gives its exit code, stdout and stderr."""

    def run(*argv) -> tuple[int, str, str]:
        code = main([*map(str, argv)])
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture
def copied(tiny_int4, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_int4.package, tmp_path / "package"))


def typed(monkeypatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_inspect_lists_every_layer_and_strict_passes(say, tiny_int4):
    code, out, err = say("inspect", tiny_int4.package, "--strict", "--json")
    report = json.loads(out)
    assert (code, err, report["problems"]) == (0, "", [])
    assert len(report["layers"]) == 2 * 7 + 2  # the tied table is listed for both its uses
    assert report["cache_bytes"] == json.loads((tiny_int4.package / "manifest.json").read_text())["cache"]["bytes"]


def test_what_strict_refuses_is_exit_code_3_after_the_whole_report(say, tiny_float):
    plain, out, _ = say("inspect", tiny_float.package)
    assert plain == 0 and "operators" in out
    strict, strict_out, err = say("inspect", tiny_float.package, "--strict")
    assert (strict, strict_out) == (3, out)
    assert err.startswith("pocketlm: error: ") and err.count("\n") == 1 and "float" in err


@pytest.mark.parametrize("command", [["inspect"], ["generate"], ["chat"]])
def test_a_flipped_byte_is_exit_code_3_and_names_the_file(say, copied, command, monkeypatch):
    typed(monkeypatch, "Hi\n")
    data = bytearray((copied / "model.pte").read_bytes())
    data[len(data) // 2] ^= 1
    (copied / "model.pte").write_bytes(data)
    code, out, err = say(*command, copied, *(["x"] if command == ["generate"] else []))
    assert (code, out) == (3, "") and err.count("\n") == 1 and "model.pte" in err and "damaged" in err


def test_a_missing_file_is_exit_code_3_and_names_it(say, copied):
    (copied / "tokenizer.json").unlink()
    code, _, err = say("inspect", copied)
    assert code == 3 and err.count("\n") == 1 and "tokenizer.json is missing" in err


def test_a_newer_schema_says_that_a_newer_pocketlm_is_needed(say, copied):
    manifest = json.loads((copied / "manifest.json").read_text())
    (copied / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 2}))
    code, _, err = say("generate", copied, "x")
    assert code == 1 and err.count("\n") == 1 and "newer pocketlm" in err


def test_generate_repeats_the_golden_prompt_through_python_and_the_phones_runner(say, tiny_int4):
    manifest = json.loads((tiny_int4.package / "manifest.json").read_text())
    golden = manifest["golden"]
    assert golden["compared"] > 0
    prompt = golden["prompt"].removeprefix(manifest["tokenizer"]["bos_text"])
    for runner in ("python", "native"):
        options = ("--max-new-tokens", golden["compared"], "--runner", runner, "--json")
        code, out, err = say("generate", tiny_int4.package, prompt, *options)
        assert code == 0, err
        result = json.loads(out)
        assert (result["prompt_tokens"], result["text"]) == (len(golden["prompt_ids"]), golden["text"])


def test_a_seed_makes_sampling_repeatable_and_another_one_differs(say, tiny_int4):
    options = ("--max-new-tokens", 32, "--temperature", 2, "--top-p", 1)
    unsure = "f"  # after most other letters the tiny model is sure, even at this temperature
    texts = [say("generate", tiny_int4.package, unsure, *options, "--seed", seed)[1] for seed in (7, 7, 8)]
    assert texts[0] == texts[1] != texts[2]


def test_a_chat_over_a_pipe_is_saved_and_goes_on(say, tiny_int4, tmp_path, monkeypatch):
    file = tmp_path / "talk.json"
    for _ in range(2):
        typed(monkeypatch, "Hello\n")
        code, out, err = say("chat", tiny_int4.package, "--history", file, "--max-new-tokens", 8)
        assert code == 0, err
        assert out.endswith("\n")
    messages = json.loads(file.read_text())["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2


def test_a_bounded_package_ends_with_a_sentence_and_not_with_an_error(say, tiny_bounded):
    for runner in ("python", "native"):
        code, out, err = say(
            "generate", tiny_bounded.package, "x" * 60, "--max-new-tokens", 100, "--runner", runner, "--json"
        )
        assert (code, json.loads(out)["end"]) == (0, "context"), err
        assert "limit of 96 tokens" in err
        code, _, err = say("generate", tiny_bounded.package, "x" * 200, "--runner", runner)
        assert code == 1 and err.count("\n") == 1 and "96" in err


def test_the_dry_run_of_export_foretells_the_package(say, tiny_int4, tmp_path):
    code, out, _ = say(
        "export",
        tiny_int4.checkpoint,
        tmp_path / "p",
        "--max-context",
        241,
        "--prefill-chunk",
        16,
        "--dry-run",
        "--json",
    )
    plan, manifest = json.loads(out)["packages"][0], json.loads((tiny_int4.package / "manifest.json").read_text())
    assert code == 0 and list(tmp_path.iterdir()) == []
    assert plan["cache_bytes"] == manifest["cache"]["bytes"]
    assert (plan["context"], plan["chunk"]) == (manifest["context"], manifest["chunk"])
    assert sorted(plan["files"]) == sorted(["manifest.json", *(file["path"] for file in manifest["files"])])
    assert plan["weight_bytes"] <= manifest["memory"]["program_bytes"] * 1.1


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--target", "xnpack"], "xnnpack"),
        (["--prefill-chunk", "241", "--max-context", "241"], "--prefill-chunk"),
    ],
)
def test_export_refuses_what_cannot_be_in_one_line_and_writes_nothing(say, tiny_int4, tmp_path, options, word):
    for dry_run in ([], ["--dry-run"]):
        code, _, err = say("export", tiny_int4.checkpoint, tmp_path / "p", *options, *dry_run)
        assert code == 1 and err.count("\n") == 1 and word in err
        assert list(tmp_path.iterdir()) == []
