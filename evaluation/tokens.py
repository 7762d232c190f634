"""One token stream for all things: their tokenizers must be the same, and a document is cut where the shortest ends."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.scoring import TokenDocument
from evaluation.text import TextDocument
from model.tokenizer import TokenizerSpec
from model.tokenizer_readers import Tokenizer

_READS_ALIKE = ("kind", "bos_id", "num_bos", "bos_text")  # of a specification: what decides the ids of a text


@dataclass(frozen=True, kw_only=True)
class TokenStream:
    """The documents as ids."""

    documents: tuple[TokenDocument, ...]  # those with a token to score
    cut: int  # of them were longer

    @property
    def tokens(self) -> int:
        """How many are scored."""
        return sum(len(document.ids) - 1 for document in self.documents)


def tokenizer_digest(file: Path, spec: TokenizerSpec) -> str:
    """One hash of what makes ids of a text: the file (white space of JSON aside) and how a text begins.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        content = file.read_bytes()
        if spec.kind == "hf":
            content = json.dumps(json.loads(content), sort_keys=True).encode()
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read ({error}); copy or make that folder again") from None
    facts = [str(getattr(spec, name)) for name in _READS_ALIKE]
    return hashlib.sha256(content + "\n".join(facts).encode()).hexdigest()


def tokenize(documents: Sequence[TextDocument], tokenizer: Tokenizer, *, max_tokens: int) -> TokenStream:
    """The ids of each document, cut at `max_tokens`, the begin-of-text id included.

    Args:
        max_tokens: at least 2.

    Raises:
        ValueError: no document has two tokens.
    """
    made, cut = [], 0
    for document in documents:
        ids = tokenizer.encode(document.text, first=True)
        if len(ids) > 1:
            cut += len(ids) > max_tokens
            size = scored_bytes(document.text, ids, max_tokens, tokenizer)
            made.append(TokenDocument(name=document.name, ids=tuple(ids[:max_tokens]), bytes=size))
    if not made:
        raise ValueError("there is no token to score: every document has less than two tokens")
    return TokenStream(documents=tuple(made), cut=cut)


def scored_bytes(text: str, ids: Sequence[int], max_tokens: int, tokenizer: Tokenizer) -> int:
    """Bytes of the text that the ids after the first stand for: all but the first token's and those that are cut.

    What is left out is counted by its tokens' own bytes; the text itself decides the rest, because sentencepiece puts
    a space before a text and may join white space.
    """
    encoded = text.encode()
    given = tokenizer.piece(ids[0])
    starts = (given, given.removeprefix(b" "))  # none of the text's where it is the begin-of-text id
    before = next((len(start) for start in starts if start and encoded.startswith(start)), 0)
    left_out = sum(len(tokenizer.piece(token)) for token in ids[max_tokens:])
    return max(1, len(encoded) - before - left_out)
