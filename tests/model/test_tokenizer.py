"""Tokenizer facts from checkpoint folders, and agreement with the C++ reader that runs on phones."""

import json
import logging
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from model.byte_tokenizer import SPECIAL_TOKENS, write_byte_tokenizer
from model.checkpoint import adopt_tokenizer
from model.tokenizer import SpecialToken, TokenizerSpec, load_tokenizer, read_tokenizer_spec
from model.tokenizer_parity import AGREEMENT_CORPUS, check_cpp_agreement
from model.tokenizer_readers import open_native

SHARED = Path(__file__).parents[3] / "shared"


def _shared(*parts: str) -> Path:
    folder = SHARED.joinpath(*parts)
    if not folder.is_dir():
        pytest.skip(f"../shared is not here: {'/'.join(parts)} is needed")
    return folder


def _spec(folder: Path, vocab_size: int) -> TokenizerSpec:
    spec = read_tokenizer_spec(folder, vocab_size=vocab_size)
    assert spec is not None
    return spec


def _write(folder: Path, **files: Any) -> Path:
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def _edit(folder: Path, **changes: Any) -> Path:
    """Replaces entries of tokenizer.json."""
    data = json.loads((folder / "tokenizer.json").read_text())
    return _write(folder, tokenizer=data | changes)


