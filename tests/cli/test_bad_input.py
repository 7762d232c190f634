"""Bad input through the command line: one clear line, the documented exit code, nothing half-written.

What is refused, and why, is tested closer to the code; here it is the whole way from argv to the exit code.
"""

import contextlib
import json
import re
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cli.main import main
from model.byte_tokenizer import write_byte_tokenizer

WEIGHTS = "model.safetensors"
UP = "model.layers.0.mlp.up_proj.weight"
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 288,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
}


@pytest.fixture
def hf(tmp_path) -> Path:
    """A tiny Llama as Hugging Face has them."""
    folder = tmp_path / "hf"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    shapes = {"self_attn.q_proj": (32, 32), "self_attn.k_proj": (16, 32), "self_attn.v_proj": (16, 32)}
    shapes |= {"self_attn.o_proj": (32, 32), "input_layernorm": (32,), "post_attention_layernorm": (32,)}
    shapes |= {"mlp.gate_proj": (64, 32), "mlp.up_proj": (64, 32), "mlp.down_proj": (32, 64)}
    tensors = {f"model.layers.0.{name}.weight": torch.ones(shape) for name, shape in shapes.items()}
    tensors |= {"model.embed_tokens.weight": torch.ones(288, 32), "model.norm.weight": torch.ones(32)}
    save_file(tensors, folder / WEIGHTS)
    write_byte_tokenizer(folder, 288)
    return folder


@pytest.fixture
def refused(tmp_path, capfd) -> Callable[..., str]:
    """Runs a command line that must fail cleanly; gives the one line that it says."""

    def run(*argv: object, code: int = 1) -> str:
        before = sorted(tmp_path.rglob("*"))
        assert main([*map(str, argv)]) == code
        out, err = capfd.readouterr()
        assert out == ""
        assert err.count("pocketlm: error: ") == 1 and "Traceback" not in err
        line = err.splitlines()[-1]
        assert line.startswith("pocketlm: error: ") and re.search(r"[;:] \S", line.removeprefix("pocketlm: error: "))
        assert sorted(tmp_path.rglob("*")) == before  # hidden files included
        return line

    return run


def change_config(**changes: object) -> Callable[[Path], None]:
    return lambda folder: (folder / "config.json").write_text(json.dumps(CONFIG | changes)) and None


def change_tensor(name: str, value: float) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        tensors[name].view(-1)[7] = value
        save_file(tensors, folder / WEIGHTS)

    return change


def cut(name: str, size: int) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size]) and None


def flip(name: str, at: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[at] ^= 0xFF
        (folder / name).write_bytes(data)

    return change


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / WEIGHTS).unlink(), ["hf has no weights", "expected model.safetensors", "download"]),
        (cut(WEIGHTS, 0), [f"hf/{WEIGHTS} is truncated", "download it again"]),
        (cut(WEIGHTS, 9_999), [f"hf/{WEIGHTS} is truncated: 9999 bytes instead of", "download it again"]),
        (flip(WEIGHTS, 7), [f"hf/{WEIGHTS} is not a safetensors file or has a corrupt header", "download it again"]),
        (flip(WEIGHTS, 9), [f"hf/{WEIGHTS} has a corrupt header", "download it again"]),
        (lambda folder: (folder / "config.json").unlink(), ["hf has no config.json", "give a Hugging Face folder"]),
        (cut("config.json", 40), ["hf/config.json is not valid JSON"]),
        (change_config(model_type="gemma3"), ["hf/config.json: model_type 'gemma3' is not supported", "known: llama4"]),
        (
            change_config(num_hidden_layers=2),
            ["hf/model.safetensors", "missing tensors: model.layers.1.input_layernorm"],
        ),
        (change_config(num_hidden_layers=0), ["hf/config.json: num_hidden_layers is 0"]),
        (
            lambda folder: write_byte_tokenizer(folder, 300),
            ["hf/tokenizer.json has ids up to 299", "vocabulary has 288 entries", "take the tokenizer that belongs"],
        ),
        (cut("tokenizer.json", 500), ["hf/tokenizer.json"]),
        (change_tensor(UP, float("nan")), [f"hf/{WEIGHTS}", f"'{UP}' holds 1 NaN", "use another checkpoint"]),
        (change_tensor(UP, float("-inf")), [f"hf/{WEIGHTS}", f"'{UP}' holds 0 NaN and 1 infinite"]),
    ],
)
def test_convert_refuses_a_damaged_source_and_says_what_where_and_what_to_do(hf, tmp_path, refused, damage, words):
    damage(hf)
    line = refused("convert", hf, tmp_path / "new" / "out")
    assert str(hf) in line
    for word in words:
        assert word in line


