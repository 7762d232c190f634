// Reading JSON strictly: every key present, none unknown, every type and bound kept. Port of export/strict.py.
//
// Knows no manifest. A problem is one PocketError of one line that begins with the place: `cache.layers[3].slots is
// ...`.
package ai.pocketlm.core

const val MAX_INTEGER = (1L shl 53) - 1 // the largest integer that every JSON reader keeps exactly
private const val MAX_SHOWN = 60 // characters of a wrong value that a message repeats
private val PLAIN_KEY = Regex("[A-Za-z_][A-Za-z0-9_]*")

/** A place that is wrong, and what is wrong there. */
class PlaceError(val path: String, val what: String) : PocketError("${path.ifEmpty { "the document" }}$what")

/** Throws the one-line error for a place in the document. */
internal fun fail(path: String, message: String): Nothing = throw PlaceError(path, " $message")

/** A value as a message repeats it: on one line, and short; spelled as Python spells it. */
fun shown(value: Json): String =
    when (value) {
        Json.Null -> "None"
        is Json.Bool -> if (value.value) "True" else "False"
        is Json.Whole -> value.value.toString()
        is Json.Huge -> cut(value.digits)
        is Json.Fraction -> value.value.toString()
        is Json.Text -> shown(value.value)
        is Json.Items -> "a list"
        is Json.Object -> "an object"
    }

/** A text in quotes, short. */
fun shown(text: String): String = cut(quoted(text))

/** A text in quotes as Python's `repr` writes it, whole. */
fun quoted(text: String): String {
    val quote = if ('\'' in text && '"' !in text) '"' else '\''
    val out = StringBuilder().append(quote)
    for (c in text) {
        when {
            c == quote || c == '\\' -> out.append('\\').append(c)
            c == '\n' -> out.append("\\n")
            c == '\r' -> out.append("\\r")
            c == '\t' -> out.append("\\t")
            c < ' ' || c in '\u007f'..'\u00a0' || c == '\u00ad' -> out.append("\\x%02x".format(c.code))
            else -> out.append(c)
        }
    }
    return out.append(quote).toString()
}

private fun cut(text: String): String = if (text.length <= MAX_SHOWN) text else text.take(MAX_SHOWN) + "..."

/** A value and where it stands in the document. */
internal class Place(val value: Json, val path: String) {
    /** The named members, all there and no others; read them in this order. */
    fun fields(known: List<String>): Map<String, Place> {
        val entries = entries()
        for (key in entries.keys) {
            if (key in known) continue
            val near = nearest(key, known)
            val hint = if (near == null) "; known: ${known.joinToString(", ")}" else "; did you mean ${quoted(near)}?"
            fail(path, "has the unknown key ${shown(key)}$hint")
        }
        for (key in known) if (key !in entries) fail(join(path, key), "is missing")
        return entries.mapValues { (key, item) -> Place(item, join(path, key)) }
    }

    /** The members of an object with free keys. */
    fun members(least: Int = 0): Map<String, Place> {
        val entries = entries()
        if (entries.size < least) fail(path, "is empty")
        return entries.mapValues { (key, item) -> Place(item, join(path, key)) }
    }

    fun items(least: Int = 0): List<Place> {
        val items = (value as? Json.Items ?: wrong("a list")).items
        if (items.size < least) fail(path, "is empty")
        return items.mapIndexed { index, item -> Place(item, "$path[$index]") }
    }

    fun integer(least: Long): Long {
        if (value is Json.Huge || value is Json.Whole && (value.value > MAX_INTEGER || value.value < -MAX_INTEGER)) {
            fail(path, "is ${shown(value)}; integers go up to $MAX_INTEGER")
        }
        val number = (value as? Json.Whole ?: wrong("an integer")).value
        if (number < least) fail(path, "is $number; it must be at least $least")
        return number
    }

    fun integerOrNull(least: Long): Long? = if (value == Json.Null) null else integer(least)

    /** An integer whose bounds somebody else checks. */
    fun anyInteger(): Long = integer(Long.MIN_VALUE)

    fun number(least: Double = Double.NEGATIVE_INFINITY): Double {
        val number = when (value) {
            is Json.Fraction -> value.value
            is Json.Whole -> value.value.takeIf { it in -MAX_INTEGER..MAX_INTEGER }?.toDouble() ?: Double.NaN
            is Json.Huge -> Double.NaN
            else -> wrong("a number")
        }
        if (!number.isFinite()) fail(path, "is not a finite number")
        if (number < least) fail(path, "is ${shown(value)}; it must be at least ${least.toLong()}")
        return number
    }

    fun flag(): Boolean = (value as? Json.Bool ?: wrong("true or false")).value

    /** A text; with `least` 1 it is not empty. */
    fun text(least: Int = 0): String {
        val text = (value as? Json.Text ?: wrong("a string")).value
        if (hasLoneSurrogate(text)) fail(path, "holds half of a surrogate pair; text must be valid Unicode")
        if (text.length < least) fail(path, "is empty")
        return text
    }

    fun textOrNull(least: Int = 0): String? = if (value == Json.Null) null else text(least)

    /** A text that the whole pattern matches. */
    fun text(pattern: Regex, words: String): String {
        val text = text()
        if (!pattern.matches(text)) fail(path, "is ${shown(text)}; it must be $words")
        return text
    }

    fun oneOf(vararg allowed: String): String {
        if (value !is Json.Text || value.value !in allowed) {
            fail(path, "is ${shown(value)}; allowed: ${allowed.joinToString(", ")}")
        }
        return value.value
    }

    fun oneOf(vararg allowed: Long): Long {
        if (value !is Json.Whole || value.value !in allowed) {
            fail(path, "is ${shown(value)}; allowed: ${allowed.joinToString(", ")}")
        }
        return value.value
    }

    private fun entries(): Map<String, Json> = (value as? Json.Object ?: wrong("an object")).entries

    private fun wrong(wanted: String): Nothing = fail(path, "is ${shown(value)}; it must be $wanted")
}

private fun join(path: String, key: String): String =
    when {
        !PLAIN_KEY.matches(key) -> "$path[${shown(key)}]"
        path.isEmpty() -> key
        else -> "$path.$key"
    }

internal fun hasLoneSurrogate(text: String): Boolean {
    var at = 0
    while (at < text.length) {
        val c = text[at]
        val isPair = c.isHighSurrogate() && at + 1 < text.length && text[at + 1].isLowSurrogate()
        if (c.isSurrogate() && !isPair) return true
        at += if (isPair) 2 else 1
    }
    return false
}

/** The known name that is a slip of the finger away: an edit distance of at most a third of its length. */
internal fun nearest(name: String, known: List<String>): String? {
    val (near, distance) = known.map { it to editDistance(name, it) }.minByOrNull { it.second } ?: return null
    return near.takeIf { distance * 3 <= maxOf(near.length, name.length) }
}

private fun editDistance(a: String, b: String): Int {
    var row = IntArray(b.length + 1) { it }
    for (i in 1..a.length) {
        val next = IntArray(b.length + 1)
        next[0] = i
        for (j in 1..b.length) {
            val change = row[j - 1] + if (a[i - 1] == b[j - 1]) 0 else 1
            next[j] = minOf(change, row[j] + 1, next[j - 1] + 1)
        }
        row = next
    }
    return row[b.length]
}
