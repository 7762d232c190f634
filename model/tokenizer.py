"""The facts about a tokenizer that a package carries, and whether the phones' C++ reader agrees with ours.

How text becomes ids stands in model/tokenizer_readers.py; chat formats in model/template.py.
"""

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from chat.typed import neutralise
from model.tokenizer_files import (
    CONTROL,
    USER_DEFINED,
    declared_ids,
    find_tokenizer_file,
    read_optional,
    sentencepiece_pieces,
    special_text,
)
from model.tokenizer_readers import (
    HfTokenizer,
    SentencePieceTokenizer,
    Tokenizer,
    open_hf,
    open_native,
    open_sentencepiece,
)

log = logging.getLogger(__name__)

# Specials that end a turn or a document in known chat formats: they stop the reply wherever the tokenizer has them.
END_TOKENS = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|eot|>",
    "<|eom_id|>",
    "<|eom|>",
    "<end_of_turn>",
    "<|end_of_text|>",
    "<|endoftext|>",
)

# Texts on which the readers of this world differ; the export compares Python's and the phones' on each.
AGREEMENT_CORPUS: dict[str, str] = {
    "empty": "",
    "one space": " ",
    "plain": "Once upon a time, there was a little girl named Lily.",
    "spaces": "  two  before,   three between, one after ",
    "tabs and lines": "\tone\n\n\ntwo\r\nthree\r four \n \n",
    "contractions": "I'll say it's what they've DON'T we'Re 'quoted' o'clock",
    "digits": "0 7 42 1234567890 3.14159 1,000,000 2\u00b2 \u2168 \u0663\u0664\u0665 \uff11\uff12",
    "punctuation": "...!?!? ((a)) [b] {c} <d> $5 #6 %7 &8 *9 @x /y \\z `q` ~w ^v |u| -- \u2014 \u00bfqu\u00e9?",
    "code": "def f(x):\n    return {'a': x[0] ** 2}  # ok\n\tif (a && b) { c->d(); }",
    "emoji": "\U0001f600\U0001f680 ok \u2764\ufe0f\U0001f44d\U0001f3fd",
    "joined emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
    " \U0001f3f3\ufe0f\u200d\U0001f308 \U0001f1e9\U0001f1ea",
    "chinese": "\u6c49\u5b57\u548c\u6f22\u5b57\uff0c\u6ca1\u6709\u7a7a\u683c\u3002\u4f60\u597d",
    "japanese": "\u65e5\u672c\u8a9e\u306e\u6587\u3001\u30ab\u30bf\u30ab\u30ca \uff76\uff9e",
    "korean": "\ud55c\uad6d\uc5b4 \ubb38\uc7a5 \u1112\u1161\u11ab",
    "combining marks": "e\u0301 a\u0308\u0323 Z\u0351\u036b\u0343 n\u0303o \u0e01\u0e33\u0e49",
    "composed marks": "\u00e9 \u00e4 \u1ea1\u0308 \ufb01 \u00c5 \u212b \u1e9e \u0130\u0131",
    "right to left": "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd"
    " \u200f\u0645\u0631\u062d\u0628\u0627\u064b \u202babc\u202c",
    "indic": "\u0928\u092e\u0938\u094d\u0924\u0947 \u0b95\u0bcd\u0bb7 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "control characters": "a\x01b\x07c\x1bd\x7fe\x80f\x85g\x9f",
    "nul": "before\x00after",
    "odd spaces": "a\u00a0b\u3000c\u2003d\u2028e\u200bf\u2060g\ufeffh",
    "replacement and edges": "\ufffd \uffff \U0010ffff \ue000 \u2581x \u0120y",
    "long word": "Donaudampfschiff" * 200,
    "long spaces": "x" + " " * 500 + "y",
    "half markers": "<| |> <|x|> <s </s < s> [INST <0x41> <unk>",
}
_BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
_SPEC_KEYS = ("file", "kind", "vocab_size", "bos_id", "num_bos", "bos_text", "stop_ids", "special_tokens")


