"""A tiktoken file as a tokenizer.json with the same ids, proved against tiktoken itself.

Why not the raw file: the phones' C++ tiktoken reader splits text by a pattern and has special tokens of its own, for
Llama 4 the wrong ones, and for Llama 3 without the look-ahead that leaves a space to the next word (docs/log.md).

Why the ids are the same: tiktoken merges the two neighbours whose joint bytes have the lowest rank, again and again. A
token arises that way from one pair of parts only, the last pair in its own merging, since inside of its bytes nothing
else happens in a longer text. So one merge a token, in the order of ranks, does the same. A token that its own merging
does not reach is found only where a whole piece equals it, which `ignore_merges` looks up first, as tiktoken does.
"""

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from model.errors import GateError
from model.tiktoken_file import TiktokenVocabulary, named_specials, read_ranks, recognise
from model.tokenizer_files import find_tokenizer_file
from model.tokenizer_parity import AGREEMENT_CORPUS
from model.tokenizer_readers import BYTE_CHARACTERS, open_hf

_log = logging.getLogger("pocketlm")

_SPELLING = {byte: character for character, byte in BYTE_CHARACTERS.items()}


def convert_tiktoken(folder: Path, target: Path, *, vocab_size: int) -> Path | None:
    """Writes tokenizer.json into `target` if a folder's only tokenizer is a tiktoken file; returns it, or None.

    Raises:
        ValueError, GateError: as `write_tokenizer_json`.
    """
    found = find_tokenizer_file(folder)
    if found is None or found[1] != "tiktoken":
        return None
    write_tokenizer_json(found[0], target / "tokenizer.json", vocab_size=vocab_size)
    return target / "tokenizer.json"


def write_tokenizer_json(source: Path, file: Path, *, vocab_size: int) -> None:
    """Writes the tokenizer.json that equals a tiktoken file.

    Args:
        source: the tokenizer.model; a tokenizer_config.json beside it may name the special tokens.
        vocab_size: rows of the model's embedding table.

    Raises:
        ValueError: the file is damaged, its vocabulary unknown or larger than the model's.
        GateError: what was written reads a text otherwise than tiktoken does.
    """
    tokens = read_ranks(source)
    vocabulary = recognise(source, tokens)
    if vocabulary.size > vocab_size:
        raise ValueError(
            f"{source} is {vocabulary.name}'s with {vocabulary.size:,} ids, but the model's vocabulary has "
            f"{vocab_size:,} entries; take the tokenizer that belongs to this checkpoint"
        )
    specials = named_specials(source.parent, vocabulary)
    merges = recover_merges(tokens)
    data = tokenizer_data(tokens, merges, vocabulary.split_pattern, specials)
    file.write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    found = differences(file, tokens, merges, vocabulary, specials)
    if found:
        raise GateError(
            f"the tokenizer.json made from {source} reads otherwise than tiktoken: {'; '.join(found)}; put the model's "
            "own tokenizer.json beside it and report this"
        )
    _log.info(
        "%s: tiktoken ranks of %s; made a tokenizer.json with the same ids (%s ranks, %s special tokens, all compared "
        "with tiktoken)",
        source.name,
        vocabulary.name,
        f"{vocabulary.num_ranks:,}",
        f"{len(specials):,}",
    )


def recover_merges(tokens: Sequence[bytes]) -> list[tuple[int, int] | None]:
    """For each rank the two ranks that are merged last when its bytes are; None for a byte and for what merging does
    not reach."""
    ranks = {token: rank for rank, token in enumerate(tokens)}
    none = len(tokens)
    merges: list[tuple[int, int] | None] = []
    for token in tokens:
        parts = [token[i : i + 1] for i in range(len(token))]
        while len(parts) > 2:
            lowest = place = none
            for i in range(len(parts) - 1):
                rank = ranks.get(parts[i] + parts[i + 1], none)
                if rank < lowest:
                    lowest, place = rank, i
            if lowest == none:
                break
            parts[place : place + 2] = [tokens[lowest]]
        merges.append((ranks[parts[0]], ranks[parts[1]]) if len(parts) == 2 else None)
    return merges


def tokenizer_data(
    tokens: Sequence[bytes],
    merges: Sequence[tuple[int, int] | None],
    split_pattern: str,
    specials: Sequence[str],
) -> dict[str, Any]:
    """The content of tokenizer.json: byte-level BPE; the first special token begins a text.

    The C++ reader loads it in half the time where the vocabulary is sorted by text, and in three quarters of the
    memory where a merge is one string (benchmarks/results/).
    """
    spelled = [spell(token) for token in tokens]
    bos, bos_id = specials[0], len(tokens)
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    # PCRE2, which the C++ reader uses, counts U+180E (of Mongolian text) among \s; Unicode and tiktoken do not.
    pattern = split_pattern.replace(r"\s", r"\p{White_Space}").replace(r"\S", r"\P{White_Space}")
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    first = {"SpecialToken": {"id": bos, "type_id": 0}}
    text, other = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": bos_id + i, "content": text, **flags} for i, text in enumerate(specials)],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [first, text],
            "pair": [first, text, first, other],
            "special_tokens": {bos: {"id": bos, "ids": [bos_id], "tokens": [bos]}},
        },
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": True,
            "vocab": {text: rank for text, rank in sorted(zip(spelled, range(len(spelled)), strict=True))},
            "merges": [f"{spelled[pair[0]]} {spelled[pair[1]]}" for pair in merges if pair is not None],
        },
    }


def spell(token: bytes) -> str:
    """A token in byte-level BPE's alphabet."""
    return "".join(_SPELLING[byte] for byte in token)


def differences(
    file: Path,
    tokens: Sequence[bytes],
    merges: Sequence[tuple[int, int] | None],
    vocabulary: TiktokenVocabulary,
    specials: Sequence[str],
) -> list[str]:
    """Where a tokenizer.json reads otherwise than tiktoken, at most six lines; an empty list is the proof.

    Compared are every token by its bytes, every token that its merges must make without being looked up, every text of
    the nasty corpus and of each token, and every special token inside a text.
    """
    import tiktoken

    ours = open_hf(file)
    theirs = tiktoken.Encoding(
        name=vocabulary.name,
        pat_str=vocabulary.split_pattern,
        mergeable_ranks={token: rank for rank, token in enumerate(tokens)},
        special_tokens={text: len(tokens) + i for i, text in enumerate(specials)},
    )
    found = [f"token {rank}" for rank, token in enumerate(tokens) if ours.token_to_id(spell(token)) != rank]
    ours.model.ignore_merges = False
    made = (rank for rank, pair in enumerate(merges) if pair is not None)
    found += [f"the merges of token {r}" for r in made if [t.id for t in ours.model.tokenize(spell(tokens[r]))] != [r]]
    ours.model.ignore_merges = True
    for name, text in [*AGREEMENT_CORPUS.items(), ("special tokens", "".join(f"a{text} b" for text in specials))]:
        if theirs.encode(text, allowed_special="all") != ours.encode(text, add_special_tokens=False).ids:
            found.append(name)
    whole = _whole(tokens)
    read = ours.encode_batch_fast(whole, add_special_tokens=False)
    found += [repr(t) for t, ids in zip(whole, read, strict=True) if theirs.encode_ordinary(t) != ids.ids]
    return found if len(found) <= 5 else [*found[:5], f"{len(found) - 5} more"]


def _whole(tokens: Iterable[bytes]) -> list[str]:
    """The tokens that are texts by themselves; the others are parts of characters."""
    texts = []
    for token in tokens:
        try:
            texts.append(token.decode())
        except UnicodeDecodeError:
            continue
    return texts
