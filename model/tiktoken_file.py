"""Tiktoken files read: the ranks of a `tokenizer.model`, and whose vocabulary they are.

Such a file holds tokens and nothing else: how text is split and which special tokens there are stands in the model's
code. So only vocabularies of the table below are accepted, recognised by their hash. Knows nothing of tokenizer.json
(model/tiktoken_json.py).
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.tokenizer_files import read_optional

_LINE = re.compile(rb"([A-Za-z0-9+/]+={0,2}) (\d+)")


@dataclass(frozen=True, kw_only=True)
class TiktokenVocabulary:
    """What a tiktoken file leaves out."""

    name: str
    num_ranks: int
    sha256: str  # of the file with "\n" line ends
    split_pattern: str  # in the dialect that tiktoken, Hugging Face's tokenizers and PCRE2 share
    special_tokens: tuple[str, ...]  # their ids follow the ranks; the first one begins a text

    @property
    def size(self) -> int:
        """Ranks and special tokens."""
        return self.num_ranks + len(self.special_tokens)


def _numbered(prefix: str, count: int, start: int = 0) -> tuple[str, ...]:
    return tuple(f"<|{prefix}reserved_special_token_{i}|>" for i in range(start, start + count))


# Source of both: meta-llama/llama-models, commit a9c89c4, models/llama3/tokenizer.py and models/llama4/tokenizer.py.
# Llama 3.0 calls six of these otherwise (128004, 128005, 128008, 128010, 128011 and up): none of them has a use there.
LLAMA3 = TiktokenVocabulary(
    name="Llama 3",
    num_ranks=128_000,
    sha256="82e9d31979e92ab929cd544440f129d9ecd797b69e327f80f17e1c50d5551b55",
    split_pattern=(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    special_tokens=(
        "<|begin_of_text|>",
        "<|end_of_text|>",
        *_numbered("", 2),
        "<|finetune_right_pad_id|>",
        "<|step_id|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eom_id|>",
        "<|eot_id|>",
        "<|python_tag|>",
        "<|image|>",
        *_numbered("", 244, 2),
    ),
)
LLAMA4 = TiktokenVocabulary(
    name="Llama 4",
    num_ranks=200_000,
    sha256="d0bdbaf59b0762c8c807617e2d8ea51420eb1b1de266df2495be755c8e0ed6ed",
    split_pattern=(
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    special_tokens=(
        "<|begin_of_text|>",
        "<|end_of_text|>",
        *(f"<|fim_{part}|>" for part in ("prefix", "middle", "suffix")),
        *("<|header_start|>", "<|header_end|>", "<|eom|>", "<|eot|>", "<|step|>"),
        *_numbered("text_post_train_", 6),
        *("<|python_start|>", "<|python_end|>", "<|finetune_right_pad|>"),
        *_numbered("text_post_train_", 61, 8),
        *("<|image_start|>", "<|image_end|>"),
        *_numbered("vision_", 2),
        *("<|tile_x_separator|>", "<|tile_y_separator|>"),
        *_numbered("vision_", 4, 2),
        "<|image|>",
        *_numbered("vision_", 1, 6),
        "<|patch|>",
        *_numbered("vision_", 1041, 7),
        *_numbered("reasoning_", 8),
        *("<|reasoning_thinking_start|>", "<|reasoning_thinking_end|>"),
        *_numbered("", 904),
    ),
)
VOCABULARIES = (LLAMA3, LLAMA4)


def read_ranks(file: Path) -> list[bytes]:
    """The tokens of a tiktoken file; a token's place is its rank and its id.

    Raises:
        ValueError: a line is not base64 and a number, a token or a rank comes twice, a rank is missing, or one of the
            256 bytes is no token.
    """
    lines: dict[int, tuple[bytes, int]] = {}  # rank -> token, line
    seen: dict[bytes, int] = {}  # token -> line
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        match = _LINE.fullmatch(line)
        token = _decode(match[1]) if match else b""
        if match is None or not token:
            raise ValueError(
                f"{file}, line {number}: {line[:60]!r} is not a token in base64, a space and a rank; "
                "the file is damaged: copy it again"
            )
        rank = int(match[2])
        first = seen.get(token) or (lines[rank][1] if rank in lines else 0)
        if first:
            what = "token" if token in seen else "rank"
            raise ValueError(f"{file}, line {number}: its {what} stands already in line {first}; copy the file again")
        lines[rank], seen[token] = (token, number), number
    missing = next((rank for rank in range(len(lines)) if rank not in lines), None)
    if missing is not None or not lines:
        raise ValueError(f"{file} has {len(lines)} ranks, but none is {missing or 0}; copy the file again")
    tokens = [lines[rank][0] for rank in range(len(lines))]
    lost = [byte for byte in range(256) if bytes([byte]) not in seen]
    if lost:
        raise ValueError(f"{file} has no token for the byte {lost[0]}, so not every text has ids; copy the file again")
    return tokens


def _decode(text: bytes) -> bytes:
    """The bytes of a token; none where the text is no base64, or not as an encoder writes it."""
    try:
        token = base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""
    return token if base64.b64encode(token) == text else b""


def ranks_sha256(tokens: Sequence[bytes]) -> str:
    """The hash of the file that holds these tokens, written as tiktoken writes it."""
    digest = hashlib.sha256()
    for rank, token in enumerate(tokens):
        digest.update(base64.b64encode(token) + b" %d\n" % rank)
    return digest.hexdigest()


def recognise(file: Path, tokens: Sequence[bytes]) -> TiktokenVocabulary:
    """Whose vocabulary the tokens of a file are.

    Raises:
        ValueError: it is none that we know.
    """
    digest = ranks_sha256(tokens)
    for vocabulary in VOCABULARIES:
        if digest == vocabulary.sha256:
            return vocabulary
    known = " nor ".join(f"{known.name}'s ({known.num_ranks:,})" for known in VOCABULARIES)
    raise ValueError(
        f"{file} holds {len(tokens):,} tiktoken ranks that are neither {known}. Such a file does not say how text is "
        "split nor what its special tokens are: put the model's tokenizer.json beside it, which is read instead. If "
        "the model is a Llama, the file is cut off or changed: copy it again"
    )


def named_specials(folder: Path, vocabulary: TiktokenVocabulary) -> tuple[str, ...]:
    """The vocabulary's special tokens under the names that the folder's tokenizer_config.json gives them.

    Raises:
        ValueError: `added_tokens_decoder` there is malformed, names an id that is no special token, or gives two ids
            one name.
    """
    names = list(vocabulary.special_tokens)
    declared = read_optional(folder / "tokenizer_config.json").get("added_tokens_decoder") or {}
    where = f"{folder / 'tokenizer_config.json'}: added_tokens_decoder"
    if not isinstance(declared, dict):
        raise ValueError(f"{where} is a {type(declared).__name__}; it must be an object from ids to tokens")
    for key, token in declared.items():
        place = int(key) - vocabulary.num_ranks if key.isdecimal() else -1
        text = token.get("content") if isinstance(token, dict) else None
        if not 0 <= place < len(names) or not isinstance(text, str) or not text:
            raise ValueError(
                f"{where} has {key!r}: {token!r}; a special token of {vocabulary.name} has an id from "
                f"{vocabulary.num_ranks} to {vocabulary.size - 1} and a content"
            )
        names[place] = text
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise ValueError(f"{where}: two special tokens are called {twice!r}; correct the file or leave the entry out")
    return tuple(names)
