"""What the tests of tiktoken files share: small ranks, folders, and tiktoken itself."""

import base64
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.checkpoint import adopt_tokenizer
from model.tiktoken_file import TiktokenVocabulary, ranks_sha256
from model.tokenizer import TokenizerSpec
from model.tokenizer_parity import AGREEMENT_CORPUS
from model.tokenizer_readers import BYTE_CHARACTERS

SAMPLES = (
    "The quick brown fox doesn't jump; it'll THINK first. I'VE 12345 reasons (3.14159!)",
    "def f(x: int) -> str:\n    return f'{x:>8}'\t# ok\n\n\n    if a/b//c: pass",
    "Привет, мир! Γειά σου Κόσμε. שלום עולם مرحبا بالعالم नमस्ते สวัสดี 你好，世界 こんにちは 안녕하세요",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 caf\u00e9 cafe\u0301 \ufb01 \u0130stanbul \u01c5ungla",
    "  two  spaces\r\n\r\n\ttabs \u00a0\u3000 end   ",
    "\u1828\u1820\u180e\u1820 \u182a\u1820  \u180e\u1828",  # Mongolian: a vowel separator is no space
)


def ranks(size: int) -> list[bytes]:
    """Ranks of a vocabulary trained on a little text; like Llama 3's they begin with '!', like Llama 4's they hold
    parts of characters."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [*AGREEMENT_CORPUS.values(), *SAMPLES] * 2,
        trainers.BpeTrainer(vocab_size=size, show_progress=False, initial_alphabet=alphabet),
    )
    by_rank = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    return [bytes(BYTE_CHARACTERS[character] for character in text) for text, _ in by_rank]


RANKS = ranks(900)


def tiktoken_folder(folder: Path, tokens: Sequence[bytes], **files: Any) -> Path:
    folder.mkdir(exist_ok=True)
    lines = (base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens))
    (folder / "tokenizer.model").write_bytes(b"".join(lines))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def small(vocabulary: TiktokenVocabulary, tokens: Sequence[bytes] = RANKS) -> TiktokenVocabulary:
    """The same pattern and special tokens over other ranks."""
    return dataclasses.replace(vocabulary, num_ranks=len(tokens), sha256=ranks_sha256(tokens))


def reference(vocabulary: TiktokenVocabulary, tokens: Sequence[bytes]) -> Any:
    import tiktoken

    return tiktoken.Encoding(
        name="reference",
        pat_str=vocabulary.split_pattern,
        mergeable_ranks={token: rank for rank, token in enumerate(tokens)},
        special_tokens={text: len(tokens) + i for i, text in enumerate(vocabulary.special_tokens)},
    )


def adopt(folder: Path, target: Path, vocab_size: int) -> TokenizerSpec:
    target.mkdir()
    spec = adopt_tokenizer(folder, target, vocab_size)
    assert spec is not None
    return spec


def write_json(file: Path, data: dict[str, Any]) -> Path:
    file.write_text(json.dumps(data))
    return file
