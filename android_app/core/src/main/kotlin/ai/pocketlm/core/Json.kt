// JSON as strict readers need it: duplicate keys and NaN are errors, 64-bit integers are kept apart from doubles.
package ai.pocketlm.core

import java.nio.ByteBuffer
import java.nio.charset.CharacterCodingException
import java.nio.charset.CodingErrorAction

/** A JSON value. */
sealed interface Json {
    data object Null : Json

    data class Bool(val value: Boolean) : Json

    /** A number without fraction and exponent that fits 64 bits. */
    data class Whole(val value: Long) : Json

    /** A number without fraction and exponent that does not. */
    data class Huge(val digits: String) : Json

    /** Any other number; infinite when it is beyond a double. */
    data class Fraction(val value: Double) : Json

    /** May hold half of a surrogate pair, as an escape can say it. */
    data class Text(val value: String) : Json

    data class Items(val items: List<Json>) : Json

    /** In the order of the file. */
    data class Object(val entries: Map<String, Json>) : Json {
        operator fun get(key: String): Json? = entries[key]
    }

    /** The value as text: one line, or two spaces a level and sorted keys. Infinite numbers have no JSON form. */
    fun write(pretty: Boolean = false): String =
        StringBuilder().also { JsonWriter(it, pretty).write(this, 0) }.toString()

    companion object {
        /** Throws `JsonError` when the bytes are not UTF-8 or not JSON. */
        fun read(bytes: ByteArray): Json = read(decode(bytes))

        /** Throws `JsonError` when the text is not JSON. */
        fun read(text: String): Json = JsonReader(text, emptySet()).readAll()

        /** Reads without what stands under these keys, which would take too much memory: they become null. */
        fun readWithout(keys: Set<String>, bytes: ByteArray): Json = JsonReader(decode(bytes), keys).readAll()

        fun of(vararg entries: Pair<String, Json>): Object = Object(linkedMapOf(*entries))

        private fun decode(bytes: ByteArray): String =
            try {
                Charsets.UTF_8.newDecoder().onMalformedInput(CodingErrorAction.REPORT)
                    .onUnmappableCharacter(CodingErrorAction.REPORT).decode(ByteBuffer.wrap(bytes)).toString()
            } catch (_: CharacterCodingException) {
                throw JsonError.Malformed("it is not UTF-8")
            }
    }
}

/** Why a text is not the JSON that we read. */
sealed class JsonError(override val message: String) : Exception(message) {
    class Malformed(message: String) : JsonError(message)

    class DuplicateKey(val key: String) : JsonError("the key ${shown(key)} stands twice in one object")

    class Constant(val name: String) : JsonError("$name is not JSON")
}

private const val MAX_DEPTH = 500

private class JsonReader(private val text: String, private val dropped: Set<String>) {
    private var at = 0
    private var dropping = 0 // how many of the values that are being read are dropped

    fun readAll(): Json {
        val value = value(0)
        skipSpace()
        if (at < text.length) throw malformed("there is something after its end")
        return value
    }

    private fun value(depth: Int): Json {
        if (depth > MAX_DEPTH) throw malformed("it is nested too deeply")
        skipSpace()
        return when (peek()) {
            '{' -> readObject(depth)
            '[' -> readItems(depth)
            '"' -> Json.Text(readText())
            't' -> readWord("true", Json.Bool(true))
            'f' -> readWord("false", Json.Bool(false))
            'n' -> readWord("null", Json.Null)
            'N' -> throw constantOr("NaN")
            'I' -> throw constantOr("Infinity")
            else -> readNumber()
        }
    }

    private fun readObject(depth: Int): Json {
        val entries = LinkedHashMap<String, Json>()
        at++
        skipSpace()
        if (takeIf('}')) return Json.Object(entries)
        while (true) {
            skipSpace()
            if (peek() != '"') throw malformed("a key was expected")
            val key = readText()
            skipSpace()
            if (!takeIf(':')) throw malformed("':' was expected")
            val value = member(key, depth + 1)
            if (dropping == 0 && entries.put(key, value) != null) throw JsonError.DuplicateKey(key)
            skipSpace()
            if (takeIf('}')) return Json.Object(entries)
            if (!takeIf(',')) throw malformed("',' or '}' was expected")
        }
    }

    private fun member(key: String, depth: Int): Json {
        if (key !in dropped) return value(depth)
        dropping++
        value(depth)
        dropping--
        return Json.Null
    }

    private fun readItems(depth: Int): Json {
        val items = ArrayList<Json>()
        at++
        skipSpace()
        if (takeIf(']')) return Json.Items(items)
        while (true) {
            val item = value(depth + 1)
            if (dropping == 0) items += item
            skipSpace()
            if (takeIf(']')) return Json.Items(items)
            if (!takeIf(',')) throw malformed("',' or ']' was expected")
        }
    }

