import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.errors import EnvironmentFault
from model.tokenizer import load_tokenizer
from train import tokenization
from train.bpe import train_bpe
from train.lock import folder_lock
from train.settings import DataSettings, TokenizerSettings
from train.token_files import TokenWriter, token_type
from train.tokens import TokenSet, prepare_tokens

HERE = Path(__file__).parent
TEXTS = [
    f"Document {i}.\n" + HERE.joinpath("test_tokens.py").read_text()[i * 150 : i * 150 + 90 + i] for i in range(23)
]
VOCAB = 320


def write_texts(base: Path, texts: list[str]) -> None:
    (base / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def prepare(
    base: Path, folder: str = "tokens", *, vocab_size: int = VOCAB, said: list | None = None, **given
) -> TokenSet:
    tokenizer = {name: given.pop(name) for name in ("train_bytes", "folder_of_tokenizer") if name in given}
    verify = given.pop("verify", False)
    data = {"sources": ("text.jsonl",), "held_out_every": 5, "shard_tokens": 200} | given
    return prepare_tokens(
        DataSettings(**data),
        TokenizerSettings(
            folder=tokenizer.get("folder_of_tokenizer"), train_bytes=tokenizer.get("train_bytes", 1 << 20)
        ),
        vocab_size=vocab_size,
        folder=base / folder,
        base=base,
        progress=(said if said is not None else []).append,
        verify=verify,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> TokenSet:
    base = tmp_path_factory.mktemp("tokens")
    write_texts(base, TEXTS)
    return prepare(base)


def test_every_nth_document_is_held_out_the_nth_first(made):
    assert [e.name for e in made.held_out.entries] == [f"text.jsonl:{n}" for n in (5, 10, 15, 20)]
    assert made.train.documents + made.held_out.documents == len(TEXTS)


def test_a_document_is_begin_of_text_its_ids_and_end_of_text(made):
    tokenizer = load_tokenizer(made.tokenizer_folder, made.spec)
    for stream, texts in (
        (made.held_out, TEXTS[4::5]),
        (made.train, [text for n, text in enumerate(TEXTS, 1) if n % 5]),
    ):
        for i, text in enumerate(texts):
            ids = stream.document(i).tolist()
            assert ids == [*tokenizer.encode(text, first=True), 1]
            assert ids[0] == 0
            entry = stream.entries[i]
            assert (entry.bytes, entry.tokens) == (len(text.encode()), len(ids))
            assert entry.sha256 == hashlib.sha256(text.encode()).hexdigest()
        assert stream.bytes == sum(len(text.encode()) for text in texts)
        assert stream.tokens == sum(entry.tokens for entry in stream.entries)


def test_the_tokenizer_has_seen_the_training_text_only(made, tmp_path):
    texts = [text for n, text in enumerate(TEXTS, 1) if n % 5]
    train_bpe(texts, vocab_size=VOCAB, folder=tmp_path / "t", max_bytes=1 << 20)
    assert contents(tmp_path / "t") == contents(made.tokenizer_folder)


def test_the_files_are_plain_little_endian_ids_of_bounded_size(made):
    files = sorted(made.folder.glob("train-*.bin"))
    assert len(files) > 5
    assert {path.stat().st_size for path in files[:-1]} == {200 * 2}
    flat = np.concatenate([np.fromfile(path, "<u2") for path in files])
    assert flat.tolist() == made.train.window(0, made.train.tokens).tolist()


@given(data=st.data())
def test_a_window_is_the_same_wherever_the_files_end(made, data):
    start = data.draw(st.integers(0, made.train.tokens - 1))
    length = data.draw(st.integers(1, made.train.tokens - start))
    window = made.train.window(start, length)
    assert window.dtype == torch.int64
    assert torch.equal(window, made.train.window(0, made.train.tokens)[start : start + length])


def test_windows_and_documents_that_are_not_there_are_refused(made):
    for start, length in ((-1, 2), (0, 0), (made.train.tokens - 1, 2)):
        with pytest.raises(ValueError, match=f"there are {made.train.tokens}"):
            made.train.window(start, length)
    with pytest.raises(ValueError, match="document 4 was asked for; there are 4, counted from 0"):
        made.held_out.document(4)


def test_the_size_of_the_files_changes_nothing_else(made, tmp_path):
    write_texts(tmp_path, TEXTS)
    other = prepare(tmp_path, shard_tokens=1 << 20)
    assert len(list(other.folder.glob("train-*.bin"))) == 1
    assert torch.equal(other.train.window(0, other.train.tokens), made.train.window(0, made.train.tokens))


def test_finished_tokens_are_opened_without_their_text(tmp_path):
    write_texts(tmp_path, TEXTS)
    first = prepare(tmp_path)
    (tmp_path / "text.jsonl").unlink()
    before, said = contents(first.folder), []
    again = prepare(tmp_path, said=said, verify=True, shard_tokens=99)
    assert (said, again.sha256, contents(first.folder)) == ([], first.sha256, before)
    assert first.sha256 == hashlib.sha256(before["index.json"]).hexdigest()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"held_out_every": 4}, r"was made with data.held_out_every = 5, this run has 4; .*remove that one"),
        (
            {"sources": ("text.jsonl", "more")},
            r"data.sources = \['text.jsonl'\], this run has \['text.jsonl', 'more'\]",
        ),
        ({"train_bytes": 7}, "tokenizer.train_bytes = 1048576, this run has 7"),
        ({"vocab_size": 321}, "tokenizer.vocab_size = 320, this run has 321"),
        ({"vocab_size": 319}, "a run file for another vocabulary: .* has 320 ids, the model's table 319 rows"),
        ({"folder_of_tokenizer": "t"}, "tokenizer.folder = None, this run has 't'"),
    ],
)
def test_tokens_of_other_settings_are_not_taken(made, changed, message):
    with pytest.raises(ValueError, match=message):
        prepare(made.folder.parent, **changed)