@dataclass(frozen=True, kw_only=True)
class SpecialToken:
    id: int
    text: str


@dataclass(frozen=True, kw_only=True)
class TokenizerSpec:
    """What checkpoint.json and the manifest say about the tokenizer."""

    file: str  # tokenizer.json or tokenizer.model
    kind: Literal["hf", "sentencepiece"]
    vocab_size: int  # of the tokenizer: its highest id + 1; the model's table may be larger
    bos_id: int | None
    num_bos: int  # BOS ids that the runner puts before the FIRST prompt
    bos_text: str  # what the FIRST prompt's text must begin with instead; "" if nothing
    stop_ids: tuple[int, ...]
    special_tokens: tuple[SpecialToken, ...]

    def __post_init__(self) -> None:
        if self.kind not in ("hf", "sentencepiece"):
            raise ValueError(f"the tokenizer's kind is {self.kind!r}; known: 'hf', 'sentencepiece'")
        if self.num_bos not in (0, 1) or (self.num_bos and (self.bos_text or self.bos_id is None)):
            raise ValueError(
                f"the tokenizer has num_bos {self.num_bos}, bos_id {self.bos_id}, bos_text "
                f"{self.bos_text!r}; num_bos is 0, or 1 with a bos_id and without a bos_text"
            )

    @property
    def special_texts(self) -> tuple[str, ...]:
        return tuple(token.text for token in self.special_tokens)

    def to_json(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "kind": self.kind,
            "vocab_size": self.vocab_size,
            "bos_id": self.bos_id,
            "num_bos": self.num_bos,
            "bos_text": self.bos_text,
            "stop_ids": list(self.stop_ids),
            "special_tokens": [{"id": token.id, "text": token.text} for token in self.special_tokens],
        }

    @classmethod
    def from_json(cls, data: Any) -> "TokenizerSpec":
        """Reads what `to_json` wrote, strictly.

        Raises:
            ValueError: a missing or unknown key, or a value of another type.
        """
        if not isinstance(data, dict) or set(data) != set(_SPEC_KEYS):
            got = ", ".join(sorted(data)) if isinstance(data, dict) else type(data).__name__
            raise ValueError(f"the tokenizer entry has {got}; it must have exactly {', '.join(_SPEC_KEYS)}")
        try:
            return cls(
                file=_typed(data["file"], str),
                kind=data["kind"],
                vocab_size=_typed(data["vocab_size"], int),
                bos_id=None if data["bos_id"] is None else _typed(data["bos_id"], int),
                num_bos=_typed(data["num_bos"], int),
                bos_text=_typed(data["bos_text"], str),
                stop_ids=tuple(_typed(i, int) for i in data["stop_ids"]),
                special_tokens=tuple(
                    SpecialToken(id=_typed(t["id"], int), text=_typed(t["text"], str)) for t in data["special_tokens"]
                ),
            )
        except (TypeError, KeyError) as error:
            raise ValueError(f"the tokenizer entry is malformed ({error}); convert the checkpoint again") from None


def load_tokenizer(folder: Path, spec: TokenizerSpec) -> Tokenizer:
    """The tokenizer of a checkpoint or package folder.

    Raises:
        ValueError: the file that the spec names is missing or unreadable.
    """
    if spec.kind == "hf":
        return HfTokenizer(folder / spec.file, bos_text=spec.bos_text)
    return SentencePieceTokenizer(folder / spec.file, bos_id=spec.bos_id, num_bos=spec.num_bos)


