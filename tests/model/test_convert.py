"""`convert`: what arrives is what was there, bit for bit, and a bad source leaves one clear line and nothing else."""

import collections
import errno
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.checkpoint import load_model, open_tensors, read_info
from model.checkpoint_info import CheckpointInfo
from model.config import PRESETS, ModelConfig
from model.convert import convert
from model.errors import EnvironmentFault
from model.tensor_files import TensorReader, check_finite

CONFIG: dict[str, Any] = {
    "architectures": ["MobileLLMP1ForCausalLM"],
    "model_type": "llama4_text",
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 64,
    "layer_types": ["sliding_attention", "full_attention"],
    "sliding_window": 8,
    "tie_word_embeddings": True,
}
Q0 = "model.layers.0.self_attn.q_proj.weight"


def weights(prefix: str = "model.", block: str = "feed_forward") -> dict[str, Tensor]:
    shapes = {"embed_tokens": (40, 32), "norm": (32,)}
    for i in range(2):
        shapes |= {
            f"layers.{i}.input_layernorm": (32,),
            f"layers.{i}.post_attention_layernorm": (32,),
            f"layers.{i}.self_attn.q_proj": (32, 32),
            f"layers.{i}.self_attn.k_proj": (16, 32),
            f"layers.{i}.self_attn.v_proj": (16, 32),
            f"layers.{i}.self_attn.o_proj": (32, 32),
            f"layers.{i}.{block}.gate_proj": (48, 32),
            f"layers.{i}.{block}.up_proj": (48, 32),
            f"layers.{i}.{block}.down_proj": (32, 48),
        }
    generator = torch.Generator().manual_seed(1)
    return {
        f"{prefix}{name}.weight": torch.randn(shape, generator=generator).to(torch.bfloat16)
        for name, shape in shapes.items()
    }


def write_source(folder: Path, tensors: dict[str, Tensor], config: dict[str, Any] = CONFIG) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path / "hf", weights())


def refused(source: Path, message: str) -> None:
    """The conversion fails with one line that matches, and leaves nothing behind."""
    before = set(source.parent.iterdir())
    with pytest.raises(ValueError, match=message) as caught:
        convert(source, source.parent / "out")
    assert "\n" not in str(caught.value)
    assert set(source.parent.iterdir()) == before


def test_every_tensor_arrives_under_our_name_with_its_type_and_its_bits(source, tmp_path):
    info = convert(source, tmp_path / "out")
    reader = open_tensors(tmp_path / "out")
    theirs = weights()
    assert len(reader.names) == len(theirs)
    assert reader.get("embedding.weight").dtype == torch.bfloat16
    for ours, name in (
        ("embedding.weight", "model.embed_tokens.weight"),
        ("layers.0.attention.q_proj.weight", Q0),
        ("layers.1.feed_forward.down_proj.weight", "model.layers.1.feed_forward.down_proj.weight"),
    ):
        assert torch.equal(reader.get(ours), theirs[name])
    assert info == read_info(tmp_path / "out")
    assert (info.family, info.preset, info.learned_scales) == ("llama4_text", None, False)
    assert info.config.global_layers == (1,)
    model = load_model(tmp_path / "out")
    assert model.head.weight is model.embedding.weight
    assert model.embedding.weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("prefix", "block"),
    [("", "feed_forward"), ("language_model.model.", "mlp"), ("language_model.", "mlp"), ("model.", "mlp")],
)
def test_prefixes_and_block_names_are_read_leniently(source, tmp_path, prefix, block):
    convert(source, tmp_path / "plain")
    convert(write_source(tmp_path / "other", weights(prefix=prefix, block=block)), tmp_path / "out")
    plain, other = ((tmp_path / out / "model.safetensors").read_bytes() for out in ("plain", "out"))
    assert plain == other


def sharded(folder: Path) -> None:
    tensors = list(weights().items())
    halves = {f"model-{i}.safetensors": dict(tensors[i::2]) for i in range(2)}
    for name, half in halves.items():
        save_file(half, folder / name)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {name: shard for shard, half in halves.items() for name in half}})
    )


@pytest.mark.parametrize(
    "rewrite", [sharded, lambda folder: torch.save(collections.OrderedDict(weights()), folder / "pytorch_model.bin")]
)
def test_shards_and_legacy_files_give_the_same_weights_as_one_safetensors(source, tmp_path, rewrite):
    convert(source, tmp_path / "one")
    (source / "model.safetensors").unlink()
    rewrite(source)
    convert(source, tmp_path / "other")
    one, other = ((tmp_path / out / "model.safetensors").read_bytes() for out in ("one", "other"))
    assert one == other


