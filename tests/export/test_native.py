"""The phones' runner behind our engine, held against Python's runtime on the same files: same kernels, same call sizes,
so the same tokens, compared piece by piece and without a tolerance."""

import dataclasses
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chat.engine import Engine, Piece, TokenEngine
from chat.session import Session
from chat.turns import Turns
from chat.utf8 import whole_text
from export.native import NativeEngine, open_native
from export.package import Package, open_package
from model.tokenizer import TokenizerSpec, load_tokenizer, read_tokenizer_spec
from tests.conftest import ROOT
from tests.packages import Made

STORY = "Once upon a time there was a small machine that counted its own words. "


@pytest.fixture(scope="module")
def package(other_int4: Made) -> Package:
    """An untied head: its greedy replies wander through bytes, words and end tokens and never settle."""
    return open_package(other_int4.package)


@pytest.fixture(scope="module")
def child(package: Package) -> Iterator[NativeEngine]:
    with open_native(package, temperature=0.0) as engine:
        yield engine


@pytest.fixture
def native(child: NativeEngine) -> NativeEngine:
    """An engine at position 0."""
    child.reset()
    return child


def python_engine(package: Package) -> Engine:
    from export.runner import open_runner
    from model.sampling import Sampler

    spec = TokenizerSpec.from_json(package.manifest.to_json()["tokenizer"])
    return TokenEngine(
        load_tokenizer(package.folder, spec), open_runner(package), stop_ids=spec.stop_ids, sampler=Sampler()
    )


@pytest.fixture
def python(package: Package) -> Engine:
    return python_engine(package)


def take(engine: Engine, text: str, most: int, *, first: bool = False, stop_at: int | None = None) -> list[Piece]:
    pieces = []
    for piece in engine.stream(text, first=first, max_new_tokens=most):
        pieces.append(piece)
        if len(pieces) == stop_at:
            engine.stop()
    return pieces


def test_two_turns_of_a_chat_past_the_context_give_the_text_of_pythons_runtime(
    package: Package, native: NativeEngine, python: Engine
) -> None:
    manifest = package.manifest
    specials = {token.id: token.text for token in manifest.tokenizer.special_tokens}
    turns = Turns.of(manifest.template, special_tokens=specials, stop_ids=manifest.tokenizer.stop_ids)
    chats = [Session(engine, turns, manifest.context, system="Be short.") for engine in (native, python)]
    for message, most in ((STORY * 2, 60), ("And then? " + STORY, 90), ("Go on.", 40)):
        first, second = ("".join(chat.send(message, max_new_tokens=most)) for chat in chats)
        assert first == second
        assert len(set(first)) > 5, "a reply that repeats one character would not tell one cache from another"
        assert chats[0].mark == chats[1].mark
        replies = [
            dataclasses.replace(chat.reply, time_to_first_token_s=None, decode_tokens_per_s=None)
            for chat in chats
            if chat.reply is not None
        ]
        assert len(replies) == 2 and replies[0] == replies[1]
    assert native.position == python.position > 1.5 * manifest.context.tokens
    assert chats[0].mark.first_visible_position > 0


def test_every_byte_of_every_piece_arrives(native: NativeEngine, python: Engine) -> None:
    pieces = take(native, STORY, 200, first=True)
    assert pieces == take(python, STORY, 200, first=True)
    partial = [piece for piece in pieces if whole_text(piece.data) is None]
    unprintable = [piece for piece in pieces if len(piece.data) == 1 and piece.data[0] < 32]
    assert len(partial) > 20 and unprintable, "the reply must hold what the runner's console and pybind cannot pass on"