def read_tokenizer_spec(folder: Path, *, vocab_size: int) -> TokenizerSpec | None:
    """The tokenizer facts of a Hugging Face or pocketlm folder, or None where it has no tokenizer.

    Args:
        folder: holds tokenizer.json (preferred) or a sentencepiece tokenizer.model, and the configuration files.
        vocab_size: rows of the model's embedding table.

    Raises:
        ValueError: a file is unreadable, the tokenizer has ids that the model lacks, a stop id is out of range, or
            the tokenizer wants a BOS that the phones' reader cannot write.
    """
    if (folder / "checkpoint.json").is_file():
        entry = read_optional(folder / "checkpoint.json").get("tokenizer")
        if entry is None:
            return None
        spec = TokenizerSpec.from_json(entry)
        _check_ids(folder, spec, [(i, "checkpoint.json") for i in spec.stop_ids], vocab_size)
        return spec
    found = find_tokenizer_file(folder)
    if found is None:
        return None
    file, kind = found
    spec, stops = (_hf_spec if kind == "hf" else _sentencepiece_spec)(folder, file)
    _check_ids(folder, spec, stops, vocab_size)
    return spec


def check_cpp_agreement(folder: Path, spec: TokenizerSpec) -> list[str]:
    """The names of what the phones' C++ reader reads otherwise than ours; an empty list is what an export needs.

    Compared are: `AGREEMENT_CORPUS` as a first and as a later prompt; every special token's text (it must become its
    id, and must not when typed); and the text of every token of the vocabulary that is whole UTF-8.
    """
    try:
        reader = open_native(folder / spec.file, spec.kind)
    except ValueError as error:
        return [str(error)]
    return _differences(load_tokenizer(folder, spec), reader, spec)


def _differences(ours: Tokenizer, reader: Any, spec: TokenizerSpec) -> list[str]:
    found = []
    for name, text in AGREEMENT_CORPUS.items():
        if ours.encode(text, first=False) != _read(reader, text):
            found.append(name)
        if ours.encode(text, first=True) != _read(reader, spec.bos_text + text, spec.num_bos):
            found.append(f"{name} (as the first prompt)")
    ids = {token.id for token in spec.special_tokens}
    for token in spec.special_tokens:
        text = f"a{token.text} b"
        if ours.encode(text, first=False) != _read(reader, text):
            found.append(f"special token {token.text!r}")
        if not ids.isdisjoint(_read(reader, neutralise(text, spec.special_texts))):
            found.append(f"special token {token.text!r} (typed)")
    return found + _piece_differences(ours, reader, spec)


def _read(reader: Any, text: str, num_bos: int = 0) -> list[int]:
    """What the phones' reader makes of a text; [-1] where it fails."""
    try:
        return list(reader.encode(text, num_bos, 0))
    except RuntimeError:
        return [-1]


def _piece_differences(ours: Tokenizer, reader: Any, spec: TokenizerSpec) -> list[str]:
    found = []
    for token in range(spec.vocab_size):
        try:
            piece = ours.piece(token).decode()
            theirs = reader.decode(token)
        except (ValueError, RuntimeError):  # a hole in the ids, or a part of a character
            continue
        if ours.encode(piece, first=False) != _read(reader, piece):
            found.append(f"token {token} ({piece!r}) as text")
        spelled = piece == "" or _BYTE_PIECE.fullmatch(theirs)  # control and byte pieces: see tokenizer_readers
        if piece != theirs and not (spec.kind == "sentencepiece" and spelled):
            found.append(f"token {token} ({piece!r} against {theirs!r})")
    return found if len(found) <= 5 else [*found[:5], f"{len(found) - 5} more tokens"]


