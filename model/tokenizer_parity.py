"""Whether the phones' C++ tokenizer reads as ours does, on a nasty corpus and on every token of the vocabulary."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chat.typed import neutralise
from model.tokenizer import TokenizerSpec, load_tokenizer
from model.tokenizer_readers import Tokenizer, open_native

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
    specials = {token.text: f"a{token.text} b" for token in spec.special_tokens}
    for name, text in specials.items():
        if ours.encode(text, first=False) != _read(reader, text):
            found.append(f"special token {name!r}")
    found += [f"special token {name!r} (typed)" for name in _typed_specials(reader, spec, specials)]
    return found + _piece_differences(ours, reader, spec)


def _typed_specials(reader: Any, spec: TokenizerSpec, specials: Mapping[str, str]) -> list[str]:
    """The special tokens that become an id although they were typed; `specials` has a text for each."""
    names, ids = spec.special_texts, {token.id for token in spec.special_tokens}

    def becomes_one(text: str) -> bool:
        return not ids.isdisjoint(_read(reader, neutralise(text, names)))

    # One text of all first: neutralising takes milliseconds where there are thousands of special tokens.
    return (
        [name for name, text in specials.items() if becomes_one(text)]
        if becomes_one("".join(specials.values()))
        else []
    )


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
