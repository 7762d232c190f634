"""generate and chat on CoreML packages through the command line: over the eager model, and over real programs."""

import dataclasses
import io
import json
import sys

import pytest

from chat.sampling import SeededSampler
from chat.template import CompletionOnly
from cli.main import main
from export import static_runner
from export.manifest_parts import Tokenizer
from export.package import Source, open_package, write_package
from export.static_runner import StaticRunner
from export.strict import read
from model.checkpoint import load_model, read_info
from model.tokenizer import TokenizerSpec, load_tokenizer
from tests.export.small_package import PROGRAM
from tests.export.static_standin import EagerProgram, static_manifest
from tests.packages import TINY, make_checkpoint

CONFIG = dataclasses.replace(TINY, sliding_window=8)
CONTEXT, CHUNK = 20, 4


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The package of a random model and, as a runner, the same model without a cache of its own."""
    make_checkpoint(CONFIG, tmp_path / "checkpoint")
    info = read_info(tmp_path / "checkpoint")
    tokenizer = tmp_path / "checkpoint" / info.tokenizer.file
    manifest = static_manifest(CONFIG, context=CONTEXT, chunk=CHUNK)
    manifest = dataclasses.replace(
        manifest,
        files=(),
        tokenizer=read(Tokenizer, info.tokenizer.to_json()),
        template=CompletionOnly(reason="a random model"),
        memory=dataclasses.replace(manifest.memory, program_bytes=len(PROGRAM)),
        golden=dataclasses.replace(
            manifest.golden,
            prompt=f"{info.tokenizer.bos_text}Once",
            prompt_ids=(97,),
            ids=(98,) * 16,
            margins=(0.0,) * 16,
            compared=0,
        ),
    )
    files = {
        "model.pte": Source(role="program", content=PROGRAM),
        tokenizer.name: Source(role="tokenizer", content=tokenizer),
    }
    write_package(tmp_path / "package", manifest=manifest, files=files)
    model = load_model(tmp_path / "checkpoint").eval()
    monkeypatch.setattr(
        static_runner,
        "open_coreml_runner",
        lambda package: StaticRunner(EagerProgram(model, package.manifest), package.manifest),
    )
    return tmp_path / "package"


@pytest.fixture
def say(capfd):
    def run(*argv) -> tuple[int, str, str]:
        code = main([*map(str, argv)])
        out, err = capfd.readouterr()
        return code, out, err

    return run


def test_generate_says_that_it_is_a_simulation_and_streams(say, made):
    code, out, err = say("generate", made, "Once upon", "--max-new-tokens", 5)
    assert code == 0 and out.endswith("\n")
    first, figures = err.splitlines()
    assert first == (
        "Core ML runs on Apple's systems only: here the verifier executes the program in float16, which is slow"
    )
    assert "+ 5 tokens" in figures and figures.endswith("; simulated in float16]")


def test_a_seed_draws_what_the_app_s_own_sampler_draws(say, made):
    options = ("--max-new-tokens", 12, "--temperature", 2, "--top-p", 0.95, "--seed", 7, "--json")
    code, out, _ = say("generate", made, "f", *options)
    assert code == 0
    with open_package(made) as package:
        spec = TokenizerSpec.from_json(package.manifest.to_json()["tokenizer"])
        tokenizer = load_tokenizer(made, spec)
        runner = static_runner.open_coreml_runner(package)
        sampler = SeededSampler(temperature=2, top_p=0.95, seed=7)
        ids = list(runner.generate_ids(tokenizer.encode("f", first=True), 0, 12, sampler))
    stops = [i for i, token in enumerate(ids) if token in spec.stop_ids]
    data = b"".join(tokenizer.piece(token) for token in ids[: stops[0] if stops else None])
    assert json.loads(out)["text"] == data.decode(errors="replace")


def test_a_chat_goes_on_past_the_context(say, made, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hello\nAnd then?\n"))
    code, out, err = say("chat", made, "--max-new-tokens", 15)
    assert code == 0, err
    assert err.startswith("Core ML runs on Apple's systems only") and out


@pytest.mark.parametrize("runner", ["native", "cpp"])
@pytest.mark.parametrize("command", [["generate"], ["chat"]])
def test_another_runner_is_refused_with_a_sentence(say, made, runner, command, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hello\n"))
    code, out, err = say(*command, made, *(["x"] if command == ["generate"] else []), "--runner", runner)
    assert (code, out) == (2, "")
    assert f"--runner {runner} does not work with a package for coreml-ane: Core ML runs on Apple's systems only" in err


@pytest.mark.parametrize("name", ["tiny_gpu", "tiny_ane", "other_ane", "tiny_stateful"])
def test_generate_repeats_the_golden_prompt_of_a_real_program(say, name, request):
    package = request.getfixturevalue(name).package
    manifest = json.loads((package / "manifest.json").read_text())
    golden = manifest["golden"]
    assert golden["compared"] > 0
    prompt = golden["prompt"].removeprefix(manifest["tokenizer"]["bos_text"])
    code, out, err = say("generate", package, prompt, "--max-new-tokens", golden["compared"], "--json")
    assert code == 0, err
    result = json.loads(out)
    text = golden["text"].removesuffix("<|eot|>")  # a stop token is no part of a reply
    assert (result["prompt_tokens"], result["text"]) == (len(golden["prompt_ids"]), text)


def test_a_stateful_package_ends_with_a_sentence_and_not_with_an_error(say, tiny_stateful):
    code, out, err = say("generate", tiny_stateful.package, "x" * 60, "--max-new-tokens", 100, "--json")
    assert (code, json.loads(out)["end"]) == (0, "context"), err
    assert "limit of 96 tokens" in err


@pytest.mark.parametrize("name", ["tiny_gpu", "tiny_stateful"])
@pytest.mark.parametrize("command", ["bench", "profile"])
def test_what_cannot_be_timed_here_is_refused_with_what_can_be_done(say, name, command, request, tmp_path):
    package = request.getfixturevalue(name).package
    code, _, err = say(command, package, *(["-o", tmp_path / "p.html"] if command == "profile" else []))
    assert code == 1 and err.count("\n") == 1 and list(tmp_path.iterdir()) == []
    assert "Core ML runs on Apple's systems only; here generate, chat, evaluate and verify simulate it" in err