    private fun readText(): String {
        val out = StringBuilder()
        at++
        while (true) {
            val c = peek() ?: throw malformed("a string has no end")
            at++
            when {
                c == '"' -> return out.toString()
                c == '\\' -> out.append(readEscape())
                c < ' ' -> throw malformed("a string holds a control character")
                else -> out.append(c)
            }
        }
    }

    private fun readEscape(): Char {
        val c = peek() ?: throw malformed("a string has no end")
        at++
        return when (c) {
            '"', '\\', '/' -> c
            'b' -> '\b'
            'f' -> '\u000c'
            'n' -> '\n'
            'r' -> '\r'
            't' -> '\t'
            'u' -> readCodeUnit()
            else -> throw malformed("'\\$c' is no escape")
        }
    }

    private fun readCodeUnit(): Char {
        val digits = text.substring(at, minOf(at + 4, text.length))
        if (digits.length < 4 || digits.any { it !in '0'..'9' && it !in 'a'..'f' && it !in 'A'..'F' }) {
            throw malformed("'\\u' needs four hexadecimal digits")
        }
        at += 4
        return digits.toInt(16).toChar()
    }

    private fun readNumber(): Json {
        if (text.startsWith("-Infinity", at)) throw JsonError.Constant("-Infinity")
        val start = at
        takeIf('-')
        if (!takeIf('0')) takeDigits()
        val isWhole = peek() != '.' && peek() != 'e' && peek() != 'E'
        if (takeIf('.')) takeDigits()
        if (takeIf('e') || takeIf('E')) {
            if (!takeIf('+')) takeIf('-')
            takeDigits()
        }
        val digits = text.substring(start, at)
        if (!isWhole) return Json.Fraction(digits.toDouble())
        return digits.toLongOrNull()?.let { Json.Whole(it) } ?: Json.Huge(digits)
    }

    private fun takeDigits() {
        val start = at
        while (peek() in '0'..'9') at++
        if (at == start) throw malformed("a value was expected")
    }

    private fun readWord(word: String, value: Json): Json {
        if (!text.startsWith(word, at)) throw malformed("a value was expected")
        at += word.length
        return value
    }

    private fun constantOr(name: String): JsonError =
        if (text.startsWith(name, at)) JsonError.Constant(name) else malformed("a value was expected")

    private fun skipSpace() {
        while (peek() == ' ' || peek() == '\n' || peek() == '\r' || peek() == '\t') at++
    }

    private fun peek(): Char? = text.getOrNull(at)

    private fun takeIf(c: Char): Boolean {
        if (peek() != c) return false
        at++
        return true
    }

    private fun malformed(what: String) = JsonError.Malformed("$what at character $at")
}

private operator fun CharRange.contains(c: Char?): Boolean = c != null && c >= first && c <= last

private class JsonWriter(private val out: StringBuilder, private val pretty: Boolean) {
    fun write(value: Json, depth: Int) {
        when (value) {
            Json.Null -> out.append("null")
            is Json.Bool -> out.append(value.value)
            is Json.Whole -> out.append(value.value)
            is Json.Huge -> out.append(value.digits)
            is Json.Fraction -> out.append(value.value)
            is Json.Text -> writeText(value.value)
            is Json.Items -> writeAll("[", "]", value.items, depth) { write(it, depth + 1) }
            is Json.Object -> {
                val entries = if (pretty) value.entries.entries.sortedBy { it.key } else value.entries.entries
                writeAll("{", "}", entries, depth) { (key, item) ->
                    writeText(key)
                    out.append(": ")
                    write(item, depth + 1)
                }
            }
        }
    }

    private fun <T> writeAll(open: String, close: String, items: Collection<T>, depth: Int, writeOne: (T) -> Unit) {
        out.append(open)
        items.forEachIndexed { index, item ->
            if (index > 0) out.append(if (pretty) "," else ", ")
            breakLine(depth + 1)
            writeOne(item)
        }
        if (items.isNotEmpty()) breakLine(depth)
        out.append(close)
    }

    private fun breakLine(depth: Int) {
        if (pretty) out.append('\n').append("  ".repeat(depth))
    }

    private fun writeText(text: String) {
        out.append('"')
        for (c in text) {
            when (c) {
                '"' -> out.append("\\\"")
                '\\' -> out.append("\\\\")
                '\b' -> out.append("\\b")
                '\u000c' -> out.append("\\f")
                '\n' -> out.append("\\n")
                '\r' -> out.append("\\r")
                '\t' -> out.append("\\t")
                else -> if (c < ' ') out.append("\\u%04x".format(c.code)) else out.append(c)
            }
        }
        out.append('"')
    }
}