def test_a_source_that_is_no_folder_of_a_model_is_refused(hf, tmp_path, refused):
    assert "does not exist" in refused("convert", tmp_path / "nowhere", tmp_path / "out")
    assert "hf download meta-llama/Llama-3.2-1B" in refused("convert", "meta-llama/Llama-3.2-1B", tmp_path / "out")
    assert "is a file" in refused("convert", hf / WEIGHTS, tmp_path / "out")
    assert "did you mean 'nano'" in refused("convert", "--preset", "nanu", tmp_path / "out")


@pytest.fixture
def checkpoint(hf, tmp_path, capfd) -> Path:
    assert main(["convert", str(hf), str(tmp_path / "checkpoint")]) == 0
    capfd.readouterr()
    return tmp_path / "checkpoint"


@pytest.mark.parametrize("size", [0, -32, 33, 4096])
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_an_impossible_group_size_is_refused_with_the_possible_ones(checkpoint, tmp_path, refused, size, more):
    line = refused("quantize", checkpoint, tmp_path / "out", "--group-size", size, *more)
    assert f"impossible group size {size}" in line
    assert "multiples of 32 (32, 64" in line or "give a smaller one" in line


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            change_tensor("layers.0.feed_forward.up_proj.weight", float("inf")),
            ["up_proj.weight' holds 0 NaN and 1 inf"],
        ),
        (cut(WEIGHTS, 20_000), [f"{WEIGHTS} is truncated: 20000 bytes"]),
        (lambda folder: (folder / WEIGHTS).unlink(), [f"{WEIGHTS} is missing", "copy or make"]),
        (lambda folder: (folder / "checkpoint.json").unlink(), ["checkpoint.json is missing", "`pocketlm convert`"]),
        (lambda folder: (folder / "tokenizer.json").unlink(), ["tokenizer.json is missing", "convert it again"]),
        (lambda folder: (folder / "chat_template.json").unlink(), ["chat_template.json is missing"]),
    ],
)
def test_quantize_refuses_a_damaged_checkpoint(checkpoint, tmp_path, refused, damage, words):
    damage(checkpoint)
    line = refused("quantize", checkpoint, tmp_path / "out")
    for word in [str(checkpoint), *words]:
        assert word in line


def spoil_scale(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors["layers.0.feed_forward.up_proj.scales"].view(-1)[0] = float("nan")
    save_file(tensors, folder / WEIGHTS)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (spoil_scale, ["layers.0.feed_forward.up_proj: scales must be positive and finite", "quantize again"]),
        (cut(WEIGHTS, 20_000), [f"{WEIGHTS} is truncated: 20000 bytes"]),
        (lambda folder: (folder / "tokenizer.json").unlink(), ["tokenizer.json is missing"]),
        (cut("tokenizer.json", 500), ["tokenizer.json"]),
    ],
)
def test_export_refuses_a_damaged_checkpoint_before_it_lowers(tiny_int4, tmp_path, refused, monkeypatch, damage, words):
    monkeypatch.setattr("export.export_xnnpack.lower", lambda *_: pytest.fail("it lowers a damaged checkpoint"))
    damage(Path(shutil.copytree(tiny_int4.checkpoint, tmp_path / "quantized")))
    line = refused("export", tmp_path / "quantized", tmp_path / "new" / "out")
    for word in words:
        assert word in line


def test_export_refuses_what_it_cannot_make_before_it_lowers(checkpoint, tiny_int4, tmp_path, refused, monkeypatch):
    monkeypatch.setattr("export.export_xnnpack.lower", lambda *_: pytest.fail("it lowers"))
    out = tmp_path / "out"
    assert "is not quantized; run `pocketlm quantize`" in refused("export", checkpoint, out)
    assert "unknown target 'xnpack'; did you mean 'xnnpack'?" in refused(
        "export", tiny_int4.checkpoint, out, "--target", "xnpack"
    )
    too_narrow = ("--max-context", 8, "--prefill-chunk", 16)
    assert "context" in refused("export", tiny_int4.checkpoint, out, *too_narrow)


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("place", ["hf", ".", "hf/inside"])
def test_the_input_and_what_is_around_it_is_never_replaced(checkpoint, tmp_path, refused, kind, place):
    before = (checkpoint / WEIGHTS).read_bytes()
    source = tmp_path / "hf"
    for command in (["convert", source], ["convert", source, "--dry-run"]):
        line = refused(*command, tmp_path / place, "--overwrite")
        assert "would destroy the input" in line or "lies inside the input" in line
    place = place.replace("hf", "checkpoint")
    for command in (["quantize", checkpoint], ["quantize", checkpoint, "--dry-run"]):
        line = refused(*command, tmp_path / place, "--overwrite")
        assert "would destroy the input" in line or "lies inside the input" in line
    assert (checkpoint / WEIGHTS).read_bytes() == before


