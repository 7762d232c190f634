import collections
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from model.tokenizer import SpecialToken, load_tokenizer
from model.tokenizer_parity import check_cpp_agreement
from model.tokenizer_readers import BYTE_CHARACTERS
from train.bpe import PATTERN, train_bpe

HERE = Path(__file__)
TEXTS = [HERE.read_text(), (HERE.parent / "test_sources.py").read_text(), "größer 日本 \U0001f600 12345\r\n\tx = 1\n"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bpe") / "tokenizer"
    return folder, train_bpe(TEXTS, vocab_size=600, folder=folder, max_bytes=1 << 20)


@pytest.fixture(scope="module")
def tokenizer(trained):
    return load_tokenizer(*trained)


def merges(folder: Path) -> list[tuple[str, str]]:
    return [tuple(pair) for pair in json.loads((folder / "tokenizer.json").read_text())["model"]["merges"]]


def reference_merges(texts: list[str], count: int) -> list[tuple[str, str]]:
    """Byte-pair encoding by its definition: the most frequent pair, among equals the one of the lowest ids."""
    characters = {byte: character for character, byte in BYTE_CHARACTERS.items()}
    words = collections.Counter(
        tuple(characters[byte] for byte in word.encode()) for text in texts for word in regex.findall(PATTERN, text)
    )
    ids = {symbol: i for i, symbol in enumerate(sorted(BYTE_CHARACTERS))}
    found: list[tuple[str, str]] = []
    while len(found) < count:
        pairs: collections.Counter[tuple[str, str]] = collections.Counter()
        for word, times in words.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += times
        best = min(pairs, key=lambda pair: (-pairs[pair], ids[pair[0]], ids[pair[1]]))
        found.append(best)
        ids.setdefault("".join(best), len(ids))
        words = collections.Counter({merged(word, best): times for word, times in words.items()})
    return found


def merged(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    at = 0
    while at < len(word):
        step = 2 if word[at : at + 2] == pair else 1
        out.append("".join(word[at : at + step]))
        at += step
    return tuple(out)


def test_the_merges_are_those_of_the_definition(trained):
    assert merges(trained[0])[:120] == reference_merges(TEXTS, 120)


def test_the_same_text_gives_the_same_bytes_in_any_process_with_any_threads(trained, tmp_path, root):
    code = (
        "import json, sys; from pathlib import Path; from train.bpe import train_bpe;"
        "train_bpe(json.load(sys.stdin), vocab_size=600, folder=Path(sys.argv[1]), max_bytes=1 << 20)"
    )
    for threads in ("1", "4"):
        folder = tmp_path / threads
        environment = os.environ | {
            "RAYON_NUM_THREADS": threads,
            "TOKENIZERS_PARALLELISM": "true",
            "PYTHONHASHSEED": threads,
            "PYTHONPATH": str(root),
        }
        text = json.dumps(TEXTS[::-1] if threads == "1" else TEXTS)  # the order of the texts plays no part either
        subprocess.run(
            [sys.executable, "-c", code, str(folder)], input=text, env=environment, text=True, check=True, cwd=root
        )
        for name in ("tokenizer.json", "tokenizer_config.json"):
            assert (folder / name).read_bytes() == (trained[0] / name).read_bytes()


def test_the_tokenizer_declares_how_a_text_begins_and_ends(trained, tokenizer):
    spec = trained[1]
    assert (spec.kind, spec.vocab_size, spec.bos_id, spec.num_bos, spec.bos_text, spec.stop_ids) == (
        "hf", 600, 0, 0, "<|begin_of_text|>", (1,),
    )  # fmt: skip
    assert spec.special_tokens == (
        SpecialToken(id=0, text="<|begin_of_text|>"),
        SpecialToken(id=1, text="<|end_of_text|>"),
    )
    assert tokenizer.encode("x", first=True)[0] == 0


def test_the_phones_reader_agrees(trained):
    assert check_cpp_agreement(*trained) == []


def test_transformers_reads_the_same_ids(trained, tokenizer):
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(str(trained[0]))
    for text in TEXTS:
        assert theirs(text).input_ids == tokenizer.encode(text, first=True)
    assert (theirs.bos_token_id, theirs.eos_token_id) == (0, 1)
    assert theirs.decode(theirs(TEXTS[2]).input_ids, skip_special_tokens=True) == TEXTS[2]


@given(text=st.text())
@settings(max_examples=200)
def test_every_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text, first=False)) == text


@pytest.mark.parametrize(
    ("start", "rest"),
    [
        ("def f(x):", "\n    return x"),
        ("def f(x):", "\n\n\n        return x\n"),
        ("x = [", "\n    1,\n]"),
        ("if x:\n    y", " = 1"),
        ("if x:\n    return", "\n"),
    ],
)
def test_a_prompt_may_end_where_a_line_of_code_does(tokenizer, start, rest):
    """The ids of the prompt are those with which the whole text begins, so the model has seen them there."""
    ids = tokenizer.encode(start, first=True)
    assert tokenizer.encode(start + rest, first=True)[: len(ids)] == ids


def test_no_piece_holds_more_than_three_digits_or_two_words():
    assert regex.findall(PATTERN, "12345 x12 a_name") == ["123", "45", " x", "12", " a", "_name"]
    assert regex.findall(PATTERN, "):\n\n        return 1\n    #") == [
        "):", "\n\n       ", " return", " ", "1", "\n   ", " #",
    ]  # fmt: skip


@given(text=st.text(alphabet=st.sampled_from("ab1 \t\n\r(':\u00e9\u2028")))
def test_the_split_loses_nothing(text):
    assert "".join(regex.findall(PATTERN, text)) == text


def test_too_little_text_is_said_with_the_number_reached(tmp_path):
    said: list[str] = []
    spec = train_bpe(["aab aab"], vocab_size=400, folder=tmp_path / "t", max_bytes=100, progress=said.append)
    assert said == [f"the text is too small for 400 tokens: the tokenizer has {spec.vocab_size}"]
    assert spec.vocab_size == 258 + len(merges(tmp_path / "t"))
    assert check_cpp_agreement(tmp_path / "t", spec) == []


def test_the_text_is_cut_at_its_bound_and_read_no_further(tmp_path):
    def texts():
        yield "abc " * 10
        yield "größer " * 10
        raise AssertionError("read too far")

    train_bpe(texts(), vocab_size=300, folder=tmp_path / "a", max_bytes=43)  # in the middle of the first "ö"
    train_bpe(["abc " * 10, "gr"], vocab_size=300, folder=tmp_path / "b", max_bytes=1000)
    assert (tmp_path / "a/tokenizer.json").read_bytes() == (tmp_path / "b/tokenizer.json").read_bytes()


def test_a_folder_that_is_there_stays_as_it_is(tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(ValueError, match="exists already"):
        train_bpe(["abc"], vocab_size=300, folder=tmp_path, max_bytes=100)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
