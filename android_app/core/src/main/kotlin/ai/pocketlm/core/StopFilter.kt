// Removes a stop text, and everything after it, from a stream of text. Port of chat/stop_filter.py.
//
// A reply arrives in pieces, and a stop text may be spread over several of them: what could still become one is held
// back until it is decided. Pieces and stop texts are whole characters, so UTF-16 units may be compared.
package ai.pocketlm.core

/**
 * One reply's filter: the stream ends where the first stop text becomes complete.
 *
 * When two stop texts become complete with the same character, the one that began earlier is cut. So the result depends
 * on the text alone, never on how it was split into pieces. An empty stop text is a `PocketError`.
 */
class StopFilter(private val stopTexts: List<String>) {
    private var held = ""

    /** Whether a stop text was met; everything pushed from then on is dropped. */
    var isStopped = false
        private set

    init {
        if ("" in stopTexts) {
            throw PocketError("a stop text is empty, so every reply would end at once; leave it out of the list")
        }
    }

    /** Takes the next piece and returns what is now certain to belong to the reply (often empty). */
    fun push(text: String): String {
        if (isStopped) return ""
        held += text
        val start = firstStop()
        if (start != null) {
            val visible = held.substring(0, start)
            held = ""
            isStopped = true
            return visible
        }
        val split = held.length - numUndecided()
        val visible = held.substring(0, split)
        held = held.substring(split)
        return visible
    }

    /** Ends the stream: returns what was held back, for no stop text came of it. */
    fun flush(): String {
        val visible = held
        held = ""
        return visible
    }

    /** Where the stop text begins that is complete first, or null. */
    private fun firstStop(): Int? =
        stopTexts.mapNotNull { stop -> held.indexOf(stop).takeIf { it >= 0 }?.let { it + stop.length to it } }
            .minWithOrNull(compareBy({ it.first }, { it.second }))?.second

    /** Length of the longest end of the held text that is the beginning of a stop text. */
    private fun numUndecided(): Int {
        var longest = 0
        for (stop in stopTexts) {
            for (length in minOf(stop.length - 1, held.length) downTo longest + 1) {
                if (held.endsWith(stop.substring(0, length))) {
                    longest = length
                    break
                }
            }
        }
        return longest
    }
}
