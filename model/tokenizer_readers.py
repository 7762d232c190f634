"""Text to ids and back through the libraries that ExecuTorch's C++ reader mirrors.

Facts about that reader (meta-pytorch/tokenizers, src/hf_tokenizer.cpp and src/sentencepiece.cpp; tried on the bindings
of pytorch_tokenizers 1.5.0): every added token's text in a prompt becomes its id; BOS for a tokenizer.json comes from
its post-processor (whole, EOS included) or from the text, for sentencepiece only from `num_bos`; sentencepiece cuts a
prompt at NUL, gives a space for a control token and the six letters of "<0xE2>" for a byte piece.
"""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from model.files import read_json
from model.tokenizer_files import BYTE, CONTROL, sentencepiece_pieces

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE = "\u2581"  # sentencepiece's mark for a space


class Tokenizer(Protocol):
    """Text to ids and back."""

    def encode(self, text: str, *, first: bool) -> list[int]:
        """The ids of a prompt; `first` says that nothing was fed yet, so BOS comes before it if the model wants one."""

    def piece(self, token: int) -> bytes:
        """The bytes of one generated token, perhaps only a part of a character; a special token of a tokenizer.json
        gives its text (the runner delivers it, stop tokens too), a control token of sentencepiece gives nothing."""

    def decode(self, ids: Sequence[int]) -> str:
        """The pieces joined; the space after BOS is dropped as the runner drops it, broken UTF-8 becomes U+FFFD."""


class HfTokenizer:
    """A tokenizer.json through the `tokenizers` library."""

    def __init__(self, file: Path, *, bos_text: str) -> None:
        self._inner = open_hf(file)
        self._bos_text = bos_text
        self._file = file
        self._added = {i: token.content for i, token in self._inner.get_added_tokens_decoder().items()}
        self._decoders = _step_types(read_json(file).get("decoder"))

    def encode(self, text: str, *, first: bool) -> list[int]:
        prompt = (self._bos_text if first else "") + _checked(text)
        return list(self._inner.encode(prompt, add_special_tokens=False).ids)

    def piece(self, token: int) -> bytes:
        text = self._added.get(token)
        if text is not None:
            return text.encode()
        text = self._inner.id_to_token(token)
        if text is None:
            raise ValueError(f"id {token} is not in {self._file}: it belongs to the padding of the model's table")
        if "ByteLevel" in self._decoders:
            return b"".join(bytes([BYTE_CHARACTERS[c]]) if c in BYTE_CHARACTERS else c.encode() for c in text)
        byte = _BYTE_PIECE.fullmatch(text) if "ByteFallback" in self._decoders else None
        return bytes([int(byte[1], 16)]) if byte else text.replace(_SPACE, " ").encode()

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(self.piece(token) for token in ids).decode(errors="replace")


class SentencePieceTokenizer:
    """A tokenizer.model through the `sentencepiece` library."""

    def __init__(self, file: Path, *, bos_id: int | None, num_bos: int) -> None:
        self._inner = open_sentencepiece(file)
        self._pieces = sentencepiece_pieces(file)
        self._file = file
        self._bos_id = bos_id
        self._bos = [] if bos_id is None else [bos_id] * num_bos

    def encode(self, text: str, *, first: bool) -> list[int]:
        ids = list(self._inner.encode(_checked(text).partition("\0")[0]))
        return self._bos + ids if first else ids

    def piece(self, token: int) -> bytes:
        if not 0 <= token < len(self._pieces):
            raise ValueError(f"id {token} is not in {self._file}: it belongs to the padding of the model's table")
        text, kind = self._pieces[token]
        if kind == CONTROL:
            return b""
        byte = _BYTE_PIECE.fullmatch(text) if kind == BYTE else None
        return bytes([int(byte[1], 16)]) if byte else text.replace(_SPACE, " ").encode()

    def decode(self, ids: Sequence[int]) -> str:
        parts, after_bos = [], False
        for token in ids:
            piece = self.piece(token)
            parts.append(piece[1:] if after_bos and piece.startswith(b" ") else piece)
            after_bos = token == self._bos_id
        return b"".join(parts).decode(errors="replace")


def open_hf(file: Path) -> Any:
    """A tokenizer.json in the `tokenizers` library.

    Raises:
        ValueError: the file is missing or unreadable.
    """
    from tokenizers import Tokenizer as Reader

    read_json(file)
    try:
        return Reader.from_file(str(file))
    except Exception as error:  # noqa: BLE001 (the library raises no narrower one)
        raise ValueError(f"{file} is not a tokenizer of the tokenizers library ({error}); copy it again") from None


def open_sentencepiece(file: Path) -> Any:
    """A tokenizer.model in the `sentencepiece` library.

    Raises:
        ValueError: the file is missing or unreadable.
    """
    from sentencepiece import SentencePieceProcessor

    if not file.is_file():
        raise ValueError(f"{file} is missing; copy or make that folder again")
    sentencepiece_pieces(file)
    try:
        return SentencePieceProcessor(model_file=str(file))
    except (RuntimeError, OSError) as error:
        raise ValueError(f"{file} is not a sentencepiece model ({error}); copy it again") from None


def open_native(file: Path, kind: str) -> Any:
    """The C++ reader that the phones use, with `encode(text, num_bos, num_eos)` and `decode(id)`.

    Raises:
        ValueError: it cannot load the file; the message holds its own words.
    """
    with _native_log() as lines:
        import pytorch_tokenizers as native

        reader = native.CppHFTokenizer() if kind == "hf" else native.CppSPTokenizer()
        try:
            reader.load(str(file))
        except RuntimeError as error:
            raise ValueError(f"the phones' reader cannot load {file.name}: {'; '.join(lines()) or error}") from None
    return reader


@contextlib.contextmanager
def _native_log() -> Iterator[Callable[[], list[str]]]:
    """Keeps what native code writes to file descriptor 2 inside the block; yields a reader of its error lines."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)

        def lines() -> list[str]:
            sink.seek(0)
            text = sink.read().decode(errors="replace")
            return [line.partition("] ")[2] for line in text.splitlines() if line.startswith("E ")]

        try:
            yield lines
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _step_types(step: Any) -> set[str]:
    """The types of a decoder and of the decoders inside it."""
    if not isinstance(step, dict):
        return set()
    return {str(step.get("type"))}.union(*(_step_types(inner) for inner in step.get("decoders", [])))


def _checked(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text is not valid Unicode ({error.reason} at character {error.start}); pass it as UTF-8"
        ) from None
    return text


def _byte_characters() -> dict[str, int]:
    """Byte-level BPE's alphabet: printable Latin-1 stands for itself, the other bytes for U+0100 and up
    (openai/gpt-2, src/encoder.py, `bytes_to_unicode`)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


BYTE_CHARACTERS = _byte_characters()