def _post_processor(*, bos: str, identifier: int, eos: bool = False) -> dict[str, Any]:
    mark = {"SpecialToken": {"id": bos, "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [mark, text] + [mark] * eos,
        "pair": [mark, text, text],
        "special_tokens": {bos: {"id": bos, "ids": [identifier], "tokens": [bos]}},
    }


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A byte-level BPE tokenizer, trained on a little text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    choices = ["the", "little", "dog's", "said", "caf\u00e9", "\u6f22\u5b57", "ran,", "2024"]
    words = random.Random(3).choices(choices, k=800)
    tokenizer.train_from_iterator(
        [" ".join(words), *AGREEMENT_CORPUS.values()],
        trainers.BpeTrainer(
            vocab_size=700,
            special_tokens=["<|im_start|>", "<|im_end|>"],
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


@pytest.mark.parametrize(
    ("parts", "vocab_size"),
    [(("tokenizers", "smollm"), 49_152), (("checkpoints", "stories260K"), 512)],
    ids=["smollm", "stories260K"],
)
def test_the_phones_reader_agrees_on_real_tokenizers(parts: tuple[str, ...], vocab_size: int) -> None:
    folder = _shared(*parts)
    assert check_cpp_agreement(folder, _spec(folder, vocab_size)) == []


def test_the_phones_reader_agrees_on_a_trained_byte_level_tokenizer(trained: Path) -> None:
    assert check_cpp_agreement(trained, _spec(trained, 1000)) == []


@pytest.mark.parametrize("vocab_size", [261, 300, 4096, 12_000])
def test_the_phones_reader_agrees_on_the_made_byte_tokenizer_and_every_id_exists(
    tmp_path: Path, vocab_size: int
) -> None:
    write_byte_tokenizer(tmp_path, vocab_size)
    spec = _spec(tmp_path, vocab_size)
    assert spec.vocab_size == vocab_size
    assert check_cpp_agreement(tmp_path, spec) == []
    tokenizer = load_tokenizer(tmp_path, spec)
    pieces = [tokenizer.piece(token) for token in range(vocab_size)]
    assert len(set(pieces)) == vocab_size
    assert set(bytes(range(256))) == {piece[0] for piece in pieces if len(piece) == 1}
    assert [token.text for token in spec.special_tokens] == list(SPECIAL_TOKENS)


def test_the_made_byte_tokenizer_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_byte_tokenizer(tmp_path / name, 4096)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("vocab_size", [0, 260, 10**8])
def test_a_byte_tokenizer_of_an_impossible_size_is_refused(tmp_path: Path, vocab_size: int) -> None:
    with pytest.raises(ValueError, match=f"vocabulary is {vocab_size}"):
        write_byte_tokenizer(tmp_path, vocab_size)


def test_a_tokenizer_that_the_phones_read_differently_is_named(trained: Path) -> None:
    _edit(trained, normalizer={"type": "Lowercase"})
    assert check_cpp_agreement(trained, _spec(trained, 1000))[0].startswith("the phones' reader cannot load")
    # A merge that Python never reaches: the C++ reader looks the whole word up first.
    data = json.loads((trained / "tokenizer.json").read_text())
    number = len(data["model"]["vocab"])
    data["model"]["vocab"]["Gothe"] = number
    assert check_cpp_agreement(_edit(trained, normalizer=None, model=data["model"]), _spec(trained, 1000)) == [
        f"token {number} ('Gothe') as text"
    ]


def test_a_special_token_with_flags_that_the_phones_ignore_is_named(trained: Path) -> None:
    data = json.loads((trained / "tokenizer.json").read_text())
    data["added_tokens"][1]["lstrip"] = data["added_tokens"][1]["rstrip"] = True
    found = check_cpp_agreement(_edit(trained, added_tokens=data["added_tokens"]), _spec(trained, 1000))
    assert "special token '<|im_end|>'" in found


def test_sentencepiece_puts_one_bos_before_the_first_prompt_only() -> None:
    folder = _shared("checkpoints", "stories260K")
    spec = _spec(folder, 512)
    assert (spec.kind, spec.bos_id, spec.num_bos, spec.bos_text, spec.stop_ids) == ("sentencepiece", 1, 1, "", (2,))
    tokenizer, reader = load_tokenizer(folder, spec), open_native(folder / spec.file, spec.kind)
    first = tokenizer.encode("Once upon a time", first=True)
    assert first == [1, *tokenizer.encode("Once upon a time", first=False)] == reader.encode("Once upon a time", 1, 0)


def test_sentencepiece_pieces_are_bytes_with_their_spaces() -> None:
    folder = _shared("checkpoints", "stories260K")
    tokenizer = load_tokenizer(folder, _spec(folder, 512))
    ids = tokenizer.encode("Once \U0001f600 upon", first=True)
    assert b"".join(tokenizer.piece(i) for i in ids) == " Once \U0001f600 upon".encode()
    assert tokenizer.piece(1) == tokenizer.piece(2) == b""
    assert tokenizer.piece(13) == b"\n"  # <0x0A>
    assert tokenizer.decode(ids) == "Once \U0001f600 upon"
    assert tokenizer.decode(ids[1:]) == " Once \U0001f600 upon"
    assert tokenizer.decode(ids[2:4]) == " \ufffd"
    with pytest.raises(ValueError, match="id 512 is not in"):
        tokenizer.piece(512)


def test_hugging_face_pieces_are_bytes_and_specials_give_their_text(trained: Path) -> None:
    tokenizer = load_tokenizer(trained, _spec(trained, 1000))
    for name, text in AGREEMENT_CORPUS.items():
        ids = tokenizer.encode(text, first=False)
        assert b"".join(tokenizer.piece(i) for i in ids) == text.encode(), name
        assert tokenizer.decode(ids) == text
    assert tokenizer.piece(1) == b"<|im_end|>"
    with pytest.raises(ValueError, match="padding of the model's table"):
        tokenizer.piece(999)


def test_a_decoder_with_which_the_phones_lose_every_space_is_named(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, normalizers

    tokenizer = Tokenizer(
        models.BPE(
            vocab={"<unk>": 0, "\u2581": 1, "a": 2, "\u2581a": 3},
            merges=[("\u2581", "a")],
            unk_token="<unk>",
            fuse_unk=True,
        )
    )
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert "token 3 (' a' against 'a')" in check_cpp_agreement(tmp_path, _spec(tmp_path, 4))


def test_the_byte_of_every_byte_fallback_piece_is_given(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, normalizers

    vocabulary = {"<unk>": 0, **{f"<0x{b:02X}>": b + 1 for b in range(256)}, "\u2581": 257, "a": 258, "\u2581a": 259}
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=[("\u2581", "a")], unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    ours = load_tokenizer(tmp_path, _spec(tmp_path, 260))
    assert b"".join(ours.piece(i) for i in ours.encode("a a\U0001f600", first=True)) == "a a\U0001f600".encode()


def test_bos_comes_from_the_post_processor_or_from_add_bos_token(trained: Path) -> None:
    assert _spec(trained, 1000).bos_text == ""
    _edit(trained, post_processor=_post_processor(bos="<|im_start|>", identifier=0))
    spec = _spec(trained, 1000)
    assert (spec.bos_id, spec.num_bos, spec.bos_text) == (0, 0, "<|im_start|>")
    tokenizer, reader = load_tokenizer(trained, spec), open_native(trained / spec.file, spec.kind)
    assert tokenizer.encode("hi", first=True) == reader.encode("<|im_start|>hi", 0, 0) == reader.encode("hi", 1, 0)
    assert tokenizer.encode("hi", first=False) == reader.encode("hi", 0, 0)
    _write(trained, tokenizer_config={"bos_token": "<|im_start|>", "add_bos_token": False})
    assert _spec(trained, 1000).bos_text == ""
    _edit(trained, post_processor=None)
    _write(trained, tokenizer_config={"bos_token": {"content": "<|im_end|>"}, "add_bos_token": True})
    assert (_spec(trained, 1000).bos_text, _spec(trained, 1000).bos_id) == ("<|im_end|>", 1)


def test_a_post_processor_that_also_ends_the_text_adds_only_its_bos(trained: Path) -> None:
    _edit(trained, post_processor=_post_processor(bos="<|im_start|>", identifier=0, eos=True))
    spec = _spec(trained, 1000)
    assert load_tokenizer(trained, spec).encode("hi", first=True)[0] == 0
    assert 0 not in load_tokenizer(trained, spec).encode("hi", first=True)[1:]
    assert check_cpp_agreement(trained, spec) == []


def test_stop_ids_are_collected_from_every_file_that_declares_them(trained: Path) -> None:
    assert _spec(trained, 1000).stop_ids == (1,)  # <|im_end|> is known by its name
    _write(
        trained,
        generation_config={"eos_token_id": [5, 7]},
        config={"eos_token_id": 6},
        tokenizer_config={"eos_token": "<|im_start|>"},
    )
    assert _spec(trained, 1000).stop_ids == (0, 1, 5, 6, 7)
    _write(
        trained,
        generation_config={},
        config={"text_config": {"eos_token_id": 9}},
        tokenizer_config={},
        special_tokens_map={"eos_token": {"content": "<|im_start|>"}},
    )
    assert _spec(trained, 1000).stop_ids == (0, 1, 9)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1000, "stop id 1000 is outside"),
        (-1, "stop id -1"),
        ("</s>", "must be an id or a list"),
        ([True], "must be an id or a list"),
    ],
)
def test_stop_ids_out_of_range_or_of_another_type_are_refused_by_file(trained: Path, value: Any, words: str) -> None:
    _write(trained, generation_config={"eos_token_id": value})
    with pytest.raises(ValueError, match=f"generation_config.json.*{words}"):
        read_tokenizer_spec(trained, vocab_size=1000)


def test_a_vocabulary_larger_than_the_models_is_refused(trained: Path) -> None:
    size = _spec(trained, 1000).vocab_size
    with pytest.raises(ValueError, match=f"ids up to {size - 1}, but the model's vocabulary has {size - 1}"):
        read_tokenizer_spec(trained, vocab_size=size - 1)
    assert read_tokenizer_spec(trained, vocab_size=size) == read_tokenizer_spec(trained, vocab_size=size + 24)


def test_rows_of_the_table_that_no_id_needs_are_said_once(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    size, target = _spec(trained, 1000).vocab_size, tmp_path / "target"
    target.mkdir()
    with caplog.at_level(logging.INFO, logger="pocketlm"):
        adopt_tokenizer(trained, target, size)
        assert "padding" not in caplog.text
        adopt_tokenizer(trained, target, size + 24)
    assert caplog.text.count("24 rows of the table are padding") == 1


def test_tiktoken_ranks_are_refused_unless_a_tokenizer_json_stands_beside_them(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"IQ== 0\nIg== 1\nIw== 2\n")
    with pytest.raises(ValueError, match=r"tiktoken ranks.*tokenizer\.json"):
        read_tokenizer_spec(tmp_path, vocab_size=300)
    write_byte_tokenizer(tmp_path, 300)
    assert _spec(tmp_path, 300).file == "tokenizer.json"


def test_the_llama4_file_is_recognised_as_tiktoken_ranks() -> None:
    with pytest.raises(ValueError, match="tiktoken ranks"):
        read_tokenizer_spec(_shared("tokenizers", "llama4"), vocab_size=202_048)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"model": 3}', b"\xff\xfe"])
def test_an_unreadable_tokenizer_json_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"tokenizer\.json is not"):
        read_tokenizer_spec(tmp_path, vocab_size=300)


@pytest.mark.parametrize("keep", [0, 1, 40, 7000])
def test_a_truncated_sentencepiece_model_is_refused_by_name(tmp_path: Path, keep: int) -> None:
    data = (_shared("checkpoints", "stories260K") / "tokenizer.model").read_bytes()
    (tmp_path / "tokenizer.model").write_bytes(data[:keep])
    with pytest.raises(ValueError, match=r"tokenizer\.model is not a sentencepiece model"):
        read_tokenizer_spec(tmp_path, vocab_size=512)


def test_a_folder_without_a_tokenizer_has_no_spec(tmp_path: Path) -> None:
    assert read_tokenizer_spec(tmp_path, vocab_size=300) is None
    assert read_tokenizer_spec(_write(tmp_path, checkpoint={"tokenizer": None}), vocab_size=300) is None


def test_a_pocketlm_folder_says_what_its_tokenizer_is(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    spec = _spec(trained, 1000)
    folder = tmp_path_factory.mktemp("checkpoint")
    shutil.copy(trained / "tokenizer.json", folder)
    _write(folder, checkpoint={"tokenizer": spec.to_json() | {"stop_ids": [3]}})
    assert _spec(folder, 1000).stop_ids == (3,)
    with pytest.raises(ValueError, match="ids up to"):
        read_tokenizer_spec(folder, vocab_size=10)


def test_json_brings_back_the_same_spec() -> None:
    spec = TokenizerSpec(
        file="tokenizer.json",
        kind="hf",
        vocab_size=9,
        bos_id=None,
        num_bos=0,
        bos_text="",
        stop_ids=(1, 2),
        special_tokens=(SpecialToken(id=1, text="<x>"),),
    )
    assert TokenizerSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "bpe"},
        {"num_bos": 2},
        {"num_bos": 1},
        {"stop_ids": ["1"]},
        {"file": 3},
        {"vocab_size": True},
        {"special_tokens": [{"id": 1}]},
        {"extra": 1},
    ],
)
def test_a_malformed_spec_is_refused(change: dict[str, Any]) -> None:
    good = {
        "file": "tokenizer.json",
        "kind": "hf",
        "vocab_size": 9,
        "bos_id": None,
        "num_bos": 0,
        "bos_text": "",
        "stop_ids": [1],
        "special_tokens": [],
    }
    assert TokenizerSpec.from_json(good).stop_ids == (1,)
    with pytest.raises(ValueError, match="tokenizer"):
        TokenizerSpec.from_json(good | change)


def test_a_lone_surrogate_is_refused_with_a_sentence(trained: Path) -> None:
    with pytest.raises(ValueError, match="not valid Unicode"):
        load_tokenizer(trained, _spec(trained, 1000)).encode("a\udc80", first=False)
