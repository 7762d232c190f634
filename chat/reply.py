"""One reply: its pieces become clean text, with the counts and times that an app shows.

Bytes are joined to characters, stop texts are taken out. Knows no engine and no conversation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from chat.engine import Piece
from chat.stop_filter import StopFilter
from chat.utf8 import Utf8Joiner

# By itself; all wanted tokens given; a bounded context full; by the user.
Ending = Literal["stop", "length", "context", "cancelled"]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """How the last turn went."""

    text: str
    end: Ending
    prompt_tokens: int  # sent in this turn
    new_tokens: int  # the stop token included
    time_to_first_token_s: float | None  # None: cancelled before it came
    decode_tokens_per_s: float | None  # of the tokens after the first; None: there was none
    note: str  # a sentence for the user, or ""


class ReplyStream:
    """The pieces of one reply becoming text, and their times."""

    def __init__(self, stop_texts: Sequence[str], clock: Callable[[], float]) -> None:
        self._joiner = Utf8Joiner()
        self._filter = StopFilter(stop_texts)
        self._clock = clock
        self._start_s = self._first_s = self._last_s = clock()
        self.is_stopped = False
        self.num_tokens = 0
        self.text = ""
        self.lost = b""  # bytes of the newest token, which is not in the cache yet

    def take(self, piece: Piece) -> str:
        """Counts a piece and returns the text that is certain now."""
        self._last_s = self._clock()
        if not self.num_tokens:
            self._first_s = self._last_s
        self.num_tokens += 1
        if self.is_stopped:
            return ""
        text = "" if piece.is_stop else self._filter.push(self._joiner.push(piece.data))
        self.is_stopped = piece.is_stop or self._filter.is_stopped
        self.lost = b"" if self.is_stopped else piece.data
        self.text += text
        return text

    def finish(self) -> str:
        """Ends the reply and returns what was held back."""
        text = self._filter.push(self._joiner.flush()) + self._filter.flush()
        self.text += text
        return text

    @property
    def time_to_first_token_s(self) -> float | None:
        return self._first_s - self._start_s if self.num_tokens else None

    @property
    def decode_tokens_per_s(self) -> float | None:
        seconds = self._last_s - self._first_s
        return (self.num_tokens - 1) / seconds if self.num_tokens > 1 and seconds > 0 else None
