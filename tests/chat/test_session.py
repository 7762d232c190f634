"""A chat session over a runner whose cache can be read back, and over one that behaves as the phones' does."""

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from chat.engine import Piece, TokenEngine
from chat.session import Session
from chat.template import CompletionOnly, Message
from chat.turns import Turns
from chat.window import Context, ContextFullError, Mark
from tests.chat.short_template import SHORT

SPECIALS = {256: "<s>", 257: "<u>", 258: "<a>", 259: "</>"}
END = 259
CHAT = Turns.of(SHORT, special_tokens=SPECIALS, stop_ids=[END])
PLAIN = Turns.of(CompletionOnly(reason="none"), special_tokens=SPECIALS, stop_ids=[END])
ENDLESS = Context(kind="endless", tokens=1000)


class ByteTokenizer:
    """One id a byte, one a special text, <s> first."""

    def encode(self, text: str, *, first: bool) -> list[int]:
        ids = [256] if first else []
        while text:
            special = next((i for i, s in SPECIALS.items() if text.startswith(s)), None)
            ids += [special] if special is not None else list(text[0].encode())
            text = text[len(SPECIALS[special]) if special is not None else 1 :]
        return ids

    def piece(self, token: int) -> bytes:
        return SPECIALS[token].encode() if token in SPECIALS else bytes([token])


class ScriptedRunner:
    """Replies with the scripted texts, one after the other, and keeps what a real cache would hold."""

    def __init__(self, *replies: str) -> None:
        self.replies = [ByteTokenizer().encode(reply, first=False) for reply in replies]
        self.cache: list[int] = []
        self.num_resets = 0
        self.fail_after: int | None = None

    def prefill(self, ids: Sequence[int], position: int) -> None:
        assert position == len(self.cache)
        self.cache += ids

    def generate_ids(
        self, prompt_ids: Sequence[int], position: int, max_new_tokens: int, sampler: object
    ) -> Iterator[int]:
        assert sampler == "greedy"
        self.prefill(prompt_ids, position)
        for index, token_id in enumerate(reply := self.replies.pop(0)[:max_new_tokens]):
            if index == self.fail_after:
                raise RuntimeError("the device is gone")
            if index:
                self.cache.append(reply[index - 1])  # only now: the last token is never written
            yield token_id

    def reset(self) -> None:
        self.cache.clear()
        self.num_resets += 1

    @property
    def text(self) -> str:
        return b"".join(map(ByteTokenizer().piece, self.cache)).decode()


class TickingClock:
    """A quarter of a second passes with every look at it."""

    def __init__(self) -> None:
        self.time_s = 0.0

    def __call__(self) -> float:
        self.time_s += 0.25
        return self.time_s


def session_over(
    runner: ScriptedRunner, turns: Turns = CHAT, context: Context = ENDLESS, system: str | None = None
) -> Session:
    engine = TokenEngine(ByteTokenizer(), runner, stop_ids=[END], sampler="greedy")
    return Session(engine, turns, context, system=system, clock=TickingClock())


def said(*contents: str) -> list[Message]:
    return [Message(role=("user", "assistant")[i % 2], content=content) for i, content in enumerate(contents)]


def test_two_turns_leave_the_cache_as_one_rendering_of_the_chat() -> None:
    runner = ScriptedRunner("Hello 😀</>", "Fine.</>")
    session = session_over(runner, system="Be kind.")
    assert "".join(session.send("Hi")) == "Hello 😀"
    assert runner.text == "<s>Be kind.\n<u>Hi</><a>Hello 😀"  # the end of the turn was sampled, not written
    assert session.position == len(runner.cache)
    assert "".join(session.send("How are you?")) == "Fine."
    assert runner.text == "<s>Be kind.\n<u>Hi</><a>Hello 😀</><u>How are you?</><a>Fine."
    assert list(session.messages[1:]) == said("Hi", "Hello 😀", "How are you?", "Fine.")
    assert runner.num_resets == 1


def test_pieces_are_whole_characters_although_tokens_are_single_bytes() -> None:
    pieces = list(session_over(ScriptedRunner("é😀</>")).send("Hi"))
    assert pieces == ["é", "😀"]


def test_the_statistics_count_tokens_and_time_them() -> None:
    session = session_over(ScriptedRunner("abcd</>"))
    list(session.send("Hi"))
    reply = session.reply
    assert reply is not None
    assert (reply.end, reply.text, reply.prompt_tokens, reply.new_tokens) == ("stop", "abcd", 6, 5)
    assert (reply.time_to_first_token_s, reply.decode_tokens_per_s) == (0.25, 4.0)