def test_a_tokenizer_is_taken_from_a_folder(made, tmp_path, shared):
    write_texts(tmp_path, TEXTS)
    for source in (made.tokenizer_folder, shared / "tokenizers/smollm"):
        folder = tmp_path / "tokenizer"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)
        tokens = prepare(tmp_path, f"by-{source.name}", folder_of_tokenizer="tokenizer", vocab_size=60_000)
        tokenizer = load_tokenizer(tokens.tokenizer_folder, tokens.spec)
        ids = tokens.held_out.document(0).tolist()
        assert ids[:-1] == tokenizer.encode(TEXTS[4], first=True)
        assert tokenizer.piece(ids[-1]) in (b"<|end_of_text|>", b"<|endoftext|>")
        (folder / "tokenizer.json").write_text("{}")
        with pytest.raises(ValueError, match=r"was made by another tokenizer than .*tokenizer\.json is now"):
            prepare(tmp_path, f"by-{source.name}", folder_of_tokenizer="tokenizer", vocab_size=60_000)


def test_a_tiktoken_file_is_taken_as_the_tokenizer_json_made_of_it(tmp_path, shared):
    write_texts(tmp_path, TEXTS)
    shutil.copytree(shared / "tokenizers/llama4", tmp_path / "tokenizer")
    for _ in range(2):  # made, and found again
        tokens = prepare(tmp_path, folder_of_tokenizer="tokenizer", vocab_size=202_048)
    assert (tokens.spec.file, tokens.spec.vocab_size) == ("tokenizer.json", 202_048)
    ids = tokens.held_out.document(0).tolist()
    assert ids[0] == 200_000 and ids[-1] in tokens.spec.stop_ids
    assert load_tokenizer(tokens.tokenizer_folder, tokens.spec).decode(ids[1:-1]) == TEXTS[4]
    with (tmp_path / "tokenizer/tokenizer.model").open("ab") as file:
        file.write(b"\n")
    with pytest.raises(ValueError, match=r"was made by another tokenizer than .*tokenizer\.model is now"):
        prepare(tmp_path, folder_of_tokenizer="tokenizer", vocab_size=202_048)


def test_sentencepiece_documents_go_on_after_a_nul(tmp_path, shared):
    write_texts(tmp_path, ["Once upon\0 a time", "</s> there was", "a girl", "a dog", "the end"])
    folder = next(path.parent for path in (shared / "checkpoints").rglob("tokenizer.model"))
    tokens = prepare(tmp_path, folder_of_tokenizer=str(folder), vocab_size=60_000)
    tokenizer = load_tokenizer(tokens.tokenizer_folder, tokens.spec)
    assert tokenizer.decode(tokens.train.document(0)[:-1].tolist()) == "Once upon a time"
    assert [tokens.train.document(i)[-1] for i in range(4)] == [tokens.spec.stop_ids[0]] * 4


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("nowhere", "tokenizer.folder .*nowhere is not a folder; relative paths start at the run file's folder"),
        (".", "tokenizer.folder .* holds no tokenizer; leave it out to have one trained"),
        ("large", "a run file for another vocabulary: .* has 320 ids, the model's table 300 rows"),
    ],
)
def test_a_tokenizer_folder_that_does_not_fit_is_named(made, tmp_path, folder, message):
    write_texts(tmp_path, TEXTS)
    shutil.copytree(made.tokenizer_folder, tmp_path / "large")
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path, folder_of_tokenizer=folder, vocab_size=300)


