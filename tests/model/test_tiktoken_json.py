"""A tiktoken file as a tokenizer.json: the ids are tiktoken's, in Python and in the phones' C++ reader."""

import dataclasses
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from model import tiktoken_file, tiktoken_json
from model.checkpoint import companions, float_shapes, random_checkpoint, read_info
from model.config import PRESETS
from model.convert import convert
from model.errors import GateError
from model.hf import their_name
from model.hf_config import parse_hf_config
from model.tiktoken_file import LLAMA3, LLAMA4, TiktokenVocabulary
from model.tiktoken_json import differences, recover_merges, spell, tokenizer_data, write_tokenizer_json
from model.tokenizer import load_tokenizer, read_tokenizer_spec
from model.tokenizer_parity import AGREEMENT_CORPUS, check_cpp_agreement
from model.tokenizer_readers import open_native
from tests.model.tiktoken_cases import RANKS, SAMPLES, adopt, reference, small, tiktoken_folder, write_json


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Callable[[TiktokenVocabulary], TiktokenVocabulary]:
    """Makes a vocabulary one that is recognised."""

    def make(vocabulary: TiktokenVocabulary) -> TiktokenVocabulary:
        monkeypatch.setattr(tiktoken_file, "VOCABULARIES", (vocabulary,))
        return vocabulary

    return make