def test_overwrite_never_replaces_somebody_elses_folder(hf, tmp_path, refused):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    line = refused("convert", hf, tmp_path / "thesis", "--overwrite")
    assert "holds chapter1.tex, which pocketlm has not written" in line


@contextlib.contextmanager
def files_of_at_most(num_bytes: int):
    """A disk that fills up while a file is written, without root: the system cuts the write and reports it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_half_way_leaves_the_old_output_whole(hf, checkpoint, tmp_path, refused, capfd):
    quantized = tmp_path / "quantized"
    assert main(["quantize", str(checkpoint), str(quantized)]) == 0
    capfd.readouterr()
    for source, out, command in ((hf, checkpoint, "convert"), (checkpoint, quantized, "quantize")):
        before = {path: path.read_bytes() for path in out.iterdir()}
        with files_of_at_most(12_000):
            line = refused(command, source, out, "--overwrite", code=4)
        assert f"cannot write {out}" in line and "choose another" in line
        assert {path: path.read_bytes() for path in out.iterdir()} == before
        with files_of_at_most(12_000):
            refused(command, source, tmp_path / "new" / "out", code=4)


@pytest.mark.parametrize("options", [[], ["--zip"]])
def test_an_export_that_cannot_be_written_leaves_the_old_package_whole(
    tiny_int4, tmp_path, refused, monkeypatch, options
):
    program = (tiny_int4.package / "model.pte").read_bytes()
    monkeypatch.setattr("export.export._lower_to", lambda path, *_: path.write_bytes(program))
    out = Path(shutil.copytree(tiny_int4.package, tmp_path / "old"))
    argv = ["export", tiny_int4.checkpoint, out, "--max-context", 241, "--prefill-chunk", 16, "--overwrite", *options]
    before = {path: path.read_bytes() for path in out.iterdir()}
    with files_of_at_most(100_000):
        line = refused(*argv, code=4)
    assert f"cannot write {out}" in line
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_a_full_disk_is_named_with_the_output(hf, tmp_path, refused, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("model.checkpoint.write_checkpoint", full)
    monkeypatch.setattr("model.convert.write_checkpoint", full)
    for source in ([hf], ["--preset", "nano"]):
        line = refused("convert", *source, tmp_path / "out", code=4)
        assert f"no space left on the disk while writing {tmp_path / 'out'}" in line and "free some space" in line


@pytest.mark.parametrize("command", [["inspect"], ["inspect", "--json"], ["generate", "--max-new-tokens", "4"]])
def test_a_result_that_cannot_be_printed_is_an_environment_fault(tiny_int4, monkeypatch, capfd, command):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", full)
        prompt = ["x"] if command[0] == "generate" else []
        assert main([command[0], str(tiny_int4.package), *prompt, *command[1:]]) == 4
        err = capfd.readouterr().err
        assert err.count("\n") == 1 and "No space left on device; free some space" in err
        with contextlib.suppress(OSError):
            full.close()


@pytest.mark.parametrize("name", ["model.pte", "manifest.json", "tokenizer.json"])
def test_one_file_of_a_package_is_sent_back_to_its_folder(tiny_int4, refused, name):
    line = refused("generate", tiny_int4.package / name, "x")
    assert f"{name} is not a package" in line


def test_a_checkpoint_is_no_package_and_a_package_is_no_checkpoint(tiny_int4, tmp_path, refused):
    assert f"make a package of it with `pocketlm export {tiny_int4.checkpoint}" in refused("chat", tiny_int4.checkpoint)
    for command in ("quantize", "export"):
        assert "give a folder that `pocketlm convert` made" in refused(command, tiny_int4.package, tmp_path / "out")


def test_a_cut_off_zip_is_refused(tiny_int4, tmp_path, refused):
    path = Path(shutil.make_archive(str(tmp_path / "package"), "zip", tiny_int4.package))
    path.write_bytes(path.read_bytes()[:-30])
    assert "damaged or cut-off zip" in refused("inspect", path, code=3)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not valid JSON"),
        ("[]", "must be a JSON object, not a list"),
        ('{"schema_version": 99}', "saved by a newer version"),
    ],
)
def test_a_saved_chat_that_is_none_is_refused_and_kept(tiny_int4, tmp_path, capfd, monkeypatch, content, words):
    file = tmp_path / "talk.json"
    file.write_text(content)
    assert main(["chat", str(tiny_int4.package), "--history", str(file)]) == 1
    err = capfd.readouterr().err
    assert str(file) in err and words in err
    assert file.read_text() == content