def test_the_hash_names_the_contents_and_not_the_place(source, tmp_path):
    first = convert(source, tmp_path / "a")
    moved = shutil.copytree(source, tmp_path / "somewhere" / "else")
    second = convert(moved, tmp_path / "b")
    assert first.source_sha256 == second.source_sha256
    for file in ("model.safetensors", "checkpoint.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    changed = weights()
    changed[Q0][0, 0] += 1
    assert convert(write_source(tmp_path / "c", changed), tmp_path / "d").source_sha256 != first.source_sha256
    renamed = write_source(tmp_path / "e", weights(), CONFIG | {"sliding_window": 9})
    assert convert(renamed, tmp_path / "f").source_sha256 != first.source_sha256


def test_licences_and_notices_travel_along_in_any_spelling(source, tmp_path):
    names = ["LICENSE", "License.txt", "NOTICE.md", "USE_POLICY.md", "licence-weights"]
    for name in names:
        (source / name).write_text(name)
    (source / "README.md").write_text("not one")
    info = convert(source, tmp_path / "out")
    assert info.licences == tuple(sorted(names))
    assert all((tmp_path / "out" / name).read_text() == name for name in names)
    assert not (tmp_path / "out" / "README.md").exists()


def test_a_shape_that_equals_a_preset_gets_its_name(monkeypatch, source, tmp_path):
    unnamed = convert(source, tmp_path / "a")
    monkeypatch.setitem(PRESETS, "tiny", unnamed.config)
    assert convert(source, tmp_path / "b").preset == "tiny"


def test_an_untied_output_table_is_a_tensor_of_its_own(tmp_path):
    tensors = weights() | {"lm_head.weight": torch.randn(40, 32).to(torch.bfloat16)}
    source = write_source(tmp_path / "hf", tensors, CONFIG | {"tie_word_embeddings": False})
    assert not convert(source, tmp_path / "out").config.tied
    assert torch.equal(open_tensors(tmp_path / "out").get("head.weight"), tensors["lm_head.weight"])


def test_a_tied_model_may_carry_its_table_twice_only_if_both_are_equal(source, tmp_path):
    tensors = weights()
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    convert(write_source(source, tensors), tmp_path / "same")
    assert "head.weight" not in open_tensors(tmp_path / "same").names
    tensors["lm_head.weight"][3, 3] += 1
    write_source(source, tensors)
    shutil.rmtree(tmp_path / "same")
    refused(source, "ties the tables, but 'lm_head.weight' differs from the embedding; set tie_word_embeddings")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].float()
    write_source(source, tensors)
    refused(source, "'lm_head.weight' differs")


def test_buffers_that_carry_nothing_are_left_out_with_a_line(source, tmp_path, caplog):
    names = ("model.rotary_emb.inv_freq", "model.layers.0.self_attn.rotary_emb.inv_freq")
    buffers = {name: torch.ones(8) for name in names}
    with caplog.at_level(logging.INFO, "pocketlm"):
        convert(write_source(source, weights() | buffers), tmp_path / "out")
    assert "left out 2 tensors that carry nothing (model.layers.0.self_attn.rotary_emb.inv_freq" in caplog.text
    assert len(open_tensors(tmp_path / "out").names) == len(weights())


def scales(names: list[str], columns: int = 1) -> dict[str, Tensor]:
    shape = {name: len(tensor) for name, tensor in weights().items()}
    return {f"{name}_fake_quantizer.scale": torch.rand(shape[name], columns) + 0.01 for name in names}


PROJECTIONS = [name for name in weights() if "_proj" in name]
TABLE = "model.embed_tokens.weight"


def test_learned_scales_are_kept_beside_their_matrices(source, tmp_path):
    learned = scales([*PROJECTIONS, TABLE])
    learned[f"{Q0}_fake_quantizer.scale"] = learned[f"{Q0}_fake_quantizer.scale"].flatten()
    zero = {f"{Q0}_fake_quantizer.zero_point": torch.zeros(32, 1)}
    info = convert(write_source(source, weights() | learned | zero), tmp_path / "out")
    reader = open_tensors(tmp_path / "out")
    assert info.learned_scales
    assert len([name for name in reader.names if name.endswith(".weight_scale")]) == len(learned) == 15
    assert torch.equal(reader.get("embedding.weight_scale"), learned[f"{TABLE}_fake_quantizer.scale"])
    assert torch.equal(
        reader.get("layers.0.attention.q_proj.weight_scale").flatten(), learned[f"{Q0}_fake_quantizer.scale"]
    )
    assert reader.shape("layers.0.attention.q_proj.weight_scale") == (32, 1)
    load_model(tmp_path / "out")


