"""Tiktoken files: strict reading, and whose vocabulary a file is."""

import base64
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from model.files import sha256_file
from model.tiktoken_file import LLAMA3, LLAMA4, VOCABULARIES, named_specials, ranks_sha256, read_ranks, recognise

TOKENS = [bytes([byte]) for byte in reversed(range(256))] + [b"ab", b"\xe6\xbc", b" the"]


def lines(tokens: Sequence[bytes]) -> list[bytes]:
    return [base64.b64encode(token) + b" %d" % rank for rank, token in enumerate(tokens)]


def write(folder: Path, content: list[bytes], end: bytes = b"\n") -> Path:
    file = folder / "tokenizer.model"
    file.write_bytes(b"".join(line + end for line in content))
    return file


def test_the_tokens_come_back_in_the_order_of_their_ranks(tmp_path: Path) -> None:
    assert read_ranks(write(tmp_path, lines(TOKENS))) == TOKENS
    assert read_ranks(write(tmp_path, lines(TOKENS)[::-1])) == TOKENS


def test_windows_line_ends_and_a_missing_last_one_change_nothing(tmp_path: Path) -> None:
    assert read_ranks(write(tmp_path, lines(TOKENS), end=b"\r\n")) == TOKENS
    file = tmp_path / "tokenizer.model"
    file.write_bytes(b"\n".join(lines(TOKENS)))
    assert read_ranks(file) == TOKENS


def changed(place: int, line: bytes | None) -> list[bytes]:
    content: list[bytes] = lines(TOKENS)
    content[place : place + 1] = [] if line is None else [line]
    return content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "has 0 ranks, but none is 0"),
        (changed(257, b"YWI"), r"line 258: b'YWI' is not a token in base64, a space and a rank"),
        (changed(257, b"YW 257"), r"line 258: b'YW 257' is not a token"),
        (changed(257, b"YWJ= 257"), r"line 258: b'YWJ= 257' is not a token"),
        (changed(257, b" 257"), r"line 258"),
        (changed(257, b"YWI= -1"), r"line 258"),
        (changed(257, b"YWI=  257"), r"line 258"),
        (changed(257, b""), r"line 258: b'' is not a token"),
        (changed(257, b"YWI= 257"), "line 258: its token stands already in line 257"),
        (changed(257, b"eHk= 256"), "line 258: its rank stands already in line 257"),
        (changed(258, b"IHRoZQ== 25"), "line 259: its rank stands already in line 26"),
        (changed(257, None), "has 258 ranks, but none is 257"),
        (changed(0, b"eHk= 0"), "no token for the byte 255"),
        (changed(5, b"\x00\xff\x80"), "line 6"),
    ],
)
def test_a_damaged_file_is_refused_with_the_line(tmp_path: Path, content: list[bytes], words: str) -> None:
    with pytest.raises(ValueError, match=rf"tokenizer\.model.*{words}.*copy"):
        read_ranks(write(tmp_path, content))


def test_the_real_file_is_llama_4s(shared: Path) -> None:
    file = shared / "tokenizers" / "llama4" / "tokenizer.model"
    tokens = read_ranks(file)
    assert recognise(file, tokens) is LLAMA4
    assert len(tokens) == LLAMA4.num_ranks == 200_000


def test_a_cut_or_changed_file_of_llama_4_is_refused_with_what_to_do(shared: Path, tmp_path: Path) -> None:
    content = (shared / "tokenizers" / "llama4" / "tokenizer.model").read_bytes().splitlines()
    for number, changed_content in ((199_999, content[:-1]), (200_000, [*content[:-1], b"KGdlISEhIQ== 199999"])):
        file = write(tmp_path, changed_content)
        with pytest.raises(
            ValueError, match=rf"{number:,} tiktoken ranks that are neither.*128,000.*200,000.*tokenizer\.json beside"
        ):
            recognise(file, read_ranks(file))


def test_an_unknown_vocabulary_is_refused_with_what_to_do(tmp_path: Path) -> None:
    file = write(tmp_path, lines(TOKENS))
    with pytest.raises(ValueError, match=r"259 tiktoken ranks that are neither Llama 3's .*put the model's tokenizer"):
        recognise(file, read_ranks(file))


