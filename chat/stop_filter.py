"""Removes a stop text, and everything after it, from a stream of text.

A reply arrives in pieces, and a stop text may be spread over several of them: what could still become one is held
back until it is decided. Texts are compared by Unicode scalar values (not by Swift's Characters, which would join a
combining mark to the letter before it). Knows no token and no template.
"""

from collections.abc import Sequence


class StopFilter:
    """One reply's filter: the stream ends where the first stop text becomes complete.

    When two stop texts become complete with the same character, the one that began earlier is cut. So the result
    depends on the text alone, never on how it was split into pieces.

    Raises:
        ValueError: a stop text is empty; it would end every reply before its first character.
    """

    def __init__(self, stop_texts: Sequence[str]) -> None:
        if "" in stop_texts:
            raise ValueError("a stop text is empty, so every reply would end at once; leave it out of the list")
        self._stop_texts = tuple(stop_texts)
        self._held = ""
        self._is_stopped = False

    @property
    def is_stopped(self) -> bool:
        """Whether a stop text was met; everything pushed from then on is dropped."""
        return self._is_stopped

    def push(self, text: str) -> str:
        """Takes the next piece and returns what is now certain to belong to the reply (often empty)."""
        if self._is_stopped:
            return ""
        self._held += text
        start = self._first_stop()
        if start is not None:
            visible, self._held, self._is_stopped = self._held[:start], "", True
            return visible
        keep = self._num_undecided()
        split = len(self._held) - keep
        visible, self._held = self._held[:split], self._held[split:]
        return visible

    def flush(self) -> str:
        """Ends the stream: returns what was held back, for no stop text came of it."""
        visible, self._held = self._held, ""
        return visible

    def _first_stop(self) -> int | None:
        """Where the stop text begins that is complete first, or None."""
        best: tuple[int, int] | None = None
        for stop in self._stop_texts:
            start = self._held.find(stop)
            if start >= 0 and (best is None or (start + len(stop), start) < best):
                best = (start + len(stop), start)
        return None if best is None else best[1]

    def _num_undecided(self) -> int:
        """Length of the longest end of the held text that is the beginning of a stop text."""
        longest = 0
        for stop in self._stop_texts:
            for length in range(min(len(stop) - 1, len(self._held)), longest, -1):
                if self._held.endswith(stop[:length]):
                    longest = length
                    break
        return longest