@pytest.mark.parametrize("vocabulary", [LLAMA3, LLAMA4], ids=lambda v: v.name)
def test_a_folder_with_only_a_tiktoken_file_gets_a_tokenizer_that_both_readers_read_as_tiktoken_does(
    vocabulary: TiktokenVocabulary, known: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    vocabulary = known(small(vocabulary))
    source = tiktoken_folder(tmp_path / "source", RANKS)
    with caplog.at_level(logging.INFO, logger="pocketlm"):
        spec = adopt(source, tmp_path / "checkpoint", vocabulary.size)
    assert f"tokenizer.model: tiktoken ranks of {vocabulary.name}; made a tokenizer.json" in caplog.text
    assert (spec.file, spec.kind, spec.vocab_size) == ("tokenizer.json", "hf", vocabulary.size)
    assert (spec.bos_id, spec.num_bos, spec.bos_text) == (len(RANKS), 0, "<|begin_of_text|>")
    assert [t.text for t in spec.special_tokens] == list(vocabulary.special_tokens)
    ends = {"<|end_of_text|>", "<|eom_id|>", "<|eot_id|>", "<|eom|>", "<|eot|>"}
    assert {vocabulary.special_tokens[i - len(RANKS)] for i in spec.stop_ids} == ends & set(vocabulary.special_tokens)
    assert sorted(path.name for path in (tmp_path / "checkpoint").iterdir()) == [
        "chat_template.json",
        "tokenizer.json",
    ]
    assert check_cpp_agreement(tmp_path / "checkpoint", spec) == []
    theirs = reference(vocabulary, RANKS)
    ours = load_tokenizer(tmp_path / "checkpoint", spec)
    native = open_native(tmp_path / "checkpoint" / spec.file, spec.kind)
    chat = "".join(f"{special}user\n\n" for special in vocabulary.special_tokens[:12])
    for text in (*SAMPLES, *AGREEMENT_CORPUS.values(), chat):
        expected = theirs.encode(text, allowed_special="all")
        assert ours.encode(text, first=False) == native.encode(text, 0, 0) == expected
        assert ours.encode(text, first=True) == [len(RANKS), *expected]
        assert theirs.decode(expected) == ours.decode(expected) == text


def test_what_the_folder_says_about_its_tokenizer_counts(known: Any, tmp_path: Path) -> None:
    vocabulary = known(small(LLAMA3))
    eot = len(RANKS) + 9
    head = "'<|start_header_id|>' ~ {} ~ '<|end_header_id|>'"
    template = "{% for m in messages %}{{ " + head.format("m.role") + " ~ m.content ~ '<|stop|>' }}{% endfor %}"
    template += "{% if add_generation_prompt %}{{ " + head.format("'assistant'") + " }}{% endif %}"
    source = tiktoken_folder(
        tmp_path / "source",
        RANKS,
        tokenizer_config={
            "add_bos_token": False,
            "eos_token": "<|stop|>",
            "added_tokens_decoder": {str(eot): {"content": "<|stop|>"}},
            "chat_template": template,
        },
        generation_config={"eos_token_id": [5]},
    )
    spec = adopt(source, tmp_path / "checkpoint", vocabulary.size)
    assert (spec.bos_text, spec.num_bos) == ("", 0)
    assert {5, eot} <= set(spec.stop_ids)
    assert next(token.text for token in spec.special_tokens if token.id == eot) == "<|stop|>"
    assert json.loads((tmp_path / "checkpoint" / "chat_template.json").read_text())["end_of_turn"][0] == "<|stop|>"
    assert check_cpp_agreement(tmp_path / "checkpoint", spec) == []


def test_convert_reads_a_hugging_face_folder_whose_only_tokenizer_is_a_tiktoken_file(
    known: Any, tmp_path: Path
) -> None:
    settings = {
        "model_type": "llama",
        "vocab_size": known(small(LLAMA3)).size,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "tie_word_embeddings": True,
    }
    source = tiktoken_folder(tmp_path / "source", RANKS, config=settings)
    shapes = float_shapes(parse_hf_config(settings)[0])
    save_file({their_name(n, "llama"): torch.ones(s) for n, s in shapes.items()}, source / "model.safetensors")
    info = convert(source, tmp_path / "checkpoint")
    assert info.tokenizer is not None
    assert info.tokenizer.file == "tokenizer.json"
    assert {path.name for path in companions(tmp_path / "checkpoint", read_info(tmp_path / "checkpoint"))} == {
        "tokenizer.json",
        "chat_template.json",
    }
    assert not (tmp_path / "checkpoint" / "tokenizer.model").exists()


def test_a_tokenizer_json_beside_the_tiktoken_file_is_taken_as_it_is(tmp_path: Path) -> None:
    from model.byte_tokenizer import write_byte_tokenizer

    source = tiktoken_folder(tmp_path / "source", RANKS)
    write_byte_tokenizer(source, 300)
    adopt(source, tmp_path / "checkpoint", 300)
    assert (tmp_path / "checkpoint" / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()


def test_the_same_file_makes_the_same_bytes(known: Any, tmp_path: Path) -> None:
    vocabulary = known(small(LLAMA4))
    source = tiktoken_folder(tmp_path / "source", RANKS)
    for name in ("a.json", "b.json"):
        write_tokenizer_json(source / "tokenizer.model", tmp_path / name, vocab_size=vocabulary.size)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_vocabulary_larger_than_the_models_is_refused(known: Any, tmp_path: Path) -> None:
    vocabulary = known(small(LLAMA4))
    source = tiktoken_folder(tmp_path / "source", RANKS)
    with pytest.raises(
        ValueError, match=rf"Llama 4's with {vocabulary.size:,} ids, but .* {vocabulary.size - 1:,} ent"
    ):
        adopt(source, tmp_path / "checkpoint", vocabulary.size - 1)


def test_read_tokenizer_spec_says_what_to_do_with_a_tiktoken_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tiktoken ranks.*pocketlm convert"):
        read_tokenizer_spec(tiktoken_folder(tmp_path, RANKS), vocab_size=10_000)


# Merging, for ranks of any kind: trained ones, ones that merging does not reach, ones whose parts rank higher.
ALPHABET = b"abc"
tokens_of_any_kind = st.lists(
    st.lists(st.sampled_from(ALPHABET), min_size=2, max_size=6).map(bytes), unique=True, max_size=40
)


@settings(max_examples=150)
@given(
    tokens=tokens_of_any_kind, pieces=st.lists(st.lists(st.sampled_from(ALPHABET), min_size=1, max_size=24).map(bytes))
)
def test_one_merge_a_token_merges_every_piece_as_tiktoken_does(tokens: list[bytes], pieces: list[bytes]) -> None:
    import tiktoken
    from tokenizers import Tokenizer

    table = [bytes([byte]) for byte in range(256)] + tokens
    merges = recover_merges(table)
    ours = Tokenizer.from_str(json.dumps(tokenizer_data(table, merges, r"[\s\S]+", ["<|begin|>"]))).model
    theirs = tiktoken.Encoding(
        name="any", pat_str=r"[\s\S]+", mergeable_ranks={t: r for r, t in enumerate(table)}, special_tokens={}
    )
    for piece in (*pieces, *tokens):
        assert [token.id for token in ours.tokenize(spell(piece))] == theirs._encode_single_piece(piece), piece


def test_a_token_that_merging_does_not_reach_has_no_merge_and_is_found_as_a_whole_piece() -> None:
    table = [bytes([byte]) for byte in range(256)] + [b"bc", b"abc", b"xyz"]
    merges = recover_merges(table)
    assert merges[256:] == [(98, 99), (97, 256), None]
    # b"ab" + b"c" would need b"ab"; "abcd" ends with "bc" first.
    assert recover_merges([*table, b"ab"])[257:] == [(97, 256), None, (97, 98)]


def test_parts_of_characters_are_spelled_and_come_back() -> None:
    data = tokenizer_data([bytes([b]) for b in range(256)] + [b"\xe6\xbc"], [None] * 256 + [(0xE6, 0xBC)], "x", ["<s>"])
    assert data["model"]["vocab"][spell(b"\xe6\xbc")] == 256
    assert data["model"]["merges"] == [f"{spell(bytes([0xE6]))} {spell(bytes([0xBC]))}"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data["model"]["merges"].pop(300), "the merges of token"),
        (lambda data: data["model"].update(merges=data["model"]["merges"][::-1]), "the merges of token"),
        (lambda data: data["pre_tokenizer"]["pretokenizers"].pop(0), "digits"),
        (lambda data: data["added_tokens"].pop(), "special tokens"),
        (lambda data: data.update(normalizer={"type": "NFC"}), "combining marks"),
    ],
    ids=["a merge lost", "another order", "no pattern", "a special token lost", "a normalizer"],
)
def test_a_tokenizer_json_that_reads_otherwise_is_noticed(change: Any, words: str, tmp_path: Path) -> None:
    vocabulary, merges = small(LLAMA3), recover_merges(RANKS)
    data = tokenizer_data(RANKS, merges, vocabulary.split_pattern, vocabulary.special_tokens)
    arguments = (RANKS, merges, vocabulary, vocabulary.special_tokens)
    assert differences(write_json(tmp_path / "good.json", data), *arguments) == []
    change(data)
    found = differences(write_json(tmp_path / "bad.json", data), *arguments)
    assert any(words in line for line in found), found
    assert len(found) <= 6


def test_a_difference_stops_the_conversion_and_leaves_nothing(
    known: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(PRESETS["nano"], vocab_size=known(small(LLAMA3)).size)
    source = tiktoken_folder(tmp_path / "source", RANKS)
    monkeypatch.setattr(tiktoken_json, "recover_merges", lambda tokens: recover_merges(tokens)[:-40] + [None] * 40)
    with pytest.raises(GateError, match=r"reads otherwise than tiktoken: .*report this"):
        random_checkpoint(config, tmp_path / "checkpoint", seed=0, tokenizer=source)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