def test_a_reply_cut_by_its_length_is_followed_by_the_end_of_turn() -> None:
    runner = ScriptedRunner("abcdef", "ok</>")
    session = session_over(runner)
    assert "".join(session.send("Hi", max_new_tokens=3)) == "abc"
    assert session.reply is not None and session.reply.end == "length"
    list(session.send("On"))
    assert runner.text == "<s><u>Hi</><a>ab</><u>On</><a>ok"  # the last sampled token is lost, as on the phones


def test_a_completion_package_goes_on_without_a_gap() -> None:
    runner = ScriptedRunner("abcdef", "ghi</>")
    session = session_over(runner, turns=PLAIN)
    assert "".join(session.send("Once ", max_new_tokens=3)) == "abc"
    assert "".join(session.send("")) == "ghi"
    assert runner.text == "<s>Once abcghi"
    with pytest.raises(ValueError, match="nothing to send"):  # the reply ended by itself: there is nothing to send
        list(session.send(""))


def test_a_stop_text_spelled_by_ordinary_tokens_ends_the_reply() -> None:
    turns = Turns(template=SHORT, specials=tuple(SPECIALS.values()), stop_texts=("User:",))
    runner = ScriptedRunner("Yes.User: and more", "ok</>")
    session = session_over(runner, turns=turns)
    assert "".join(session.send("Hi")) == "Yes."
    assert session.reply is not None and session.reply.end == "stop"
    assert runner.text.endswith("<a>Yes.User")  # generation ended with the stop text's last character
    list(session.send("On"))
    assert runner.text.endswith("<a>Yes.User</><u>On</><a>ok")


def test_cancel_ends_the_reply_and_keeps_what_was_said() -> None:
    runner = ScriptedRunner("abcdef", "ok</>")
    session = session_over(runner)
    stream = session.send("Hi")
    assert next(stream) == "a"
    session.cancel()
    assert list(stream) == []
    assert session.reply is not None and (session.reply.end, session.reply.text) == ("cancelled", "a")
    list(session.send("On"))
    assert runner.text == "<s><u>Hi</><a></><u>On</><a>ok"
    assert session.reply.end == "stop"


def test_leaving_the_loop_early_is_a_cancel() -> None:
    runner = ScriptedRunner("abcdef", "ok</>")
    session = session_over(runner)
    for text in session.send("Hi"):
        if text == "b":
            break
    assert session.reply is not None and session.reply.end == "cancelled"
    assert session.messages == tuple(said("Hi", "ab"))
    list(session.send("On"))
    assert runner.text == "<s><u>Hi</><a>a</><u>On</><a>ok"


def test_a_cancel_without_a_reply_does_not_touch_the_next_one() -> None:
    session = session_over(ScriptedRunner("abc</>"))
    session.cancel()
    assert "".join(session.send("Hi")) == "abc"


def test_a_second_reply_at_the_same_time_is_refused() -> None:
    session = session_over(ScriptedRunner("abc</>"))
    stream = session.send("Hi")
    next(stream)
    for call in (
        lambda: list(session.send("x")),
        lambda: list(session.regenerate()),
        lambda: session.restore(said("a", "b")),
    ):
        with pytest.raises(ValueError, match="still running"):
            call()
    assert "".join(stream) == "bc"


def test_another_reply_starts_over_and_replaces_the_old_one() -> None:
    runner = ScriptedRunner("one</>", "two</>", "three</>", "four</>")
    session = session_over(runner)
    list(session.send("A"))
    list(session.send("B"))
    assert "".join(session.regenerate()) == "three"
    assert session.messages == tuple(said("A", "one", "B", "three"))
    assert runner.text == "<s><u>A</><a>one</><u>B</><a>three"
    list(session.send("C"))
    assert runner.text == "<s><u>A</><a>one</><u>B</><a>three</><u>C</><a>four"


def test_without_a_reply_there_is_none_to_repeat() -> None:
    with pytest.raises(ValueError, match="no reply to generate again"):
        list(session_over(ScriptedRunner()).regenerate())


