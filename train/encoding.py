"""Documents into token ids as a model is trained on them: begin of text, the text, end of text."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chat.typed import neutralise
from model.tokenizer import TokenizerSpec, load_tokenizer
from model.tokenizer_readers import open_hf

_ENDS = ("<|end_of_text|>", "<|endoftext|>", "</s>", "<eos>")  # of a document, where others end a turn

Ids = np.ndarray[tuple[int], np.dtype[np.uint32]]


class DocumentEncoder:
    """A tokenizer for whole documents.

    The text of a special token that stands in a document is broken up by an invisible character, by the rule that the
    apps follow for typed text, so it never becomes the token.

    Raises:
        ValueError: the tokenizer has no token that ends a text.
    """

    def __init__(self, folder: Path, spec: TokenizerSpec) -> None:
        self._spec = spec
        self._tokenizer = load_tokenizer(folder, spec)
        self._batch = open_hf(folder / spec.file) if spec.kind == "hf" else None
        self._end = end_id(spec)

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of each document, those that begin and end it included."""
        texts = [self._plain(text) for text in texts]
        if self._batch is None:
            found = [self._tokenizer.encode(text, first=True) for text in texts]
        else:  # what `HfTokenizer.encode` does, on all cores
            prompts = [self._spec.bos_text + text for text in texts]
            found = [e.ids for e in self._batch.encode_batch_fast(prompts, add_special_tokens=False)]
        return [np.array([*ids, self._end], dtype=np.uint32) for ids in found]

    def _plain(self, text: str) -> str:
        cut = self._spec.kind == "sentencepiece" and "\0" in text  # that library would stop there
        if cut or any(special in text for special in self._spec.special_texts):
            return neutralise(text, self._spec.special_texts)
        return text


def end_id(spec: TokenizerSpec) -> int:
    """The id that ends a document.

    Raises:
        ValueError: the tokenizer has none.
    """
    ids = {token.text: token.id for token in spec.special_tokens}
    named = [ids[text] for text in _ENDS if text in ids]
    if not named and not spec.stop_ids:
        raise ValueError(
            f"{spec.file} has no token that ends a text; declare eos_token in tokenizer_config.json, for example "
            f"{_ENDS[0]}"
        )
    return named[0] if named else spec.stop_ids[0]
