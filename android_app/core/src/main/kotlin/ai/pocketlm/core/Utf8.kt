// Joins pieces of bytes into whole UTF-8 text. Port of chat/utf8.py.
//
// A token may end inside a character: its bytes wait for the rest. Bytes that can never become a character turn into
// U+FFFD, one for each maximal part of a well-formed sequence (Unicode, chapter 3, table 3-7).
package ai.pocketlm.core

const val REPLACEMENT = '\ufffd'

/** A decoder that keeps an unfinished character between calls. */
class Utf8Joiner {
    private var missing = 0 // continuation bytes that the open character still needs; 0: none is open
    private var value = 0 // its bits so far
    private var low = 0x80 // the next byte must lie in low..high
    private var high = 0xBF

    /** Takes the next bytes and returns the characters that are complete now. */
    fun push(data: ByteArray): String {
        val out = StringBuilder()
        for (signed in data) {
            val byte = signed.toInt() and 0xFF
            if (missing > 0) {
                if (byte in low..high) {
                    proceed(byte, out)
                    continue
                }
                missing = 0 // the open character is broken off; this byte starts afresh
                out.append(REPLACEMENT)
            }
            start(byte, out)
        }
        return out.toString()
    }

    /** Ends the stream: an unfinished character becomes one U+FFFD. */
    fun flush(): String {
        val wasOpen = missing > 0
        missing = 0
        return if (wasOpen) REPLACEMENT.toString() else ""
    }

    private fun proceed(byte: Int, out: StringBuilder) {
        value = (value shl 6) or (byte and 0x3F)
        missing--
        low = 0x80
        high = 0xBF
        if (missing == 0) out.appendCodePoint(value)
    }

    /** Handles a byte outside any open character; table 3-7, row by row. */
    private fun start(byte: Int, out: StringBuilder) {
        low = 0x80
        high = 0xBF
        when (byte) {
            in 0x00..0x7F -> out.append(byte.toChar())
            in 0xC2..0xDF -> open(1, byte and 0x1F)
            in 0xE0..0xEF -> {
                open(2, byte and 0x0F)
                if (byte == 0xE0) low = 0xA0 // below is an overlong form
                if (byte == 0xED) high = 0x9F // above are surrogates
            }
            in 0xF0..0xF4 -> {
                open(3, byte and 0x07)
                if (byte == 0xF0) low = 0x90 // below is an overlong form
                if (byte == 0xF4) high = 0x8F // above is beyond U+10FFFF
            }
            else -> out.append(REPLACEMENT) // a lone continuation byte, C0, C1, or F5 and up
        }
    }

    private fun open(bytes: Int, bits: Int) {
        missing = bytes
        value = bits
    }
}

/** The text that the bytes are by themselves, or null when they begin or end inside a character. */
fun wholeText(data: ByteArray): String? {
    val joiner = Utf8Joiner()
    val text = joiner.push(data) + joiner.flush()
    return text.takeIf { it.toByteArray().contentEquals(data) }
}

/** Text that has a UTF-8 form: halves of a surrogate pair that stand alone (a broken paste) become U+FFFD. */
fun replaceLoneSurrogates(text: String): String {
    if (!hasLoneSurrogate(text)) return text
    val out = StringBuilder(text.length)
    var at = 0
    while (at < text.length) {
        val c = text[at++]
        if (c.isHighSurrogate() && at < text.length && text[at].isLowSurrogate()) {
            out.append(c).append(text[at++])
        } else {
            out.append(if (c.isSurrogate()) REPLACEMENT else c)
        }
    }
    return out.toString()
}