def test_a_stream_longer_than_the_context_goes_on_as_one(
    package: Package, native: NativeEngine, python: Engine
) -> None:
    most = 2 * package.manifest.context.tokens + 100
    longest: list[Piece] = []
    for start in ("one", "two", "three", "four", "five", "six", STORY):
        native.reset()
        python.reset()
        pieces = take(native, start, most, first=True)
        assert pieces == take(python, start, most, first=True)
        assert native.position == python.position
        longest = max(longest, pieces, key=len)
    assert len(longest) > package.manifest.context.tokens, "no stream was long enough to need a second call"
    assert len({piece.data for piece in longest[-100:]}) > 5


def test_a_prompt_longer_than_the_context_is_taken(package: Package, native: NativeEngine, python: Engine) -> None:
    prompt = STORY * 12
    assert native.count(prompt, first=True) > 2 * package.manifest.context.tokens
    for text, first in ((prompt, True), (" and on", False), (prompt, False)):
        assert take(native, text, 12, first=first) == take(python, text, 12, first=first)
        assert native.position == python.position


def test_a_prefilled_text_is_continued(native: NativeEngine, python: Engine) -> None:
    for engine in (native, python):
        engine.prefill(STORY, first=True)
        engine.prefill("", first=False)
    assert take(native, "More.", 30) == take(python, "More.", 30)
    assert native.position == python.position


@pytest.mark.parametrize("stop_at", [1, 2, 5])
def test_a_stop_holds_at_the_piece_where_it_was_asked_for(native: NativeEngine, python: Engine, stop_at: int) -> None:
    pieces = take(native, STORY, 40, first=True, stop_at=stop_at)
    assert len(pieces) == stop_at
    assert pieces == take(python, STORY, 40, first=True, stop_at=stop_at)
    assert native.position == python.position
    assert take(native, " Then", 25) == take(python, " Then", 25), "the cache must hold exactly what was kept"


def test_a_stream_that_was_left_does_not_disturb_the_next(native: NativeEngine, python: Engine) -> None:
    for engine in (native, python):
        stream = engine.stream(STORY, first=True, max_new_tokens=40)
        next(stream), next(stream), next(stream)
        stream.close()
    assert native.position == python.position
    assert take(native, " Then", 25) == take(python, " Then", 25)
    assert native.position == python.position


def test_a_reset_forgets_everything(native: NativeEngine) -> None:
    once = take(native, STORY, 20, first=True)
    assert take(native, STORY, 20) != once
    native.reset()
    assert native.position == 0
    assert take(native, STORY, 20, first=True) == once


def test_the_runners_own_figures_come_along(native: NativeEngine) -> None:
    pieces = take(native, STORY, 50, first=True)
    stats = native.stats
    assert stats is not None
    assert (stats.prompt_tokens, stats.new_tokens) == (native.count(STORY, first=True), len(pieces))
    assert stats.decode_tokens_per_s is not None and stats.decode_tokens_per_s > 1


def with_stop_token(package: Package, token: int, folder: Path) -> Package:
    """The package with its last stop id replaced, in the manifest and in the program's `get_eos_ids`."""
    from export.pte import read_pte

    shutil.copytree(package.folder, folder)
    stop_ids = package.manifest.tokenizer.stop_ids
    program, content = folder / "model.pte", (package.folder / "model.pte").read_bytes()
    old, new, at = stop_ids[-1].to_bytes(8, "little"), token.to_bytes(8, "little"), -1
    while (at := content.find(old, at + 1)) >= 0:
        program.write_bytes(content[:at] + new + content[at + 8 :])
        if token in [*read_pte(program).constant_methods["get_eos_ids"]]:  # type: ignore[misc]
            break
    assert at >= 0, "the stop id was not found in the program"
    tokenizer = dataclasses.replace(package.manifest.tokenizer, stop_ids=(*stop_ids[:-1], token))
    return dataclasses.replace(
        package, folder=folder, manifest=dataclasses.replace(package.manifest, tokenizer=tokenizer)
    )