def test_tiktokens_own_reader_finds_the_same_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tiktoken.load import load_tiktoken_bpe

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    file = write(tmp_path, lines(TOKENS))
    assert load_tiktoken_bpe(str(file)) == {token: rank for rank, token in enumerate(read_ranks(file))}


def test_the_hash_is_that_of_the_file(tmp_path: Path) -> None:
    assert ranks_sha256(TOKENS) == sha256_file(write(tmp_path, lines(TOKENS)))


def test_llama_3s_pattern_and_special_tokens_are_those_of_executorchs_own_tokenizer() -> None:
    from pytorch_tokenizers.constants import CL100K_PAT_STR, LLAMA_SPECIAL_TOKENS

    assert LLAMA3.split_pattern == CL100K_PAT_STR
    assert list(LLAMA3.special_tokens) == LLAMA_SPECIAL_TOKENS


@pytest.mark.parametrize(
    ("vocabulary", "size", "known"),
    [
        (
            LLAMA3,
            128_256,
            {
                128_000: "<|begin_of_text|>",
                128_001: "<|end_of_text|>",
                128_006: "<|start_header_id|>",
                128_007: "<|end_header_id|>",
                128_009: "<|eot_id|>",
                128_255: "<|reserved_special_token_245|>",
            },
        ),
        (
            LLAMA4,
            202_048,
            {
                200_000: "<|begin_of_text|>",
                200_001: "<|end_of_text|>",
                200_005: "<|header_start|>",
                200_006: "<|header_end|>",
                200_007: "<|eom|>",
                200_008: "<|eot|>",
                200_018: "<|finetune_right_pad|>",
                200_080: "<|image_start|>",
                200_090: "<|image|>",
                201_133: "<|vision_reserved_special_token_1047|>",
                201_143: "<|reasoning_thinking_end|>",
                202_047: "<|reserved_special_token_903|>",
            },
        ),
    ],
    ids=["llama3", "llama4"],
)
def test_special_tokens_have_the_published_ids(vocabulary: Any, size: int, known: dict[int, str]) -> None:
    assert vocabulary.size == size
    assert {i: vocabulary.special_tokens[i - vocabulary.num_ranks] for i in known} == known


@pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=lambda v: v.name)
def test_no_special_token_begins_another(vocabulary: Any) -> None:
    # Readers that take the first alternative and readers that take the longest must agree.
    ordered = sorted(vocabulary.special_tokens)
    assert not [a for a, b in itertools.pairwise(ordered) if b.startswith(a)]


def _config(folder: Path, declared: Any) -> Path:
    (folder / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": declared}))
    return folder


def test_the_folders_own_names_of_special_tokens_go_before_ours(tmp_path: Path) -> None:
    assert named_specials(tmp_path, LLAMA3) == LLAMA3.special_tokens
    folder = _config(tmp_path, {"128008": {"content": "<|mine|>", "special": True}})
    names = named_specials(folder, LLAMA3)
    assert names[8] == "<|mine|>"
    assert [*names[:8], *names[9:]] == [*LLAMA3.special_tokens[:8], *LLAMA3.special_tokens[9:]]


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ([], None),
        (["<|x|>"], "is a list"),
        ({"128256": {"content": "<|x|>"}}, "'128256'.*an id from 128000 to 128255"),
        ({"17": {"content": "<|x|>"}}, "'17'"),
        ({"-1": {"content": "<|x|>"}}, "'-1'"),
        ({"eot": {"content": "<|x|>"}}, "'eot'"),
        ({"128009": "<|eot_id|>"}, "'128009'.*and a content"),
        ({"128009": {"content": ""}}, "'128009'"),
        ({"128009": {"content": "<|begin_of_text|>"}}, "two special tokens are called '<|begin_of_text|>'"),
    ],
)
def test_declared_special_tokens_that_make_no_sense_are_refused(tmp_path: Path, declared: Any, words: str) -> None:
    folder = _config(tmp_path, declared)
    if words is None:
        assert named_specials(folder, LLAMA3) == LLAMA3.special_tokens
        return
    with pytest.raises(ValueError, match=rf"tokenizer_config\.json.*{words.replace('|', '[|]')}"):
        named_specials(folder, LLAMA3)