def _hf_spec(folder: Path, file: Path) -> tuple[TokenizerSpec, list[tuple[int, str]]]:
    tokenizer = open_hf(file)
    added = {token.content: i for i, token in tokenizer.get_added_tokens_decoder().items()}
    special = {token.content: i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    bos, eos = special_text(folder, "bos_token"), special_text(folder, "eos_token")
    bos_id = None if bos is None else tokenizer.token_to_id(bos)
    if bos_id is None:
        bos_id = next((i for i, _ in declared_ids(folder, "bos_token_id")), None)
    add_bos = read_optional(folder / "tokenizer_config.json").get("add_bos_token")
    wanted = _post_processor_prefix(tokenizer) if add_bos is None else [bos_id] if add_bos and bos else []
    texts = {i: text for text, i in added.items()}
    if any(i not in texts for i in wanted):
        raise ValueError(
            f"{file} begins every text with the ids {wanted} ({bos!r}), which are not among its added "
            "tokens, so the phones' reader cannot write them; add the BOS token to added_tokens"
        )
    stops = declared_ids(folder, "eos_token_id")
    if eos is not None and (eos_id := tokenizer.token_to_id(eos)) is not None:
        stops.append((eos_id, "tokenizer_config.json"))
    stops += [(special[text], file.name) for text in END_TOKENS if text in special]
    special |= {texts[i]: i for i in {*(i for i, _ in stops), *wanted} if i in texts}  # declared otherwise
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    spec = TokenizerSpec(
        file=file.name,
        kind="hf",
        vocab_size=max(vocabulary.values(), default=-1) + 1,
        bos_id=wanted[-1] if wanted and bos_id is None else bos_id,
        num_bos=0,
        bos_text="".join(texts[i] for i in wanted),
        stop_ids=_sorted_ids(stops),
        special_tokens=_special_tokens(special),
    )
    return spec, stops


def _sentencepiece_spec(folder: Path, file: Path) -> tuple[TokenizerSpec, list[tuple[int, str]]]:
    processor = open_sentencepiece(file)
    pieces = sentencepiece_pieces(file)
    special = {text: i for i, (text, kind) in enumerate(pieces) if kind in (CONTROL, USER_DEFINED)}
    add_bos = read_optional(folder / "tokenizer_config.json").get("add_bos_token", True)
    bos_id = processor.bos_id() if processor.bos_id() >= 0 else None
    stops = declared_ids(folder, "eos_token_id")
    if processor.eos_id() >= 0:
        stops.append((processor.eos_id(), file.name))
    stops += [(special[text], file.name) for text in END_TOKENS if text in special]
    spec = TokenizerSpec(
        file=file.name,
        kind="sentencepiece",
        vocab_size=len(pieces),
        bos_id=bos_id,
        num_bos=int(bos_id is not None and add_bos is not False),
        bos_text="",
        stop_ids=_sorted_ids(stops),
        special_tokens=_special_tokens(special),
    )
    return spec, stops


def _check_ids(folder: Path, spec: TokenizerSpec, stops: list[tuple[int, str]], vocab_size: int) -> None:
    if spec.vocab_size > vocab_size:
        raise ValueError(
            f"{folder / spec.file} has ids up to {spec.vocab_size - 1}, but the model's vocabulary has "
            f"{vocab_size} entries; take the tokenizer that belongs to this checkpoint"
        )
    for i, source in stops:
        if not 0 <= i < vocab_size:
            raise ValueError(
                f"{folder / source}: stop id {i} is outside the model's vocabulary of {vocab_size}; "
                "correct eos_token_id"
            )
    if spec.vocab_size < vocab_size:
        log.info(
            "%s has %d ids, the model's table %d rows; the rest is padding", spec.file, spec.vocab_size, vocab_size
        )


def _post_processor_prefix(tokenizer: Any) -> list[int]:
    """The ids that the tokenizer's own post-processor puts before a text."""
    bare = tokenizer.encode("a", add_special_tokens=False).ids
    whole = tokenizer.encode("a", add_special_tokens=True).ids
    starts = (k for k in range(len(whole) - len(bare) + 1) if whole[k : k + len(bare)] == bare)
    return list(whole[: next(starts, 0)])


def _sorted_ids(stops: list[tuple[int, str]]) -> tuple[int, ...]:
    return tuple(sorted({i for i, _ in stops}))


def _special_tokens(special: dict[str, int]) -> tuple[SpecialToken, ...]:
    return tuple(SpecialToken(id=i, text=text) for text, i in sorted(special.items(), key=lambda item: item[1]))


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not a {kind.__name__}")
    return value