def test_a_stop_token_ends_the_reply_even_when_it_comes_first(package: Package, python: Engine, tmp_path: Path) -> None:
    spec = TokenizerSpec.from_json(package.manifest.to_json()["tokenizer"])
    tokenizer = load_tokenizer(package.folder, spec)
    wanders = [piece.data for piece in take(python, STORY, 30, first=True)]
    texts = [text for data in wanders if (text := whole_text(data)) and wanders.count(data) == 1]
    token = tokenizer.encode(texts[-1], first=False)
    assert len(token) == 1
    at = wanders.index(texts[-1].encode()) + 1
    changed = with_stop_token(package, token[0], tmp_path / "package")
    other = python_engine(changed)
    with open_native(changed, temperature=0.0) as engine:
        pieces = take(engine, STORY, 30, first=True)
        assert pieces == take(other, STORY, 30, first=True)
        assert len(pieces) == at and pieces[-1].is_stop and not any(piece.is_stop for piece in pieces[:-1])
        assert take(engine, " Then", 9) == take(other, " Then", 9)
        # The same place again, all tokens but the stop token given as the prompt: it is the first of its reply.
        for each in (engine, other):
            each.reset()
            take(each, STORY, 30, first=True, stop_at=at - 1)
        before = whole_text(wanders[at - 2])
        if before is not None and len(tokenizer.encode(before, first=False)) == 1:
            (only,) = take(engine, before, 9)
            assert only == take(other, before, 9)[0] and only.is_stop
            assert engine.position == other.position
            assert take(engine, " Then", 9) == take(other, " Then", 9)


def test_sentencepieces_byte_and_control_tokens_are_understood(package: Package, shared: Path, tmp_path: Path) -> None:
    """A foreign tokenizer over the same program, with prompts of ids that the program knows, and 2 as a stop id."""
    story = shared / "checkpoints" / "stories260K"
    spec = read_tokenizer_spec(story, vocab_size=512)
    assert spec is not None and spec.kind == "sentencepiece" and spec.num_bos == 1
    foreign = with_tokenizer(with_stop_token(package, 2, tmp_path / "package"), story, spec)
    other = python_engine(foreign)
    replies = []
    with open_native(foreign, temperature=0.0) as engine:
        for text in ("he", "was", "her it", "to and was Lily he", "The The", ""):
            engine.reset()
            other.reset()
            for sent, first in ((text, True), ("and the", False)):
                pieces, expected = take(engine, sent, 40, first=first), take(other, sent, 40, first=first)
                assert pieces == [Piece(data=piece.data or b" ", is_stop=piece.is_stop) for piece in expected]
                assert engine.position == other.position
                replies.append((pieces, expected))
    data = [piece.data for pieces, _ in replies for piece in pieces]
    assert sum(byte > 127 for (byte, *rest) in data if not rest) > 20, "bytes that came spelled out"
    assert any(pieces[-1].is_stop and len(pieces) < 40 for pieces, _ in replies), "the end token, which is a space"
    assert any(not piece.data and not piece.is_stop for _, expected in replies for piece in expected), "a BOS inside"


def with_tokenizer(package: Package, folder: Path, spec: TokenizerSpec) -> Package:
    """The package with another tokenizer's file and facts, the stop ids kept."""
    shutil.copyfile(folder / spec.file, package.folder / spec.file)
    manifest = package.manifest
    facts = type(manifest.tokenizer)(
        file=spec.file,
        kind=spec.kind,
        vocab_size=spec.vocab_size,
        bos_id=spec.bos_id,
        num_bos=1,
        bos_text=spec.bos_text,
        stop_ids=manifest.tokenizer.stop_ids,
        special_tokens=(),
    )
    files = tuple(
        dataclasses.replace(file, path=spec.file) if file.role == "tokenizer" else file for file in manifest.files
    )
    return dataclasses.replace(package, manifest=dataclasses.replace(manifest, tokenizer=facts, files=files))


