"""Joins pieces of bytes into whole UTF-8 text.

A token may end inside a character: its bytes wait for the rest. Bytes that can never become a character turn into
U+FFFD, one for each maximal part of a well-formed sequence, as the Unicode standard recommends (chapter 3, table 3-7
and "U+FFFD Substitution of Maximal Subparts") and as Python's decoder with errors="replace" does. The decoder is
written out, because Kotlin and Swift repeat it.
"""

REPLACEMENT = "\ufffd"


class Utf8Joiner:
    """A decoder that keeps an unfinished character between calls."""

    def __init__(self) -> None:
        self._missing = 0  # continuation bytes that the open character still needs; 0 = none is open
        self._value = 0  # its bits so far
        self._low = 0x80  # the next byte must lie in low..high
        self._high = 0xBF

    def push(self, data: bytes) -> str:
        """Takes the next bytes and returns the characters that are complete now."""
        out: list[str] = []
        for byte in data:
            if self._missing:
                if self._low <= byte <= self._high:
                    self._continue(byte, out)
                    continue
                self._missing = 0  # the open character is broken off; this byte starts afresh
                out.append(REPLACEMENT)
            self._start(byte, out)
        return "".join(out)

    def flush(self) -> str:
        """Ends the stream: an unfinished character becomes one U+FFFD."""
        was_open, self._missing = self._missing > 0, 0
        return REPLACEMENT if was_open else ""

    def _continue(self, byte: int, out: list[str]) -> None:
        self._value = self._value << 6 | byte & 0x3F
        self._missing -= 1
        self._low, self._high = 0x80, 0xBF
        if not self._missing:
            out.append(chr(self._value))

    def _start(self, byte: int, out: list[str]) -> None:
        """Handles a byte outside any open character; table 3-7, row by row."""
        self._low, self._high = 0x80, 0xBF
        if byte < 0x80:
            out.append(chr(byte))
        elif 0xC2 <= byte <= 0xDF:
            self._missing, self._value = 1, byte & 0x1F
        elif 0xE0 <= byte <= 0xEF:
            self._missing, self._value = 2, byte & 0x0F
            if byte == 0xE0:
                self._low = 0xA0  # below is an overlong form
            elif byte == 0xED:
                self._high = 0x9F  # above are surrogates
        elif 0xF0 <= byte <= 0xF4:
            self._missing, self._value = 3, byte & 0x07
            if byte == 0xF0:
                self._low = 0x90  # below is an overlong form
            elif byte == 0xF4:
                self._high = 0x8F  # above is beyond U+10FFFF
        else:
            out.append(REPLACEMENT)  # a lone continuation byte, C0, C1, or F5 and up


def whole_text(data: bytes) -> str | None:
    """The text that the bytes are by themselves, or None when they begin or end inside a character."""
    joiner = Utf8Joiner()
    text = joiner.push(data) + joiner.flush()
    return text if text.encode() == data else None


def replace_lone_surrogates(text: str) -> str:
    """Text that has a UTF-8 form: halves of a surrogate pair that stand alone (a broken paste) become U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
