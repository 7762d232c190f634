"""One token stream: which tokenizers count as the same, where documents are cut, and how many bytes are scored."""

import json
from pathlib import Path

import pytest

from evaluation.text import TextDocument
from evaluation.tokens import tokenize, tokenizer_digest
from model.byte_tokenizer import write_byte_tokenizer
from model.tokenizer import load_tokenizer, read_tokenizer_spec
from tests.evaluation.tables import LetterTokenizer


@pytest.fixture
def hf(tmp_path: Path) -> Path:
    folder = tmp_path / "hf"
    folder.mkdir()
    write_byte_tokenizer(folder, 300)
    return folder


def documents(*texts: str) -> list[TextDocument]:
    return [TextDocument(name=str(i), text=text) for i, text in enumerate(texts, 1)]


def test_white_space_of_the_json_is_no_other_tokenizer_and_another_begin_is_one(hf):
    file, spec = hf / "tokenizer.json", read_tokenizer_spec(hf, vocab_size=300)
    before = tokenizer_digest(file, spec)
    file.write_text(json.dumps(json.loads(file.read_text()), indent=None))
    assert tokenizer_digest(file, spec) == before
    config = hf / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"add_bos_token": False}))
    assert tokenizer_digest(file, read_tokenizer_spec(hf, vocab_size=300)) != before
    other = json.loads(file.read_text())
    entries = other["model"]["vocab"]
    entries["a"], entries["b"] = entries["b"], entries["a"]
    file.write_text(json.dumps(other))
    assert tokenizer_digest(file, spec) != before


def test_a_document_is_cut_at_the_bound_and_those_without_a_token_to_score_do_not_count():
    stream = tokenize(documents("abc", "", "abcdef", " "), LetterTokenizer(), max_tokens=4)
    assert [(d.name, d.ids) for d in stream.documents] == [("1", (0, 1, 2, 3)), ("3", (0, 1, 2, 3))]
    assert (stream.tokens, stream.cut) == (6, 1)
    with pytest.raises(ValueError, match="no token to score"):
        tokenize(documents("", " "), LetterTokenizer(), max_tokens=4)


@pytest.mark.parametrize("text", ["Once upon a time.", "  Röhre \U0001f600 über\n\n", "x"])
@pytest.mark.parametrize("bound", [2, 5, 1000])
def test_the_bytes_of_byte_tokens_are_those_of_the_text_that_they_stand_for(hf, text, bound):
    spec = read_tokenizer_spec(hf, vocab_size=300)
    tokenizer = load_tokenizer(hf, spec)
    (document,) = tokenize(documents(text), tokenizer, max_tokens=bound).documents
    assert document.bytes == len(b"".join(map(tokenizer.piece, document.ids[1:])))
    assert bound < 1000 or document.bytes == len(text.encode())


def test_without_a_begin_of_text_the_first_token_is_given_and_its_bytes_do_not_count(hf):
    config = hf / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"add_bos_token": False}))
    tokenizer = load_tokenizer(hf, read_tokenizer_spec(hf, vocab_size=300))
    (document,) = tokenize(documents("über"), tokenizer, max_tokens=100).documents
    assert document.bytes == len("über".encode()) - 1  # the first byte of two


def test_sentencepiece_puts_a_space_before_a_text_that_is_not_the_texts(shared):
    source = shared / "checkpoints" / "stories260K"
    tokenizer = load_tokenizer(source, read_tokenizer_spec(source, vocab_size=512))
    text = "Once upon a time there was a cat."
    whole, cut = (tokenize(documents(text), tokenizer, max_tokens=n).documents[0] for n in (500, 6))
    assert whole.bytes == len(text)
    assert cut.bytes == len(tokenizer.decode(cut.ids))
