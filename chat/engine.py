"""What a chat needs of whatever runs the model, and the engine built of a tokenizer and a runner of token ids.

An engine keeps its cache between calls and takes text, because the phones' native runner does: it tokenizes by itself
and gives back pieces of text. A native engine implements `Engine` directly; a runner of ids stands behind
`TokenEngine`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

Sampler = TypeVar("Sampler")
SamplerIn = TypeVar("SamplerIn", contravariant=True)


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One new token."""

    data: bytes  # its own bytes, which may end inside a character
    is_stop: bool = False  # a stop token, whose bytes are no part of the reply


class Engine(Protocol):
    """Runs the model on text and remembers it.

    The last token of a stream is never in the cache: it was sampled and nothing came after it.
    """

    @property
    def position(self) -> int:
        """Positions in the cache."""

    def count(self, text: str, *, first: bool) -> int:
        """Tokens of a text; `first` puts before it what only a chat's beginning has (the BOS id, or `bos_text`)."""

    def prefill(self, text: str, *, first: bool) -> None:
        """Writes a text to the cache without asking for a reply."""

    def stream(self, text: str, *, first: bool, max_new_tokens: int) -> Iterator[Piece]:
        """Writes a text and yields at most `max_new_tokens` new tokens; ends after a stop token.

        It yields at least one piece unless `stop` was called before. In an endless context the text may be longer
        than the context (the phones' runner needs `prefillPrompt` for all but its end then).
        """

    def stop(self) -> None:
        """Asks the stream to end soon. Early calls may be lost: the chat repeats it after every piece."""

    def reset(self) -> None:
        """Empties the cache; the next text goes to position 0."""


class Tokenizer(Protocol):
    """Text to ids and back, one token at a time."""

    def encode(self, text: str, *, first: bool) -> list[int]:
        """The ids of a text; with `first`, after the BOS id or text where the model wants one."""

    def piece(self, token: int, /) -> bytes:
        """The bytes that a token adds to the text."""


class IdRunner(Protocol[SamplerIn]):
    """Runs the model on token ids over a cache that lasts; only it knows what a sampler is."""

    def prefill(self, ids: Sequence[int], position: int) -> None:
        """Writes the ids to the cache from `position` on."""

    def generate_ids(
        self, prompt_ids: Sequence[int], position: int, max_new_tokens: int, sampler: SamplerIn
    ) -> Iterator[int]:
        """Writes the prompt from `position` on and yields new ids, each computed when it is asked for.

        A token is written when the one after it is computed, so the last is not. It may end after a stop id.
        """

    def reset(self) -> None:
        """Empties the cache."""


class TokenEngine(Generic[Sampler]):
    """An `Engine` over a tokenizer and a runner of ids."""

    def __init__(
        self, tokenizer: Tokenizer, runner: IdRunner[Sampler], *, stop_ids: Sequence[int], sampler: Sampler
    ) -> None:
        self._tokenizer = tokenizer
        self._runner = runner
        self._stop_ids = frozenset(stop_ids)
        self._sampler = sampler
        self._position = 0
        self._is_stopping = False

    @property
    def position(self) -> int:
        return self._position

    def count(self, text: str, *, first: bool) -> int:
        return len(self._tokenizer.encode(text, first=first))

    def prefill(self, text: str, *, first: bool) -> None:
        ids = self._tokenizer.encode(text, first=first)
        if ids:
            self._runner.prefill(ids, self._position)
        self._position += len(ids)

    def stream(self, text: str, *, first: bool, max_new_tokens: int) -> Iterator[Piece]:
        """See `Engine.stream`."""
        ids = self._tokenizer.encode(text, first=first)
        self._is_stopping = False
        start = self._position + len(ids)
        new_ids = self._runner.generate_ids(ids, self._position, max_new_tokens, self._sampler)
        for index, token_id in enumerate(new_ids):
            self._position = start + index  # the prompt and all new tokens but this one
            is_stop = token_id in self._stop_ids
            yield Piece(data=self._tokenizer.piece(token_id), is_stop=is_stop)
            if is_stop or self._is_stopping:
                return

    def stop(self) -> None:
        self._is_stopping = True

    def reset(self) -> None:
        self._runner.reset()
        self._position = 0