def test_after_an_engine_error_the_chat_is_sent_again() -> None:
    runner = ScriptedRunner("one</>", "two</>", "three</>")
    session = session_over(runner)
    list(session.send("A"))
    runner.fail_after = 1
    with pytest.raises(RuntimeError, match="the device is gone"):
        list(session.send("B"))
    assert session.messages == tuple(said("A", "one"))
    runner.fail_after = None
    assert "".join(session.send("B")) == "three"
    assert runner.text == "<s><u>A</><a>one</><u>B</><a>three"


def test_a_bounded_chat_stops_before_its_end_with_a_sentence() -> None:
    runner = ScriptedRunner("abcdefgh", "x</>")
    session = session_over(runner, context=Context(kind="bounded", tokens=12))
    assert "".join(session.send("Hi")) == "abcdef"
    assert session.reply is not None
    assert session.reply.end == "context"
    assert "limit of 12 tokens; start a new chat" in session.reply.note
    assert len(runner.cache) <= 12
    with pytest.raises(ContextFullError, match="the message has 6 tokens, and of the package's 12 only 1 are left"):
        list(session.send("On"))
    assert session.messages == tuple(said("Hi", "abcdef"))


def test_a_message_longer_than_a_bounded_context_is_refused_before_anything_is_sent() -> None:
    runner = ScriptedRunner("x</>")
    session = session_over(runner, context=Context(kind="bounded", tokens=12))
    with pytest.raises(ContextFullError, match="the message has 24 tokens and this package holds 12"):
        list(session.send("x" * 20))
    assert runner.cache == []
    assert "".join(session.send("Hi")) == "x"


def test_a_message_longer_than_an_endless_context_is_sent_whole() -> None:
    runner = ScriptedRunner("x</>")
    session = session_over(runner, context=Context(kind="endless", tokens=12))
    assert "".join(session.send("y" * 20)) == "x"
    assert session.mark == Mark(first_visible_position=14, first_visible_turn=0, is_partial=True)


def test_the_mark_follows_an_endless_chat() -> None:
    runner = ScriptedRunner(*["abcd</>"] * 4)
    session = session_over(runner, context=Context(kind="endless", tokens=20))
    seen = []
    for _ in range(4):
        list(session.send("Hi"))
        seen.append((session.position, session.mark.first_visible_turn, session.mark.is_partial))
    assert seen == [(10, 0, False), (20, 0, True), (30, 1, True), (40, 2, True)]


def test_a_restored_chat_goes_on_as_if_it_had_never_ended() -> None:
    runner = ScriptedRunner("three</>")
    session = session_over(runner)
    kept = session.restore(said("A", "one", "B", "two"))
    assert (kept.note, runner.text) == ("", "<s><u>A</><a>one</><u>B</><a>two")
    assert "".join(session.send("C")) == "three"
    assert runner.text == "<s><u>A</><a>one</><u>B</><a>two</><u>C</><a>three"
    assert session.mark == Mark(first_visible_position=0, first_visible_turn=0, is_partial=False)


def test_a_restored_chat_leaves_out_what_no_longer_fits_and_marks_it() -> None:
    runner = ScriptedRunner("ok</>")
    session = session_over(runner, context=Context(kind="endless", tokens=40))
    system = Message(role="system", content="S")
    kept = session.restore([system, *said("A" * 9, "one", "B", "two", "C", "three")])
    assert runner.text == "<s>S\n<u>B</><a>two</><u>C</><a>three"
    assert kept.note == "2 older messages no longer fit and are not remembered; they stay readable"
    assert session.mark == Mark(first_visible_position=0, first_visible_turn=1, is_partial=False)
    list(session.send("D"))
    assert session.mark.first_visible_turn == 1
    assert len(session.messages) == 9


def test_a_restored_chat_whose_last_turn_is_too_long_starts_fresh() -> None:
    runner = ScriptedRunner("ok</>")
    session = session_over(runner, context=Context(kind="endless", tokens=20))
    kept = session.restore(said("A", "x" * 50))
    assert "the newest turn alone has 55 tokens" in kept.note
    assert runner.cache == []
    assert session.mark.first_visible_turn == 1
    list(session.send("B"))
    assert runner.text == "<s><u>B</><a>ok"
    assert session.messages == tuple(said("A", "x" * 50, "B", "ok"))
    assert session.reply is not None and "newest turn alone" in session.reply.note


def test_a_chat_that_waits_for_a_reply_is_not_restored() -> None:
    with pytest.raises(ValueError, match="a restored chat ends with a reply"):
        session_over(ScriptedRunner()).restore(said("A", "one", "B"))


