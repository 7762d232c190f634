"""The real Llama 4 file as a tokenizer.json, against tiktoken; and why the phones' tiktoken reader will not do."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.tiktoken_file import LLAMA3, LLAMA4, TiktokenVocabulary, read_ranks
from model.tiktoken_json import recover_merges, spell, tokenizer_data
from model.tokenizer import TokenizerSpec, load_tokenizer
from model.tokenizer_parity import AGREEMENT_CORPUS, check_cpp_agreement
from model.tokenizer_readers import open_hf, open_native
from tests.model.tiktoken_cases import RANKS, SAMPLES, adopt, reference, small, tiktoken_folder, write_json


@pytest.fixture(scope="module")
def llama4(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TokenizerSpec, Any]:
    """The real file's checkpoint folder, its spec, and tiktoken itself."""
    source = shared / "tokenizers" / "llama4"
    folder = tmp_path_factory.mktemp("llama4") / "checkpoint"
    spec = adopt(source, folder, LLAMA4.size)
    return folder, spec, reference(LLAMA4, read_ranks(source / "tokenizer.model"))


def test_the_real_llama_4_file_becomes_a_tokenizer_json_of_202048_ids(llama4: Any) -> None:
    folder, spec, _ = llama4
    assert (spec.vocab_size, spec.bos_id, spec.bos_text) == (202_048, 200_000, "<|begin_of_text|>")
    assert spec.stop_ids == (200_001, 200_007, 200_008)
    assert (folder / "tokenizer.json").stat().st_size < 7_500_000


def test_real_texts_have_tiktokens_ids_in_python_and_on_phones(llama4: Any, shared: Path) -> None:
    folder, spec, theirs = llama4
    ours, native = load_tokenizer(folder, spec), open_native(folder / spec.file, spec.kind)
    texts = [*SAMPLES, *AGREEMENT_CORPUS.values()]
    for name in ("wikitext-2-test.txt", "tinystories/valid.txt"):
        text = (shared / "text" / name).read_text(encoding="utf-8")
        texts += [text[i : i + 4000] for i in range(0, 200_000, 4000)]
    texts += [Path(random.__file__).read_text(encoding="utf-8"), "".join(LLAMA4.special_tokens)]
    for text in texts:
        expected = theirs.encode(text, allowed_special="all")
        assert ours.encode(text, first=False) == expected, text[:80]
        assert native.encode(text, 0, 0) == expected, text[:80]
        assert ours.decode(expected) == text


def test_random_bytes_and_joined_tokens_merge_as_tiktoken_does(llama4: Any) -> None:
    folder, spec, theirs = llama4
    model = open_hf(folder / spec.file).model
    draw = random.Random(5)
    for _ in range(1500):
        joined = b"".join(theirs.decode_single_token_bytes(draw.randrange(200_000)) for _ in range(draw.randint(1, 4)))
        for piece in (joined, draw.randbytes(draw.randint(1, 20)), joined[draw.randrange(len(joined)) :]):
            assert [t.id for t in model.tokenize(spell(piece))] == theirs._encode_single_piece(piece), piece


@pytest.fixture(scope="module")
def python_reader(llama4: Any) -> Any:
    folder, spec, _ = llama4
    return open_hf(folder / spec.file)


@given(text=st.text(max_size=60))
def test_any_text_has_tiktokens_ids(llama4: Any, python_reader: Any, text: str) -> None:
    assert python_reader.encode(text, add_special_tokens=False).ids == llama4[2].encode_ordinary(text)


def test_the_phones_reader_agrees_on_every_token_of_llama_4(llama4: Any) -> None:
    folder, spec, _ = llama4
    assert check_cpp_agreement(folder, spec) == []


def _characters() -> list[str]:
    """Every character of the first three planes and of plane 14's tags, thinned out where a script fills a block."""
    blocks = [(0x3400, 0x9FFF), (0xAC00, 0xD7A3), (0xE000, 0xF8FF), (0x17000, 0x187F7), (0x20000, 0x323AF)]
    whole = (c for c in (*range(0x32400), *range(0xE0000, 0xE0200)) if not 0xD800 <= c < 0xE000)
    return [chr(c) for c in whole if c % 61 == 0 or not any(a + 8 < c < b - 8 for a, b in blocks)]


@pytest.mark.slow
@pytest.mark.parametrize("vocabulary", [LLAMA3, LLAMA4], ids=lambda v: v.name)
def test_every_character_is_split_as_tiktoken_splits_it(vocabulary: TiktokenVocabulary, tmp_path: Path) -> None:
    # Its class (letter, number, mark, space), its case, what it does to a contraction.
    vocabulary = small(vocabulary)
    data = tokenizer_data(RANKS, recover_merges(RANKS), vocabulary.split_pattern, vocabulary.special_tokens)
    file = write_json(tmp_path / "tokenizer.json", data)
    ours, native, theirs = open_hf(file), open_native(file, "hf"), reference(vocabulary, RANKS)
    for c in _characters():
        text = f"ab{c}cD {c} 1{c}2'{c}x  {c}\n{c}{c}A{c}a."
        expected = theirs.encode_ordinary(text)
        assert ours.encode(text, add_special_tokens=False).ids == expected, f"U+{ord(c):04X} in Python"
        assert native.encode(text, 0, 0) == expected, f"U+{ord(c):04X} in C++"


def test_the_phones_own_tiktoken_reader_reads_llama_4s_file_wrongly(shared: Path, llama4: Any) -> None:
    # The reason for all this. When it fails, the readers have learnt the format and a raw file may travel.
    from pytorch_tokenizers import CppTiktoken

    reader = CppTiktoken()
    reader.load(str(shared / "tokenizers" / "llama4" / "tokenizer.model"))
    for text in ("x  y", "HTTPServer don't", "<|eot|>"):
        assert reader.encode(text, 0, 0) != llama4[2].encode(text, allowed_special="all"), text


def test_the_phones_own_tiktoken_reader_splits_spaces_wrongly_for_llama_3_too(tmp_path: Path) -> None:
    from pytorch_tokenizers import CppTiktoken

    vocabulary = small(LLAMA3)
    reader = CppTiktoken()
    reader.load(str(tiktoken_folder(tmp_path, RANKS) / "tokenizer.model"))
    theirs = reference(vocabulary, RANKS)
    assert reader.encode("one two", 0, 0) == theirs.encode_ordinary("one two")
    assert reader.encode("one  two", 0, 0) != theirs.encode_ordinary("one  two")
