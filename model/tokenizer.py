"""The facts about a tokenizer that a package carries.

How text becomes ids stands in model/tokenizer_readers.py; whether the phones' C++ reader agrees in
model/tokenizer_parity.py; chat formats in model/template.py.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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
    open_sentencepiece,
)

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


def read_tokenizer_spec(folder: Path, *, vocab_size: int, made: Path | None = None) -> TokenizerSpec | None:
    """The tokenizer facts of a Hugging Face or pocketlm folder, or None where it has no tokenizer.

    Args:
        folder: holds tokenizer.json (preferred) or a sentencepiece tokenizer.model, and the configuration files.
        vocab_size: rows of the model's embedding table.
        made: a tokenizer.json elsewhere that was made from the folder's tiktoken file.

    Raises:
        ValueError: a file is unreadable, the tokenizer has ids that the model lacks, a stop id is out of range, the
            tokenizer wants a BOS that the phones' reader cannot write, or it is a tiktoken file.
    """
    if (folder / "checkpoint.json").is_file():
        entry = read_optional(folder / "checkpoint.json").get("tokenizer")
        if entry is None:
            return None
        spec = TokenizerSpec.from_json(entry)
        _check_ids(folder, spec, [(i, "checkpoint.json") for i in spec.stop_ids], vocab_size)
        return spec
    found = find_tokenizer_file(folder) if made is None else (made, "hf")
    if found is None:
        return None
    file, kind = found
    if kind == "tiktoken":
        raise ValueError(
            f"{file} holds tiktoken ranks, which the phones' reader splits wrongly; `pocketlm convert` makes a "
            "tokenizer.json of it: take the tokenizer from the checkpoint that it writes"
        )
    spec, stops = (_hf_spec if kind == "hf" else _sentencepiece_spec)(folder, file)
    _check_ids(folder, spec, stops, vocab_size)
    return spec


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
