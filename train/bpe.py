"""A tokenizer of one's own: byte-level BPE, trained by the `tokenizers` library.

The same text gives the same file, byte for byte, whatever the number of threads: the library counts words, merges the
most frequent pair and, among equals, the one with the lowest ids (huggingface/tokenizers, bpe/trainer.rs, `Merge`).
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from model.files import atomic_output, dump_json
from model.tokenizer import TokenizerSpec, read_tokenizer_spec

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BEGIN, END = "<|begin_of_text|>", "<|end_of_text|>"  # ids 0 and 1

# Llama 3's split (meta-llama/llama3, llama/tokenizer.py: a word with the space or mark before it, digits in threes)
# with two changes for code: a line's end takes the indentation of the next line along, but for the last space, which
# belongs to the word; and a mark does not take the line's end along, so a prompt may end with the colon of a `def`.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+(?:[ \t]+(?=[ \t]))?|\s+(?!\S)|\s+"
)


def train_bpe(
    texts: Iterable[str],
    *,
    vocab_size: int,
    folder: Path,
    max_bytes: int,
    progress: Callable[[str], None] = lambda line: None,
    pattern: str = PATTERN,
) -> TokenizerSpec:
    """Trains a tokenizer and writes tokenizer.json and tokenizer_config.json.

    Args:
        texts: read until `max_bytes` of UTF-8 are reached; the last one is cut there.
        vocab_size: ids at most: 2 special tokens, 256 bytes, and merges. Fewer where the text has no more pairs.
        folder: must not exist.
        pattern: of the pieces that no merge crosses.

    Raises:
        ValueError: the folder exists.
        EnvironmentFault: the disk is full.
    """
    from tokenizers import pre_tokenizers, trainers

    tokenizer = _untrained(pattern)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[BEGIN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_at_most(texts, max_bytes), trainer)
    size = tokenizer.get_vocab_size()
    if size < vocab_size:
        progress(f"the text is too small for {vocab_size:,} tokens: the tokenizer has {size:,}")
    with atomic_output(folder) as partial:
        tokenizer.save(str(partial / "tokenizer.json"))
        config = {
            "add_bos_token": True,
            "bos_token": BEGIN,
            "clean_up_tokenization_spaces": False,
            "eos_token": END,
            "tokenizer_class": "PreTrainedTokenizerFast",
        }
        (partial / "tokenizer_config.json").write_text(dump_json(config), encoding="utf-8")
    spec = read_tokenizer_spec(folder, vocab_size=vocab_size)
    assert spec is not None
    return spec


def _untrained(pattern: str) -> "Tokenizer":
    """A byte-level tokenizer without a vocabulary, that begins every text with `BEGIN`."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", pair=f"{BEGIN} $A {BEGIN} $B", special_tokens=[(BEGIN, 0)]
    )
    return tokenizer


def _at_most(texts: Iterable[str], max_bytes: int) -> Iterator[str]:
    left = max_bytes
    for text in texts:
        data = text.encode()
        if len(data) >= left:
            yield data[:left].decode(errors="ignore")  # a character at the cut goes
            return
        left -= len(data)
        yield text
