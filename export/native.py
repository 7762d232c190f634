"""Runs a package in the phones' own runner (ExecuTorch's TextLLMRunner) behind `chat.engine.Engine`.

The C++ code runs in a child process (export/native_child.py), so that what it prints and how it dies stay there. Tried
with executorch 1.5.1:
* Pieces arrive one by one with all their bytes; on descriptor 1, which goes nowhere, the runner would drop NUL and
  single bytes that are not printable.
* A stop takes effect at the piece that it answers, the first one included: the runner forgets a stop there and does
  not look whether the first token is a stop token, so the child leaves that call by an exception, which keeps the
  prompt in the cache and nothing else.
* A prompt as long as the context is refused by `generate` and taken by `prefill`; `generate` of an empty text then
  goes on from the prefilled one.
* One call gives as many new tokens as the context has at most. A longer stream is cut at a token whose text gives back
  its id, and the next call begins with that text.

What is lost: token ids; seed and top-p; a stop while the prompt is prefilled takes effect after it; each call's first
token is greedy, whatever the temperature. sentencepiece's control tokens come as a space, so its end token is known
only by the runner's ending there: not as the first token of a reply, nor as the last one asked for.
"""

import logging
import math
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from chat.engine import Piece
from chat.utf8 import whole_text
from chat.window import Context, context_end_sentence
from export.native_process import Child
from export.package import Package
from export.static_constants import check_runs_in_executorch
from model.tokenizer import TokenizerSpec, load_tokenizer
from model.tokenizer_readers import Tokenizer

_log = logging.getLogger("pocketlm")

_BYTE_PIECE = re.compile(rb"<0x([0-9A-F]{2})>")


@dataclass(frozen=True, kw_only=True)
class NativeStats:
    """The runner's own figures of one stream; it counts whole milliseconds, our answers to its pieces included."""

    prompt_tokens: int
    new_tokens: int
    prompt_ms: float
    decode_ms: float  # of the new tokens after the first

    @property
    def decode_tokens_per_s(self) -> float | None:
        return 1000 * (self.new_tokens - 1) / self.decode_ms if self.decode_ms else None


