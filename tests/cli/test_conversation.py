"""The loop of `chat` and the stream of `generate` over a scripted engine."""

import io
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from chat.engine import Piece
from chat.session import Session
from chat.template import CompletionOnly
from chat.turns import Turns
from chat.window import Context
from cli.conversation import Conversation
from cli.streaming import stream_completion
from cli.terminal import Terminal
from tests.chat.short_template import SHORT

TURNS = Turns.of(SHORT, special_tokens={1: "</>", 2: "<u>", 3: "<a>"}, stop_ids=[1])
ENDLESS = Context(kind="endless", tokens=1000)
PACKAGE = "ab" * 32


class EchoEngine:
    """A token a character; replies are numbered, so that a repeated one differs."""

    def __init__(self) -> None:
        self.position = 0
        self.sent: list[str] = []
        self.num_resets = 0
        self.is_stopping = False

    def count(self, text: str, *, first: bool) -> int:
        return len(text)

    def prefill(self, text: str, *, first: bool) -> None:
        self.position += len(text)
        self.sent.append(f"prefill {text}")

    def stream(self, text: str, *, first: bool, max_new_tokens: int) -> Iterator[Piece]:
        self.sent.append(text)
        self.position += len(text)
        self.is_stopping = False
        reply = f"reply {len(self.sent)}"
        for index, letter in enumerate(reply[:max_new_tokens]):
            self.position += 1 if index else 0
            yield Piece(data=letter.encode())
            if self.is_stopping:
                return
        if len(reply) < max_new_tokens:
            self.position += 1
            yield Piece(data=b"</>", is_stop=True)

    def stop(self) -> None:
        self.is_stopping = True

    def reset(self) -> None:
        self.position = 0
        self.num_resets += 1


@dataclass
class Talk:
    engine: EchoEngine
    out: str
    err: str


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def talk(
    text: str,
    *,
    history: Path | None = None,
    system: str | None = None,
    context: Context = ENDLESS,
    package_id: str = PACKAGE,
    is_terminal: bool = False,
    max_new_tokens: int = 100,
) -> Talk:
    engine, out, err = EchoEngine(), io.StringIO(), io.StringIO()
    Conversation(
        terminal=Terminal(out=out, err=err),
        package_id=package_id,
        system=system,
        history_file=history,
        open_session=lambda given: Session(engine, TURNS, context, system=given),
        max_new_tokens=max_new_tokens,
        stdin=(Screen if is_terminal else io.StringIO)(text),
    ).run()
    return Talk(engine=engine, out=out.getvalue(), err=err.getvalue())


def test_piped_lines_are_answered_line_by_line_and_nothing_else_is_on_stdout():
    done = talk("Hi\n\nAnd?\n")
    assert done.out == "reply 1\nreply 2\n"
    assert done.err == ""
    assert done.engine.sent == ["<u>Hi</><a>", "</><u>And?</><a>"]


def test_a_last_line_without_a_line_feed_counts():
    assert talk("Hi").out == "reply 1\n"


def test_a_terminal_gets_a_prompt_and_figures_on_stderr_only():
    done = talk("Hi\n", is_terminal=True)
    assert done.out == "reply 1\n"
    assert done.err.count("> ") == 2 and "/regenerate" in done.err


def test_quit_ends_before_the_input_does():
    assert talk("Hi\n/quit\nMore\n").out == "reply 1\n"


def test_regenerate_asks_the_same_again():
    done = talk("Hi\n/regenerate\n")
    assert done.out == "reply 1\nreply 2\n"
    assert done.engine.sent == ["<u>Hi</><a>"] * 2


def test_new_starts_over_with_the_same_system_text(tmp_path):
    done = talk("Hi\n/new\nHo\n", system="Be kind.", history=tmp_path / "h.json")
    assert done.engine.sent == ["Be kind.\n<u>Hi</><a>", "Be kind.\n<u>Ho</><a>"]
    saved = json.loads((tmp_path / "h.json").read_text())["messages"]
    assert [message["content"] for message in saved] == ["Be kind.", "Ho", "reply 2"]


def test_an_unknown_command_is_not_sent_and_a_double_slash_sends_one():
    done = talk("/etc is a folder\n//etc is a folder\n")
    assert "unknown command '/etc'" in done.err
    assert done.engine.sent == ["<u>/etc is a folder</><a>"]


def test_a_typed_special_token_is_text():
    assert talk("a</><a>b\n").engine.sent[0].count("</>") == 1


def test_a_saved_chat_goes_on_where_it_was(tmp_path):
    file = tmp_path / "h.json"
    talk("Hi\n", history=file)
    done = talk("And?\n", history=file)
    assert done.engine.sent == ["prefill <u>Hi</><a>reply 1", "</><u>And?</><a>"]
    contents = [message["content"] for message in json.loads(file.read_text())["messages"]]
    assert contents == ["Hi", "reply 1", "And?", "reply 2"]


def test_a_question_that_was_never_answered_is_asked_again(tmp_path):
    file = tmp_path / "h.json"
    file.write_text(
        json.dumps({"schema_version": 1, "package_id": PACKAGE, "messages": [{"role": "user", "content": "Hi"}]})
    )
    done = talk("", history=file)
    assert done.out == "reply 1\n" and "answering the saved message: Hi" in done.err
    assert len(json.loads(file.read_text())["messages"]) == 2


