"""The memory vectors: a package's estimated peak against what the device gives, and the rule."""

from tests.vectors.sentence_cases import fill, size
from tests.vectors.text_cases import Case

MB = 1_000_000
# name, needed, available now, the most that the device ever gives an app: bytes
DEVICES: list[tuple[str, int, int, int]] = [
    ("much room", 1000 * MB, 4000 * MB, 6000 * MB),
    ("just fits with an eighth to spare", 875 * MB, 1000 * MB, 6000 * MB),
    ("one byte into the last eighth", 875 * MB + 1, 1000 * MB, 6000 * MB),
    ("an odd number of bytes", 9, 10, 20),
    ("no more than what is free", 1000 * MB, 1000 * MB, 1000 * MB),
    ("more than what is free", 1200 * MB, 1000 * MB, 2000 * MB),
    ("exactly the most", 2000 * MB, 1000 * MB, 2000 * MB),
    ("one byte more than the most", 2000 * MB + 1, 1000 * MB, 2000 * MB),
    ("more than the most although it is free", 2100 * MB, 4000 * MB, 2000 * MB),
    ("nothing free", 1000 * MB, 0, 2000 * MB),
    ("more than 32 bits", 5_000_000_000, 12_000_000_000, 16_000_000_000),
]


def verdict(needed: int, available: int, most: int) -> Case:
    """Fits with an eighth of what is free to spare; tight up to the most that the device gives; else too large."""
    if needed > most:
        text = fill("memoryTooLarge", {"needed": size(needed), "most": size(most)})
        return {"verdict": "tooLarge", "text": text}
    if needed > available - available // 8:
        text = fill("memoryTight", {"needed": size(needed), "available": size(available)})
        return {"verdict": "tight", "text": text}
    return {"verdict": "fits", "text": ""}


def memory_cases() -> list[Case]:
    return [
        {
            "name": name,
            "needed_bytes": needed,
            "available_bytes": available,
            "most_bytes": most,
            "expected": verdict(needed, available, most),
        }
        for name, needed, available, most in DEVICES
    ]
