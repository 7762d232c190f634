"""A byte-level tokenizer made from nothing, for models with random weights: every text has ids, and all ids exist."""

import itertools
import string
from collections.abc import Iterator
from pathlib import Path

from model.files import dump_json
from model.tokenizer_readers import BYTE_CHARACTERS

SPECIAL_TOKENS = ("<|begin_of_text|>", "<|end_of_text|>", "<|header_start|>", "<|header_end|>", "<|eot|>")
MOST_IDS = 1_000_000  # a bound for sanity: the merges below would fill seven million

# Llama 4's chat format in its plainest form.
CHAT_TEMPLATE = """\
{{- bos_token }}
{%- for message in messages %}
    {{- "<|header_start|>" ~ message.role ~ "<|header_end|>\\n\\n" ~ message.content ~ "<|eot|>" }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- "<|header_start|>assistant<|header_end|>\\n\\n" }}
{%- endif %}
"""


def write_byte_tokenizer(folder: Path, vocab_size: int) -> None:
    """Writes tokenizer.json and tokenizer_config.json with ids 0 to vocab_size - 1; the same bytes each time.

    Ids 0 to 255 are the bytes, then come merges of ASCII letters, the special tokens last.

    Raises:
        ValueError: `vocab_size` leaves no room for the bytes and the special tokens, or is above a million.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    fewest = 256 + len(SPECIAL_TOKENS)
    if not fewest <= vocab_size <= MOST_IDS:
        raise ValueError(
            f"a byte-level tokenizer has {fewest} to {MOST_IDS} ids, the model's vocabulary is "
            f"{vocab_size}; use a vocabulary within that, or a tokenizer of your own"
        )
    vocabulary = {character: byte for character, byte in sorted(BYTE_CHARACTERS.items(), key=lambda item: item[1])}
    merges = list(itertools.islice(_merges(), vocab_size - fewest))
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in SPECIAL_TOKENS])
    bos = SPECIAL_TOKENS[0]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, tokenizer.token_to_id(bos))]
    )
    (folder / "tokenizer.json").write_text(tokenizer.to_str(pretty=True) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        dump_json(
            {
                "bos_token": bos,
                "eos_token": "<|eot|>",
                "chat_template": CHAT_TEMPLATE,
                "tokenizer_class": "PreTrainedTokenizerFast",
            }
        ),
        encoding="utf-8",
    )


def _merges() -> Iterator[tuple[str, str]]:
    """Pairs to merge, chosen so that a word which IS a token always merges to it.

    The phones' reader looks a whole word up before it merges, Python's does not; they agree only if merging gets
    there too. Here no two merges compete for a part: consonant and vowel, then an early syllable and a late one
    (a late one never begins a pair), then a space, then two such words.
    """
    consonants, vowels = [c for c in string.ascii_lowercase if c not in "aeiou"], "aeiou"
    early, late = ([c + v for c in half for v in vowels] for half in (consonants[:10], consonants[10:]))
    words = [first + second for first in early for second in late]
    yield from ((c, v) for c in consonants for v in vowels)
    yield from ((first, second) for first in early for second in late)
    yield from (("\u0120", syllable) for syllable in early + late)
    yield from (("\u0120", word) for word in words)
    yield from ((first, second) for first in words for second in words)