def test_a_tied_table_with_two_learned_grids_becomes_two_tables(source, tmp_path):
    head = "lm_head.weight_fake_quantizer.scale"
    learned = scales([*PROJECTIONS, TABLE])
    learned[head] = learned[f"{TABLE}_fake_quantizer.scale"].clone()
    assert convert(write_source(source, weights() | learned), tmp_path / "same").config.tied
    assert "head.weight_scale" not in open_tensors(tmp_path / "same").names
    learned[head] *= 2
    info = convert(write_source(source, weights() | learned), tmp_path / "two")
    reader = open_tensors(tmp_path / "two")
    assert not info.config.tied
    assert torch.equal(reader.get("head.weight"), reader.get("embedding.weight"))
    assert torch.equal(reader.get("head.weight_scale"), learned[head])
    assert load_model(tmp_path / "two").head.weight.shape == (40, 32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop(f"{Q0}_fake_quantizer.scale"), "not for every projection; missing: layers.0.attention.q_proj"),
        (lambda s: s.update({f"{Q0}_fake_quantizer.scale": torch.ones(16, 1)}), r"have the shape \[16, 1\]"),
        (lambda s: s.update({f"{Q0}_fake_quantizer.scale": torch.ones(32, 5)}), r"have the shape \[32, 5\]"),
        (lambda s: s.update({f"{Q0}_fake_quantizer.scale": torch.zeros(32, 1)}), "are not all positive"),
        (lambda s: s.update({f"{Q0}_fake_quantizer.zero_point": torch.ones(32, 1)}), "unexpected .*zero_point"),
        (lambda s: s.update({"model.norm.weight_fake_quantizer.scale": torch.ones(32, 1)}), "belong to no matrix"),
    ],
)
def test_learned_scales_that_do_not_fit_are_refused(source, change, message):
    learned = scales([*PROJECTIONS, TABLE])
    change(learned)
    refused(write_source(source, weights() | learned), message)


def without(name: str) -> Callable[[dict[str, Tensor]], object]:
    return lambda tensors: tensors.pop(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without(Q0), f"missing tensors: {Q0};"),
        (without("model.layers.1.feed_forward.up_proj.weight"), "missing tensors: model.layers.1.feed_forward.up_proj"),
        (
            lambda t: t.update({"model.layers.2.self_attn.q_proj.weight": torch.ones(32, 32)}),
            r"unexpected tensors: model\.layers\.2\.self_attn\.q_proj\.weight",
        ),
        (lambda t: t.update({"model.layers.0.self_attn.q_proj.bias": torch.ones(32)}), r"unexpected .*q_proj\.bias"),
        (
            lambda t: t.update({Q0: torch.ones(32, 31)}),
            rf"'{Q0}' has the shape \[32, 31\], its config asks for \[32, 32\]",
        ),
        (lambda t: t.update({"lm_head.weight": torch.ones(41, 32)}), r"'lm_head.weight' has the shape \[41, 32\]"),
        (lambda t: t.update({"model.layers.0.mlp.up_proj.weight": torch.ones(48, 32)}), "one tensor under two names"),
        (lambda t: t.update({Q0: torch.ones(32, 32, dtype=torch.int8)}), "has the type torch.int8; convert reads"),
        (
            lambda t: t.update({"model.layers.0.feed_forward.experts.gate_up_proj": torch.ones(2, 2, 2)}),
            "mixture-of-experts layers, which are not supported: .*experts.gate_up_proj",
        ),
        (lambda t: t[Q0].view(-1)[5:8].fill_(float("nan")), rf"'{Q0}' holds 3 NaN and 0 infinite values among 1024"),
        (lambda t: t[Q0].view(-1)[5].fill_(float("-inf")), rf"'{Q0}' holds 0 NaN and 1 infinite"),
    ],
)
def test_every_tensor_is_accounted_for_by_name(source, change, message):
    tensors = weights()
    change(tensors)
    refused(write_source(source, tensors), message)


def test_long_lists_of_names_are_shortened(source):
    refused(write_source(source, {TABLE: weights()[TABLE]}), "q_proj.weight, .* and 13 more; take config and weights")


