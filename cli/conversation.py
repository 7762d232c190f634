"""The loop of `chat`: lines in, replies out, the chat saved after every step. Works the same on a terminal and a pipe.

Replies go to stdout; the prompt, notes and figures go to stderr. Knows only chat/, never what runs the model.
"""

import contextlib
import io
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TextIO

from chat import history
from chat.session import Session
from chat.template import Message
from cli.terminal import Terminal

HELP = (
    "/new starts over, /regenerate asks for another reply, /quit (or Ctrl-D) ends; // sends a line that begins with /"
)


@dataclass(kw_only=True)
class Conversation:
    """One run of `chat`."""

    terminal: Terminal
    open_session: Callable[[str | None], Session]  # a new chat with this system text; None: the package's own
    package_id: str
    max_new_tokens: int
    kernels: str = ""  # what attention runs with, told on a terminal
    system: str | None = None
    history_file: Path | None = None
    stdin: TextIO = field(default_factory=lambda: sys.stdin or io.StringIO())  # closed: nothing to read
    session: Session = field(init=False)
    num_forgotten: int = 0  # turns that the user has been told about

    def __post_init__(self) -> None:
        self.session = self.open_session(self.system)

    def run(self) -> None:
        """Reads lines until the end of the input or /quit.

        Raises:
            ValueError: the saved chat cannot be read or does not fit.
        """
        if self.is_interactive:
            self.terminal.log(HELP)
            if self.kernels:
                self.terminal.log(f"[{self.kernels}]")
        pending = self._restore()
        if pending is not None:
            self.terminal.log(f"answering the saved message: {pending}")
            self._turn(pending)
        for line in self._lines():
            if line == "/quit":
                return
            if line == "/new":
                self._start_over()
            elif line == "/regenerate":
                self._again()
            elif line.startswith("/") and not line.startswith("//"):
                self.terminal.log(f"unknown command {line.split()[0]!r}; {HELP}")
            elif line.strip():
                self._turn(line.removeprefix("/") if line.startswith("//") else line)

    @property
    def is_interactive(self) -> bool:
        return self.stdin.isatty()

    def _lines(self) -> Iterator[str]:
        while True:
            if self.is_interactive:
                self.terminal.err.write(self.terminal.bold("> ", self.terminal.err))
                self.terminal.err.flush()
            line = self.stdin.readline()
            if not line:
                return
            yield line.rstrip("\r\n")

    def _turn(self, text: str) -> None:
        self._save(Message(role="user", content=text))  # a killed process finds its question again
        self._show(self.session.send(text, max_new_tokens=self.max_new_tokens))

    def _again(self) -> None:
        self._show(self.session.regenerate(max_new_tokens=self.max_new_tokens))

    def _show(self, pieces: Iterator[str]) -> None:
        try:
            with self._stoppable():
                for text in pieces:
                    self.terminal.write(text)
        except ValueError as refused:  # no room, nothing to repeat: nothing was sent and the chat stays as it was
            self._save()
            if not self.is_interactive:
                raise
            self.terminal.log(str(refused))
        else:
            self._save()
            self.terminal.write("\n")
            self._tell()

    def _tell(self) -> None:
        """What the user should know of the turn: a note, what the window has forgotten, on a terminal figures."""
        reply, mark = self.session.reply, self.session.mark
        if reply is not None and reply.note:
            self.terminal.log(reply.note)
        if mark.first_visible_turn > self.num_forgotten:
            self.terminal.log(f"-- the model no longer sees the first {mark.first_visible_turn} turns --")
            self.num_forgotten = mark.first_visible_turn
        if self.is_interactive and reply is not None and reply.decode_tokens_per_s is not None:
            self.terminal.log(
                f"[{reply.new_tokens} tokens, {reply.decode_tokens_per_s:.0f} tokens/s, "
                f"first after {reply.time_to_first_token_s or 0:.2f} s]"
            )

    @contextlib.contextmanager
    def _stoppable(self) -> Iterator[None]:
        """On a terminal the first Ctrl-C ends the reply, not the chat."""
        if not self.is_interactive:
            yield
            return

        def cancel(_: int, __: FrameType | None) -> None:
            self.session.cancel()
            signal.signal(signal.SIGINT, signal.default_int_handler)

        before = signal.signal(signal.SIGINT, cancel)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _start_over(self) -> None:
        self.session = self.open_session(self.system)
        self.num_forgotten = 0
        self._save()
        self.terminal.log("a new chat")

    def _restore(self) -> str | None:
        """Takes over the saved chat, if there is one; returns its unanswered last message."""
        if self.history_file is None or not self.history_file.exists():
            return None
        saved = history.load(self.history_file)
        if saved.package_id != self.package_id:
            self.terminal.log(f"{self.history_file} was saved with another package; its text is taken over")
        pending = saved.unanswered
        messages = saved.messages if pending is None else saved.messages[:-1]
        self._take_system(messages[0].content if messages and messages[0].role == "system" else None)
        if messages and messages[-1].role == "assistant":
            kept = self.session.restore(messages)
            self.num_forgotten = self.session.mark.first_visible_turn
            if kept.note:
                self.terminal.log(kept.note)
        return pending

    def _take_system(self, saved: str | None) -> None:
        if self.system is not None and self.system != saved:
            raise ValueError(
                f"{self.history_file} was begun with another system text; leave out --system to go on with "
                "it, or name a new file"
            )
        if saved is not None:
            self.system = saved
            self.session = self.open_session(saved)

    def _save(self, *more: Message) -> None:
        if self.history_file is None:
            return
        saved = history.SavedChat(package_id=self.package_id, messages=(*self.session.messages, *more))
        history.save(saved, self.history_file)