def test_a_system_message_that_the_package_cannot_take_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="takes no system message"):
        session_over(ScriptedRunner(), turns=PLAIN, system="x")


class PhoneEngine:
    """The phones' runner: text in, pieces out, the stop token's text delivered, an early stop() lost."""

    def __init__(self, pieces: list[bytes], lost_stops: int = 0) -> None:
        self.pieces = pieces
        self.lost_stops = lost_stops
        self.position = 0
        self.sent: list[str] = []
        self.num_delivered = 0
        self.started = threading.Event()
        self._stopped = threading.Event()

    def count(self, text: str, *, first: bool) -> int:
        return len(text)

    def prefill(self, text: str, *, first: bool) -> None:
        self.position += len(text)

    def stream(self, text: str, *, first: bool, max_new_tokens: int) -> Iterator[Piece]:
        self.sent.append(text)
        self._stopped.clear()
        self.started.set()
        for index, data in enumerate(self.pieces[:max_new_tokens]):
            self.position += len(text) if index == 0 else 1
            self.num_delivered += 1
            yield Piece(data=data)
            if self._stopped.is_set():
                return

    def stop(self) -> None:
        if self.lost_stops:
            self.lost_stops -= 1
        else:
            self._stopped.set()

    def reset(self) -> None:
        self.position = 0


def test_a_stop_token_delivered_as_text_is_filtered_and_the_runner_told_to_stop() -> None:
    engine = PhoneEngine([b"Hi", b"</", b">", b"leaked", b"more"])
    session = Session(engine, CHAT, ENDLESS)
    assert "".join(session.send("A")) == "Hi"
    assert engine.num_delivered == 3
    assert session.reply is not None and (session.reply.end, session.reply.new_tokens) == ("stop", 3)


def test_a_lost_stop_is_asked_for_again_after_every_piece() -> None:
    engine = PhoneEngine([b"a", b"b", b"c", b"d", b"e"], lost_stops=2)
    session = Session(engine, CHAT, ENDLESS)
    stream = session.send("A")
    assert next(stream) == "a"
    session.cancel()
    assert "".join(stream) == "bc"  # shown, for the model has said it
    assert engine.num_delivered == 3
    assert session.reply is not None and session.reply.end == "cancelled"


def test_a_reply_that_the_runner_ended_itself_has_no_lost_token() -> None:
    engine = PhoneEngine([b"a", b"b"])
    session = Session(engine, PLAIN, ENDLESS)
    list(session.send("x"))
    assert session.reply is not None and session.reply.end == "stop"
    list(session.send("y"))
    assert engine.sent == ["x", "y"]


class StuckInPrefill(PhoneEngine):
    """Ends without a piece when it was stopped while reading the prompt."""

    def stream(self, text: str, *, first: bool, max_new_tokens: int) -> Iterator[Piece]:
        self.sent.append(text)
        self.started.set()
        if self._stopped.wait(timeout=5):
            self.position += 1
            return
        yield Piece(data=b"late")


def test_a_cancel_during_the_prompt_leaves_the_turn_unsaid_and_the_next_one_starts_over() -> None:
    engine = StuckInPrefill([])
    session = Session(engine, CHAT, ENDLESS)
    shown: list[str] = []
    thread = threading.Thread(target=lambda: shown.extend(session.send("A")))
    thread.start()
    assert engine.started.wait(timeout=5)
    session.cancel()
    thread.join(timeout=5)
    assert not thread.is_alive()
    assert (shown, session.messages, session.position) == ([], (), 0)
    assert session.reply is not None
    assert (session.reply.end, session.reply.time_to_first_token_s) == ("cancelled", None)


def test_an_engine_that_says_nothing_is_an_error() -> None:
    session = Session(PhoneEngine([]), CHAT, ENDLESS)
    with pytest.raises(ValueError, match="ended without a single token"):
        list(session.send("A"))
    assert session.messages == ()


def test_a_chat_needs_nothing_but_the_standard_library() -> None:
    root = Path(__file__).resolve().parents[2]
    code = "import chat.session, chat.history, chat.ring, sys; print(sorted({n.split('.')[0] for n in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=root, capture_output=True, text=True, timeout=30, check=True
    )  # -S: without site-packages
    assert "'chat'" in done.stdout
    assert "'model'" not in done.stdout