def test_truncated_weights_and_an_unknown_family_leave_nothing_behind(source):
    path = source / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    refused(source, r"model\.safetensors is truncated")
    path.unlink()
    refused(source, "has no weights: expected model.safetensors")
    (source / "config.json").write_text(json.dumps(CONFIG | {"model_type": "gemma3"}))
    refused(source, "model_type 'gemma3' is not supported")


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_an_interrupted_conversion_leaves_nothing_behind(source, tmp_path, monkeypatch, failure):
    kept = tmp_path / "out"
    convert(source, kept)
    before = {path: path.read_bytes() for path in kept.iterdir()}
    seen: list[str] = []

    def stop_midway(name: str, tensor: Tensor, where: Path) -> None:
        seen.append(name)
        partial = next(tmp_path.glob(".out.partial-*"))
        assert (partial / "model.safetensors").is_file()  # writing has begun
        if len(seen) == 9:
            raise failure
        check_finite(name, tensor, where)

    monkeypatch.setattr("model.hf.check_finite", stop_midway)
    with pytest.raises(EnvironmentFault if isinstance(failure, OSError) else KeyboardInterrupt):
        convert(source, kept, overwrite=True)
    assert len(seen) == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hf", "out"]
    assert {path: path.read_bytes() for path in kept.iterdir()} == before


def test_an_output_that_exists_is_kept_unless_told_otherwise(source, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").touch()
    with pytest.raises(ValueError, match="exists already; pass --overwrite"):
        convert(source, tmp_path / "out")
    assert (tmp_path / "out" / "precious").exists()
    with pytest.raises(ValueError, match="holds precious, which pocketlm has not written"):
        convert(source, tmp_path / "out", overwrite=True)
    (tmp_path / "out" / "precious").unlink()
    convert(source, tmp_path / "out", overwrite=True)
    convert(source, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.parametrize("out", ["hf", "."])
def test_the_source_is_never_overwritten(source, tmp_path, out):
    with pytest.raises(ValueError, match="would destroy the input"):
        convert(source, tmp_path / out, overwrite=True)
    assert (source / "model.safetensors").exists()


def test_only_one_tensor_at_a_time_is_in_memory(source, tmp_path, monkeypatch):
    import weakref

    alive: list[weakref.ref[Tensor]] = []
    most = 0
    get = TensorReader.get

    def counting_get(self: TensorReader, name: str) -> Tensor:
        nonlocal most
        tensor = get(self, name)
        alive.append(weakref.ref(tensor))
        most = max(most, sum(ref() is not None for ref in alive))
        return tensor

    monkeypatch.setattr(TensorReader, "get", counting_get)
    convert(source, tmp_path / "out")
    assert len(alive) == len(weights())
    assert most <= 2  # the one being written and the next


def test_the_tokenizer_and_its_template_come_along(tmp_path):
    from model.byte_tokenizer import write_byte_tokenizer

    tensors = weights() | {TABLE: torch.randn(600, 32).to(torch.bfloat16)}
    source = write_source(tmp_path / "hf", tensors, CONFIG | {"vocab_size": 600})
    write_byte_tokenizer(source, 600)
    info = convert(source, tmp_path / "out")
    assert info.tokenizer is not None
    assert info.tokenizer.file == "tokenizer.json"
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
    assert json.loads((tmp_path / "out" / "chat_template.json").read_text())["kind"] == "chat"


def test_a_vocabulary_smaller_than_the_tokenizer_is_refused(tmp_path):
    from model.byte_tokenizer import write_byte_tokenizer

    tensors = weights() | {TABLE: torch.randn(600, 32).to(torch.bfloat16)}
    source = write_source(tmp_path / "hf", tensors, CONFIG | {"vocab_size": 600})
    write_byte_tokenizer(source, 601)
    refused(source, r"60[01]")


def test_stories260k_converts(shared, tmp_path):
    source = shared / "checkpoints" / "stories260K"
    if not source.is_dir():
        pytest.skip("../shared is not here: checkpoints/stories260K is missing")
    info = convert(source, tmp_path / "out")
    assert isinstance(info, CheckpointInfo)
    assert info.config == ModelConfig(
        vocab_size=512,
        dim=64,
        num_layers=5,
        num_heads=8,
        num_kv_heads=4,
        head_dim=8,
        ffn_dim=172,
        global_layers=(0, 1, 2, 3, 4),
        sliding_window=512,
        max_context=512,
        rope_theta=10_000.0,
    )
    assert info.config.num_parameters == 260_032
    assert info.licences == ("LICENSE",)
    assert info.tokenizer is not None
    assert info.tokenizer.kind == "sentencepiece"
    theirs = load_file(source / "model.safetensors")
    assert torch.equal(open_tensors(tmp_path / "out").get("embedding.weight"), theirs["model.embed_tokens.weight"])
    assert load_model(tmp_path / "out")(torch.tensor([[1, 403]])).shape == (1, 2, 512)