def test_a_bounded_context_is_never_overrun(tiny_bounded: Made) -> None:
    with open_package(tiny_bounded.package) as bounded, open_native(bounded, temperature=0.0) as engine:
        tokens = bounded.manifest.context.tokens
        take(engine, STORY[:30], 500, first=True)
        assert engine.position < tokens
        with pytest.raises(ValueError, match="start a new chat"):
            take(engine, STORY * 3, 5)
        left = tokens - engine.position
        engine.prefill("x" * (left - 1) if left > 1 else "", first=False)
        with pytest.raises(ValueError, match="start a new chat"):
            take(engine, "xx", 5)


def test_sampling_varies_and_its_range_is_checked_before_anything_starts(package: Package) -> None:
    for temperature in (-0.1, 1.5, math.nan):
        with pytest.raises(ValueError, match="0 \\(greedy\\) to 1"):
            open_native(package, temperature=temperature)
    with open_native(package, temperature=1.0) as engine:
        replies = []
        for _ in range(3):
            engine.reset()
            replies.append(take(engine, STORY, 40, first=True))
    assert len({reply[0] for reply in replies}) == 1, "the runner's first token is greedy"
    assert any(reply != replies[0] for reply in replies[1:])


def test_a_program_that_the_runner_refuses_is_one_line_that_says_why(
    package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "package"
    shutil.copytree(package.folder, folder)
    (folder / "model.pte").write_bytes(b"\x1c\0\0\0NOPE" + bytes(5000))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "json.py").write_text("raise SystemExit('the child must not import from where the caller stands')\n")
    monkeypatch.chdir(elsewhere)
    before = children()
    with pytest.raises(ValueError, match="export the package again") as refused:
        open_native(dataclasses.replace(package, folder=folder), temperature=0.0)
    line = str(refused.value)
    assert "\n" not in line and "model.pte" in line and "identifier" in line
    assert children() == before


def test_a_child_that_dies_is_one_line_and_leaves_no_zombie(
    package: Package, capfd: pytest.CaptureFixture[str]
) -> None:
    before = children()
    engine = open_native(package, temperature=0.0)
    (process,) = children() - before
    stream = engine.stream(STORY, first=True, max_new_tokens=50)
    next(stream)
    os.kill(process, signal.SIGKILL)
    with pytest.raises(ValueError, match="SIGKILL") as died:
        list(stream)
    assert "\n" not in str(died.value)
    with pytest.raises(ValueError):
        engine.reset()
    engine.close()
    engine.close()
    assert children() == before
    assert capfd.readouterr() == ("", ""), "what the runner prints must not reach our descriptors"


def children(parent: int | None = None) -> set[int]:
    """Process ids of a process's native children and of its zombies."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("/proc is not here: it tells which processes are left")
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, of = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (folder / "cmdline").read_bytes()
        except OSError:  # it has ended meanwhile
            continue
        if int(of) == (parent or os.getpid()) and (state == "Z" or b"native_child" in command):
            found.add(int(folder.name))
    return found


INTERRUPTED = """
import json, sys
from pathlib import Path
from export.native import open_native
from export.package import open_package
with open_package(Path(sys.argv[1])) as package, open_native(package, temperature=0.0) as engine:
    while True:
        engine.reset()
        for piece in engine.stream("Once upon", first=True, max_new_tokens=200):
            print(json.dumps(engine.position), flush=True)
"""


def test_ctrl_c_in_the_parent_ends_the_child(package: Package, tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(package.folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
    )
    try:
        assert parent.stdout is not None and json.loads(parent.stdout.readline()) > 0
        (process,) = children(parent.pid)
        parent.send_signal(signal.SIGINT)
        _, errors = parent.communicate(timeout=30)
        assert b"KeyboardInterrupt" in errors
        assert parent.returncode == -signal.SIGINT
        deadline = time.monotonic() + 5
        while Path(f"/proc/{process}").exists():
            assert time.monotonic() < deadline, "the child outlives its parent"
            time.sleep(0.02)
    finally:
        parent.kill()
        parent.wait()
