// The one rule by which typed text never becomes a special token. Port of chat/typed.py.
//
// The C++ tokenizer turns the TEXT of a special token into its id, so a typed end-of-turn marker would end the turn.
package ai.pocketlm.core

private val SEPARATORS = listOf("\u200b", "\u2060") // zero width space; word joiner where a special holds the first

/**
 * Breaks every special token's text in `text` by an invisible character.
 *
 * 1. NUL characters are dropped: the sentencepiece reader would cut the prompt there.
 * 2. The specials are taken longest first (in code points), then in code point order. Every occurrence, found from left
 *    to right without overlap, gets the separator after its first code point; one that is a single code point is
 *    replaced by the separator.
 * 3. Step 2 is repeated until no special is left in the text.
 *
 * It ends: no special holds the separator, so an occurrence lies between separators, and each step either splits such a
 * stretch or takes a character out of it. Special tokens that hold every known separator are a `PocketError`.
 */
fun neutralise(text: String, specials: Iterable<String>): String {
    val ordered = specials.map { it.replace("\u0000", "") }.filter { it.isNotEmpty() }.distinct()
        .sortedWith(LONGEST_FIRST)
    val separator = SEPARATORS.firstOrNull { s -> ordered.none { s in it } }
        ?: throw PocketError(
            "special tokens hold both U+200B and U+2060, so typed text cannot be kept apart from them; rename those " +
                "tokens in the tokenizer",
        )
    var clean = text.replace("\u0000", "")
    while (ordered.any { it in clean }) {
        for (special in ordered) clean = clean.replace(special, broken(special, separator))
    }
    return clean
}

private fun broken(special: String, separator: String): String {
    val first = Character.charCount(special.codePointAt(0))
    if (first == special.length) return separator
    return special.substring(0, first) + separator + special.substring(first)
}

private val LONGEST_FIRST = Comparator<String> { a, b ->
    val byLength = b.codePointCount(0, b.length) - a.codePointCount(0, a.length)
    if (byLength != 0) byLength else compareCodePoints(a, b)
}

/** Texts of equally many code points, by code point: UTF-16 units would sort an emoji before U+E000. */
private fun compareCodePoints(a: String, b: String): Int {
    var at = 0
    while (at < a.length && at < b.length) {
        val left = a.codePointAt(at)
        val right = b.codePointAt(at)
        if (left != right) return left.compareTo(right)
        at += Character.charCount(left)
    }
    return a.length.compareTo(b.length)
}