def test_the_text_of_a_special_token_never_becomes_the_token(tmp_path):
    texts = [f"{n} a<|end_of_text|>b<|begin_of_text|>" for n in range(5)]
    write_texts(tmp_path, texts)
    tokens = prepare(tmp_path)
    for i in range(4):
        ids = tokens.train.document(i).tolist()
        assert (ids[0], ids[-1]) == (0, 1)
        assert not {0, 1} & set(ids[1:-1])


def test_many_ids_take_four_bytes(tmp_path):
    assert [token_type(n).itemsize for n in (300, 65_536, 65_537)] == [2, 2, 4]
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({f"w{i}": i for i in range(70_000)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([AddedToken("<|end_of_text|>", special=True)])
    (tmp_path / "t").mkdir()
    tokenizer.save(str(tmp_path / "t/tokenizer.json"))
    write_texts(tmp_path, [f"w{i} w69999" for i in range(5)])
    tokens = prepare(tmp_path, folder_of_tokenizer="t", vocab_size=70_001)
    assert tokens.train.document(3).tolist() == [3, 69_999, 70_000]


def test_nothing_is_held_out_where_that_is_asked(tmp_path):
    write_texts(tmp_path, TEXTS)
    tokens = prepare(tmp_path, held_out_every=0)
    assert (tokens.held_out, tokens.train.documents) == (None, len(TEXTS))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([" "], "the sources of the run hold no text; correct data.sources"),
        (["only one"], "has 1 documents and every 5th is held out, so none is; lower data.held_out_every"),
    ],
)
def test_too_few_documents_are_said_and_more_can_be_given(tmp_path, texts, message):
    write_texts(tmp_path, texts)
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path)
    write_texts(tmp_path, TEXTS)
    assert prepare(tmp_path).train.documents == 19


def test_what_was_left_out_is_said(tmp_path):
    write_texts(tmp_path, [*TEXTS, TEXTS[0], " ", ""])
    said: list[str] = []
    prepare(tmp_path, said=said)
    assert said[0] == "training a tokenizer of 320 tokens"
    assert said[-1].startswith("19 documents, ")
    assert said[-1].endswith("; left out: 2 empty, 1 that came before")


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            "train-00001.bin",
            lambda data: data[:-2],
            r"train-00001.bin has 398 bytes in place of 400; remove the folder",
        ),
        ("held_out-00000.bin", None, r"held_out-00000.bin is missing"),
        ("train-00001.bin", lambda data: bytes([data[0] ^ 1]) + data[1:], r"train-00001.bin is not as it was written"),
        ("documents.jsonl", lambda data: data[:-1], r"documents.jsonl is not as it was written"),
        ("tokenizer/tokenizer.json", lambda data: data + b" ", r"is not the tokenizer that made the tokens"),
        ("index.json", lambda data: data.replace(b'"version": 1', b'"version": 2'), r"tokens of version 2.* reads 1"),
        ("index.json", lambda data: b"{}", r"does not describe tokens"),
        ("index.json", lambda data: data[:50], r"index.json is not valid JSON"),
    ],
)
def test_damage_is_named(made, tmp_path, file, change, message):
    shutil.copytree(made.folder, tmp_path / "tokens")
    path = tmp_path / "tokens" / file
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path, verify=True)


@pytest.mark.parametrize("inside", ["train-00000.bin", "tokenizer/tokenizer.json", "documents.jsonl", "thesis.txt"])
def test_a_folder_of_something_else_is_never_touched(tmp_path, inside):
    write_texts(tmp_path, TEXTS)
    mine = tmp_path / "tokens" / inside
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(ValueError, match=r"which is no part of tokens; name another by data\.tokens"):
        prepare(tmp_path)
    assert contents(tmp_path / "tokens") == {inside: b"mine"}
    assert not (tmp_path / "tokens/.lock").exists()


def test_a_second_process_waits_for_its_turn(tmp_path):
    write_texts(tmp_path, TEXTS)
    with folder_lock(tmp_path / "tokens"), pytest.raises(ValueError, match="tokens is in use by process"):
        prepare(tmp_path)
    prepare(tmp_path)