def test_the_question_is_saved_before_the_reply(tmp_path):
    file = tmp_path / "h.json"

    class Killed(EchoEngine):
        def stream(self, text, *, first, max_new_tokens):
            raise KeyboardInterrupt
            yield

    engine = Killed()
    conversation = Conversation(
        terminal=Terminal(out=io.StringIO(), err=io.StringIO()),
        package_id=PACKAGE,
        history_file=file,
        open_session=lambda given: Session(engine, TURNS, ENDLESS, system=given),
        max_new_tokens=9,
        stdin=io.StringIO("Hi\n"),
    )
    with pytest.raises(KeyboardInterrupt):
        conversation.run()
    assert [message["content"] for message in json.loads(file.read_text())["messages"]] == ["Hi"]


def test_a_chat_saved_with_another_package_is_taken_over_with_a_note(tmp_path):
    talk("Hi\n", history=tmp_path / "h.json")
    done = talk("", history=tmp_path / "h.json", package_id="cd" * 32)
    assert "another package" in done.err


def test_another_system_text_for_a_saved_chat_is_refused_and_the_file_kept(tmp_path):
    file = tmp_path / "h.json"
    talk("Hi\n", history=file, system="Be kind.")
    before = file.read_bytes()
    with pytest.raises(ValueError, match="another system text"):
        talk("Ho\n", history=file, system="Be rude.")
    assert file.read_bytes() == before
    assert talk("Ho\n", history=file).engine.sent[0].startswith("prefill Be kind.\n")


def test_a_damaged_saved_chat_is_named(tmp_path):
    (tmp_path / "h.json").write_text("{")
    with pytest.raises(ValueError, match=r"h\.json"):
        talk("Hi\n", history=tmp_path / "h.json")


def test_what_the_window_has_forgotten_is_marked_once_as_it_happens():
    done = talk("one\ntwo\nthree\nfour\nfive\n", context=Context(kind="endless", tokens=50))
    marks = [line for line in done.err.splitlines() if "no longer sees" in line]
    assert marks and len(set(marks)) == len(marks)


def test_a_full_bounded_context_is_an_error_on_a_pipe_and_a_line_on_a_terminal():
    bounded = Context(kind="bounded", tokens=40)
    with pytest.raises(ValueError, match="the chat is full"):
        talk("x\n" * 9, context=bounded)
    done = talk("x\n" * 9, context=bounded, is_terminal=True)
    assert "the chat is full" in done.err


def test_the_first_ctrl_c_on_a_terminal_ends_the_reply_and_not_the_chat():
    class Interrupted(EchoEngine):
        def stream(self, text, *, first, max_new_tokens):
            for index, piece in enumerate(super().stream(text, first=first, max_new_tokens=max_new_tokens)):
                if index == 2 and len(self.sent) == 1:
                    os.kill(os.getpid(), signal.SIGINT)
                yield piece

    engine, out = Interrupted(), io.StringIO()
    before = signal.getsignal(signal.SIGINT)
    Conversation(
        terminal=Terminal(out=out, err=io.StringIO()),
        package_id=PACKAGE,
        open_session=lambda given: Session(engine, TURNS, ENDLESS, system=given),
        max_new_tokens=100,
        stdin=Screen("Hi\nHo\n"),
    ).run()
    assert out.getvalue() == "rep\nreply 2\n"
    assert signal.getsignal(signal.SIGINT) is before


def completion(prompt: str, *, context: Context = ENDLESS, as_json: bool = False, max_new_tokens: int = 100) -> Talk:
    engine, out, err = EchoEngine(), io.StringIO(), io.StringIO()
    turns = Turns.of(CompletionOnly(reason="none"), special_tokens={1: "</>"}, stop_ids=[1])
    opened = SimpleNamespace(engine=engine, turns=turns, context=context, kernels="stock kernels", note="")
    stream_completion(Terminal(out=out, err=err), opened, prompt, max_new_tokens=max_new_tokens, as_json=as_json)
    return Talk(engine=engine, out=out.getvalue(), err=err.getvalue())


def test_a_completion_streams_to_stdout_and_its_figures_to_stderr():
    done = completion("Once")
    assert done.out == "reply 1\n" and done.err.startswith("[4 + 8 tokens") and done.err.endswith("; stock kernels]\n")


def test_a_completion_as_json_is_one_value():
    value = json.loads(completion("Once", as_json=True).out)
    assert (value["text"], value["end"], value["prompt_tokens"]) == ("reply 1", "stop", 4)


def test_a_prompt_never_holds_a_special_token():
    assert "</>" not in completion("a</>b").engine.sent[0]


def test_a_bounded_package_stops_before_its_end_with_a_sentence():
    done = completion("Once", context=Context(kind="bounded", tokens=8), max_new_tokens=50)
    assert done.out == "repl\n" and "limit of 8 tokens" in done.err
    with pytest.raises(ValueError, match="holds 8 in all"):
        completion("Once upon", context=Context(kind="bounded", tokens=8))