class NativeEngine:
    """`chat.engine.Engine` over the child. Close it, or use it in a `with`. Not for several threads, save `stop`."""

    def __init__(
        self, child: Child, tokenizer: Tokenizer, spec: TokenizerSpec, context: Context, *, temperature: float
    ) -> None:
        self._child = child
        self._tokenizer = tokenizer
        self._spec = spec
        self._context = context
        self._temperature = temperature
        stops = {tokenizer.piece(i) for i in spec.stop_ids}
        self._stop_pieces = stops - {b""}
        self._doubtful = {b" "} if b"" in stops else set()  # sentencepiece's end token, or a space
        self._prompt_end = 0  # the position after the newest call's prompt
        self._is_stopping = False
        self.stats: NativeStats | None = None  # of the last stream that was not left early

    @property
    def kernels(self) -> str:
        """What attention runs with, as kernels/load.py says it."""
        return self._child.kernels

    @property
    def position(self) -> int:
        return self._prompt_end + max(0, self._child.num_pieces - 1)  # the last token is never in the cache

    def count(self, text: str, *, first: bool) -> int:
        return len(self._tokenizer.encode(text, first=first))

    def prefill(self, text: str, *, first: bool) -> None:
        """See `Engine.prefill`.

        Raises:
            ValueError: a bounded context ends before the text does, and nothing is written; or the runner failed.
        """
        if count := self._settled_count(text, first=first):
            self._prefill(text, count, first=first)

    def stream(self, text: str, *, first: bool, max_new_tokens: int) -> Iterator[Piece]:
        """See `Engine.stream`.

        Raises:
            ValueError: the text has no token, a bounded context is full, or the runner failed.
        """
        count = self._settled_count(text, first=first)
        if not count:
            raise ValueError("there is nothing to send: the text has no token; type something")
        if self._context.kind == "bounded":
            max_new_tokens = min(max_new_tokens, self._context.tokens - self.position - count)
            if max_new_tokens < 1:
                raise ValueError(context_end_sentence(self._context))
        self._is_stopping, self.stats = False, None
        prompt_ms = decode_ms = 0.0
        new_tokens, sent = 0, count
        prompt: str | None = (self._spec.bos_text if first else "") + text
        num_bos = self._spec.num_bos if first else 0
        if count >= self._context.tokens or not prompt:
            prompt_ms = self._prefill(text, count, first=first)
            prompt, num_bos, sent = "", 0, 0
        while prompt is not None and new_tokens < max_new_tokens:
            wanted = min(max_new_tokens - new_tokens, self._context.tokens)
            self._prompt_end = self.position + sent
            self._child.start(
                do="generate", text=prompt, num_bos=num_bos, max_new_tokens=wanted, temperature=self._temperature
            )
            again = yield from self._pieces(wanted, may_be_cut=new_tokens + wanted < max_new_tokens)
            report = self._child.settle()["done"]
            self._correct_position(report, sent)
            if not new_tokens:
                prompt_ms += _span(report, "inference_start_ms", "prompt_eval_end_ms")
                decode_ms += _span(report, "prompt_eval_end_ms", "inference_end_ms")
            else:
                decode_ms += _span(report, "inference_start_ms", "inference_end_ms")
            new_tokens += self._child.num_pieces
            prompt, num_bos, sent = again, 0, 1
        self.stats = NativeStats(prompt_tokens=count, new_tokens=new_tokens, prompt_ms=prompt_ms, decode_ms=decode_ms)

    def stop(self) -> None:
        self._is_stopping = True

    def reset(self) -> None:
        self._child.settle()
        self._child.start(do="reset")
        self._child.settle()
        self._prompt_end = 0

    def close(self) -> None:
        """Ends the child. May be called twice."""
        self._child.close()

    def __enter__(self) -> "NativeEngine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _settled_count(self, text: str, *, first: bool) -> int:
        """Ends what was left of an earlier call, then counts and checks that a bounded context holds the text."""
        self._child.settle()
        count = self.count(text, first=first)
        if self._context.kind == "bounded" and self.position + count > self._context.tokens:
            raise ValueError(context_end_sentence(self._context))
        return count

    def _prefill(self, text: str, count: int, *, first: bool) -> float:
        """Returns the milliseconds that it took."""
        self._prompt_end = self.position + count
        bos_text, num_bos = (self._spec.bos_text, self._spec.num_bos) if first else ("", 0)
        self._child.start(do="prefill", text=bos_text + text, num_bos=num_bos)
        return float(self._child.settle()["done"]["prefill_ms"])

    def _pieces(self, wanted: int, *, may_be_cut: bool) -> Generator[Piece, None, str | None]:
        """Yields the pieces of one call; returns the text by which another goes on, or None."""
        while "piece" in (message := self._child.receive()):
            index, data = self._child.num_pieces, self._data(message["piece"])
            is_stop, again = data in self._stop_pieces, None
            if data in self._doubtful:
                is_stop = 1 < index < wanted and self._child.is_at_end()
            elif may_be_cut and index > wanted // 2:
                again = self._text_of(data)
            yield Piece(data=data, is_stop=is_stop)
            if is_stop or self._is_stopping:
                return None
            if again is not None:
                return again
            self._child.go_on()
        return None

    def _data(self, piece: str) -> bytes:
        """A piece's own bytes; sentencepiece's byte tokens come spelled out."""
        data = piece.encode("utf-8", "surrogateescape")
        spelled = _BYTE_PIECE.fullmatch(data) if self._spec.kind == "sentencepiece" else None
        return bytes([int(spelled[1], 16)]) if spelled else data

    def _text_of(self, data: bytes) -> str | None:
        """The text that gives the id of which these are the bytes, if there is one."""
        text = whole_text(data)
        if not text or (self._spec.kind == "sentencepiece" and text == " "):  # a space, or a control token
            return None
        for candidate in (text, text.removeprefix(" ")):  # sentencepiece puts a space before every text
            ids = self._tokenizer.encode(candidate, first=False)
            if len(ids) == 1 and self._tokenizer.piece(ids[0]) == data:
                return candidate
        return None

    def _correct_position(self, report: dict[str, Any], sent: int) -> None:
        """Compares our count of the prompt with the runner's, which gives its end position where no text was sent."""
        if "prompt_tokens" in report:
            difference = report["prompt_tokens"] - (sent or self.position)
            if difference:
                _log.warning(
                    "the native runner counted %d tokens more than our tokenizer; its count is taken over", difference
                )
            self._prompt_end += difference


def open_native(package: Package, *, temperature: float, verbose: bool = False) -> NativeEngine:
    """Starts the phones' runner on a package.

    Args:
        temperature: 0 (greedy) to 1, which is all that the runner takes.
        verbose: let the child's log through to descriptor 2; else it is kept for error messages.

    Raises:
        ValueError: another temperature, a package for another runner, or the runner cannot load it.
        EnvironmentFault: ExecuTorch or its runner is not installed.
    """
    if math.isnan(temperature) or not 0 <= temperature <= 1:
        raise ValueError(
            f"temperature is {temperature}; the native runner takes 0 (greedy) to 1: choose one of these, "
            "or Python's runner"
        )
    manifest = package.manifest
    check_runs_in_executorch(manifest)
    spec = TokenizerSpec.from_json(manifest.to_json()["tokenizer"])
    tokenizer = load_tokenizer(package.folder, spec)
    warm_up = next((text for text in ("a", *spec.special_texts) if tokenizer.encode(text, first=False)), "0")
    child = Child(
        package.path("program").resolve(), package.path("tokenizer").resolve(), warm_up=warm_up, is_verbose=verbose
    )
    try:
        child.receive()
    except BaseException as error:
        child.close()
        if isinstance(error, ValueError):
            raise ValueError(f"{error}; export the package again with this version") from None
        raise
    return NativeEngine(child, tokenizer, spec, manifest.context, temperature=temperature)


def _span(report: dict[str, Any], begin: str, end: str) -> float:
    return float(report.get(end, 0) - report.get(begin, 0))
