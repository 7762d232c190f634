"""The one rule by which typed text never becomes a special token; Kotlin and Swift repeat it line by line.

The C++ tokenizer turns the TEXT of a special token into its id, so a typed end-of-turn marker would end the turn.
"""

from collections.abc import Iterable

SEPARATORS = ("\u200b", "\u2060")  # zero width space; word joiner where a special token itself holds the first


def neutralise(text: str, specials: Iterable[str]) -> str:
    """Breaks every special token's text in `text` by an invisible character.

    1. NUL characters are dropped: the sentencepiece reader would cut the prompt there.
    2. The specials are taken longest first (in code points), then in code point order. Every occurrence, found from
       left to right without overlap, gets the separator after its first code point; one that is a single code point
       is replaced by the separator.
    3. Step 2 is repeated until no special is left in the text.

    It ends: no special holds the separator, so an occurrence lies between separators, and each step either splits such
    a stretch or takes a character out of it. Comparison is by code point, never by canonical equivalence.

    Args:
        text: what a person typed (or a reply that is fed again).
        specials: texts of the special tokens; empty ones are ignored.

    Raises:
        ValueError: the special tokens hold every separator that this rule knows.
    """
    ordered = sorted({special.replace("\0", "") for special in specials} - {""}, key=lambda s: (-len(s), s))
    separator = next((s for s in SEPARATORS if not any(s in special for special in ordered)), None)
    if separator is None:
        names = " and ".join(f"U+{ord(s):04X}" for s in SEPARATORS)
        raise ValueError(
            f"special tokens hold both {names}, so typed text cannot be kept apart from them; "
            "rename those tokens in the tokenizer"
        )
    text = text.replace("\0", "")
    while any(special in text for special in ordered):
        for special in ordered:
            broken = special[0] + separator + special[1:] if len(special) > 1 else separator
            text = text.replace(special, broken)
    return text
