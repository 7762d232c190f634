"""A chat over an engine: sends what is new, streams the reply as clean text, counts positions, remembers the messages.

When the cache does not hold the conversation (the first turn, another reply wanted, an error in the middle), the next
turn starts over from an empty cache with the newest turns that fit. Knows neither ids nor tensors.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from chat.engine import Engine, Piece
from chat.reply import Ending, Reply, ReplyStream
from chat.template import Message
from chat.turns import Turns, to_regenerate
from chat.window import Context, Kept, Mark, context_end_sentence, mark, new_token_budget, restore

DEFAULT_NEW_TOKENS = 512


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """What is sent again of a conversation when the cache is empty."""

    kept: Kept
    messages: tuple[Message, ...]  # the system message, if one was given, and the newest turns
    starts: tuple[int, ...]  # their turns' first positions
    num_forgotten: int  # older turns


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """One turn before it is sent."""

    text: str
    first: bool  # whether it starts over from an empty cache
    user_text: str
    before: tuple[Message, ...]  # the conversation that this turn is added to
    starts: tuple[int, ...]  # first positions of the turns that the cache will hold, this one included
    num_forgotten: int  # older turns that it will not hold
    prompt_tokens: int
    wanted: int  # new tokens
    max_new_tokens: int  # fewer when a bounded context ends before
    note: str


class Session:
    """One chat. Not for several threads, save `cancel`, which may be called from any.

    Args:
        engine: an engine that nobody else uses; its cache is emptied at the first turn.
        turns: the package's texts.
        context: the package's context.
        system: the system text, or None for the package's own.
        clock: seconds; replaced in tests.

    Raises:
        ValueError: the package takes no system message.
    """

    def __init__(
        self,
        engine: Engine,
        turns: Turns,
        context: Context,
        *,
        system: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._turns = turns
        self._context = context
        self._clock = clock
        self._messages: tuple[Message, ...] = () if system is None else (Message(role="system", content=system),)
        turns.parts(self._messages)
        self._holds_chat = False  # whether the cache holds `_messages`
        self._starts: tuple[int, ...] = ()
        self._num_forgotten = 0
        self._lost = b""
        self._is_busy = False
        self._is_cancelled = False
        self._reply: Reply | None = None

    @property
    def messages(self) -> tuple[Message, ...]:
        """What was said, the system message first if one was given; only whole turns."""
        return self._messages

    @property
    def reply(self) -> Reply | None:
        """How the last turn went; None before the first has ended."""
        return self._reply

    @property
    def position(self) -> int:
        """Positions in the cache."""
        return self._engine.position if self._holds_chat else 0

    @property
    def mark(self) -> Mark:
        """What the model still sees; turns count from the conversation's first, sent again or not."""
        if not self._holds_chat:
            return Mark(first_visible_position=0, first_visible_turn=self._num_forgotten, is_partial=False)
        starts = [min(start, self.position) for start in self._starts]  # counted apart, a text may have more tokens
        seen = mark(starts, self.position, self._context)
        return Mark(
            first_visible_position=seen.first_visible_position,
            is_partial=seen.is_partial,
            first_visible_turn=seen.first_visible_turn + self._num_forgotten,
        )

    def send(self, user_text: str, *, max_new_tokens: int = DEFAULT_NEW_TOKENS) -> Iterator[str]:
        """Streams the reply's text; `reply` tells afterwards how it went. Leaving the loop early cancels the turn.

        Raises:
            ContextFullError: the message does not fit into a bounded context; nothing was sent.
            ValueError: nothing to send, another reply still running, or an engine that yields nothing.
        """
        self._refuse_if_busy()
        if self._holds_chat:
            yield from self._stream(self._next_plan(user_text, max_new_tokens))
        else:
            yield from self._stream(self._first_plan(self._messages, user_text, max_new_tokens))

    def regenerate(self, *, max_new_tokens: int = DEFAULT_NEW_TOKENS) -> Iterator[str]:
        """Streams another reply to the last user message; the old one is kept until the new one has ended.

        Raises:
            ValueError: there is no reply yet, or as `send`.
        """
        self._refuse_if_busy()
        *before, user = to_regenerate(self._messages)
        yield from self._stream(self._first_plan(tuple(before), user.content, max_new_tokens))

    def restore(self, messages: Sequence[Message]) -> Kept:
        """Takes over a saved chat and prefills what fits, a quarter of the context left free.

        Args:
            messages: whole turns; they replace this session's, system message included.

        Raises:
            ValueError: the last message is not a reply, the order is wrong, or the system message does not fit.
        """
        self._refuse_if_busy()
        self._turns.restored_text(messages)  # checks all of them, also those that will not fit
        fit = self._fit(tuple(messages), reserve=self._context.tokens // 4)
        self._messages, self._starts, self._num_forgotten = tuple(messages), fit.starts, fit.num_forgotten
        self._holds_chat, self._lost, self._reply = False, b"", None
        if fit.starts:
            self._engine.reset()
            self._engine.prefill(self._turns.restored_text(fit.messages), first=True)
            self._holds_chat = True
        return fit.kept

    def cancel(self) -> None:
        """Ends the running reply soon, also while its prompt is prefilled; without one it does nothing."""
        if self._is_busy:
            self._is_cancelled = True
            self._engine.stop()

    def _refuse_if_busy(self) -> None:
        if self._is_busy:
            raise ValueError("a reply is still running; wait for its end or cancel it")

    def _lengths(self, messages: tuple[Message, ...]) -> list[int]:
        """Tokens of the head (start and system text) and of each message after it."""
        return [self._engine.count(part, first=index == 0) for index, part in enumerate(self._turns.parts(messages))]

    def _fit(self, messages: tuple[Message, ...], *, reserve: int) -> _Fit:
        lengths = self._lengths(messages)
        num_system = 1 if messages and messages[0].role == "system" else 0
        roles = ["system"] + [message.role for message in messages[num_system:]]
        reserve = min(reserve, max(0, self._context.tokens - lengths[0]))
        kept = restore(roles, lengths, self._context, reserve)
        ends = list(accumulate(lengths[kept.first :], initial=lengths[0]))
        starts = [end for end, role in zip(ends, roles[kept.first :], strict=False) if role == "user"]
        return _Fit(
            kept=kept,
            messages=messages[:num_system] + messages[num_system + kept.first - 1 :],
            starts=(0, *starts[1:]) if starts else (),
            num_forgotten=roles[: kept.first].count("user"),
        )

    def _next_plan(self, user_text: str, wanted: int) -> _Plan:
        text = self._turns.next_text(user_text, lost=self._lost)
        prompt_tokens = self._engine.count(text, first=False)
        position = self._engine.position
        return _Plan(
            text=text,
            first=False,
            user_text=user_text,
            before=self._messages,
            starts=(*self._starts, position),
            num_forgotten=self._num_forgotten,
            prompt_tokens=prompt_tokens,
            wanted=wanted,
            note="",
            max_new_tokens=new_token_budget(position, prompt_tokens, wanted, self._context),
        )

    def _first_plan(self, before: tuple[Message, ...], user_text: str, wanted: int) -> _Plan:
        user = Message(role="user", content=user_text)
        alone = self._engine.count(self._turns.parts((user,))[1], first=False)
        fit = self._fit(before, reserve=alone + min(wanted, self._context.tokens // 4))
        text = self._turns.first_text((*fit.messages, user))
        prompt_tokens = self._engine.count(text, first=True)
        return _Plan(
            text=text,
            first=True,
            user_text=user_text,
            before=before,
            starts=(*fit.starts, fit.kept.tokens) if fit.starts else (0,),
            num_forgotten=fit.num_forgotten,
            prompt_tokens=prompt_tokens,
            wanted=wanted,
            note=fit.kept.note,
            max_new_tokens=new_token_budget(0, prompt_tokens, wanted, self._context),
        )

    def _stream(self, plan: _Plan) -> Iterator[str]:
        self._is_busy, self._is_cancelled = True, False
        self._holds_chat = False  # until the turn has ended without an error
        stream = ReplyStream(self._turns.stop_texts, self._clock)
        try:
            if plan.first:
                self._engine.reset()
            pieces = self._engine.stream(plan.text, first=plan.first, max_new_tokens=plan.max_new_tokens)
            for piece in pieces:
                text = stream.take(piece)
                self._stop_if_done(stream)
                if text:
                    try:
                        yield text
                    except GeneratorExit:  # the caller left its loop: the engine still has to come to its end
                        self._is_cancelled = True
                        self._drain(pieces, stream)
                        stream.finish()
                        self._record(plan, stream)
                        raise
            rest = stream.finish()
            self._record(plan, stream)
        finally:
            self._is_busy = False
        if rest:
            yield rest

    def _stop_if_done(self, stream: ReplyStream) -> None:
        if self._is_cancelled or stream.is_stopped:
            self._engine.stop()  # after every piece, for an early call may be lost

    def _drain(self, pieces: Iterator[Piece], stream: ReplyStream) -> None:
        self._engine.stop()
        for piece in pieces:
            stream.take(piece)
            self._engine.stop()

    def _record(self, plan: _Plan, stream: ReplyStream) -> None:
        end, note = self._end(plan, stream)
        self._reply = Reply(
            text=stream.text,
            end=end,
            prompt_tokens=plan.prompt_tokens,
            new_tokens=stream.num_tokens,
            time_to_first_token_s=stream.time_to_first_token_s,
            decode_tokens_per_s=stream.decode_tokens_per_s,
            note=note,
        )
        if not stream.num_tokens:
            if end == "cancelled":
                return  # in the middle of the prompt: how much of it is in the cache is unknown
            raise ValueError("the engine ended without a single token; send the message again")
        self._messages = (
            *plan.before,
            Message(role="user", content=plan.user_text),
            Message(role="assistant", content=stream.text),
        )
        self._starts, self._num_forgotten = plan.starts, plan.num_forgotten
        self._lost = b"" if end == "stop" else stream.lost
        self._holds_chat = True

    def _end(self, plan: _Plan, stream: ReplyStream) -> tuple[Ending, str]:
        if stream.is_stopped:
            return "stop", plan.note
        if self._is_cancelled:
            return "cancelled", plan.note
        if stream.num_tokens < plan.max_new_tokens:
            return "stop", plan.note  # by a stop token that the runner keeps to itself
        if plan.max_new_tokens < plan.wanted:
            return "context", context_end_sentence(self._context)
        return "length", plan.note