@pytest.fixture
def small_steps(monkeypatch):
    """Batches of two documents or so, and a note of the progress after each."""
    monkeypatch.setattr(tokenization, "_BATCH_BYTES", 250)
    monkeypatch.setattr(tokenization, "_COMMIT_BYTES", 1)


class Stop(Exception):
    pass


INTERRUPTIONS = [("append", n) for n in (0, 1, 9, 22)] + [("commit", n) for n in (0, 1, 5)] + [("finish", 0)]


@pytest.mark.parametrize(("method", "after"), INTERRUPTIONS)
@pytest.mark.parametrize("failure", [Stop("now"), OSError(errno.ENOSPC, "No space left on device")])
def test_an_interrupted_tokenization_ends_with_the_same_bytes(
    made, tmp_path, monkeypatch, small_steps, method, after, failure
):
    write_texts(tmp_path, TEXTS)
    calls, real = [], getattr(TokenWriter, method)

    def failing(self, *args):
        calls.append(args)
        if len(calls) > after:
            raise failure
        return real(self, *args)

    monkeypatch.setattr(TokenWriter, method, failing)
    with pytest.raises(
        (EnvironmentFault, Stop), match=r"now|no space left on the disk while writing .*tokens; free some"
    ):
        prepare(tmp_path)
    monkeypatch.setattr(TokenWriter, method, real)
    said: list[str] = []
    prepare(tmp_path, said=said)
    assert contents(tmp_path / "tokens") == contents(made.folder)
    if (method, after) == ("append", 9):
        assert said[0].startswith("going on after ")


def test_text_that_changes_in_between_is_begun_again(tmp_path, monkeypatch, small_steps):
    real = TokenWriter.finish

    def interrupted(self, index):
        raise Stop

    for changed in ([TEXTS[0] + "!", *TEXTS[1:]], TEXTS[:-1], [*TEXTS[:20], "new", *TEXTS[20:]]):
        shutil.rmtree(tmp_path / "tokens", ignore_errors=True)
        write_texts(tmp_path, TEXTS)
        monkeypatch.setattr(TokenWriter, "finish", interrupted)
        with pytest.raises(Stop):
            prepare(tmp_path)
        monkeypatch.setattr(TokenWriter, "finish", real)
        write_texts(tmp_path, changed)
        said: list[str] = []
        tokens = prepare(tmp_path, said=said)
        assert "the text or the tokenizer has changed since a part was tokenized: beginning again" in said
        fresh = prepare(tmp_path, f"fresh-{len(changed)}-{changed[0][-1] == '!'}")
        assert contents(tokens.folder) == contents(fresh.folder)


def test_settings_that_change_in_between_begin_again(made, tmp_path, monkeypatch, small_steps):
    write_texts(tmp_path, TEXTS)
    real = TokenWriter.finish
    monkeypatch.setattr(TokenWriter, "finish", lambda self, index: (_ for _ in ()).throw(Stop))
    with pytest.raises(Stop):
        prepare(tmp_path, held_out_every=4, shard_tokens=50)
    monkeypatch.setattr(TokenWriter, "finish", real)
    prepare(tmp_path)
    assert contents(tmp_path / "tokens") == contents(made.folder)


KILLED = """
import sys
from pathlib import Path
from train import tokenization
from train.settings import DataSettings, TokenizerSettings
tokenization._BATCH_BYTES, tokenization._COMMIT_BYTES = 250, 1
print("ready", flush=True)
data = DataSettings(sources=("text.jsonl",), held_out_every=5, shard_tokens=200)
base = Path(sys.argv[1])
tokenization.write_tokens(
    data, TokenizerSettings(train_bytes=1 << 20), vocab_size=320, folder=base / "tokens", base=base, progress=print
)
"""


def test_a_killed_process_leaves_what_the_next_one_finishes(made, tmp_path, root):
    write_texts(tmp_path, TEXTS)
    for name in ("tokenizer/", "index.json", "progress.json"):  # what a kill in the middle of a file leaves
        path = tmp_path / "tokens" / f".{name.strip('/')}.partial-0123abcd"
        path.mkdir(parents=True) if name.endswith("/") else path.write_text("{")
    for delay in (0.0, 0.02, 0.05, 0.1):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)],
            stdout=subprocess.PIPE,
            cwd=root,
            env=os.environ | {"PYTHONPATH": str(root)},
        )
        assert process.stdout.readline() == b"ready\n"
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    prepare(tmp_path)
    assert contents(tmp_path / "tokens") == contents(made.folder)
