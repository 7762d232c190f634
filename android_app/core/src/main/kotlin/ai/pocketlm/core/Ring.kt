// Which slot of a cache holds which position, and what a query sees. Port of chat/ring.py.
//
// The token at position p lies in slot `p mod slots`. Every dividend below is non-negative, so a remainder that
// truncates gives the reference's numbers. Positions are 64-bit: those of an endless chat pass 2^31.
package ai.pocketlm.core

/** In [positionsHeld]: nothing was written to this slot yet. */
const val EMPTY_SLOT = -1L

/**
 * One layer's cache.
 *
 * @property slots positions that it stores.
 * @property window positions that a query sees, its own included.
 * @property wraps whether it is a ring.
 */
data class CacheShape(val slots: Long, val window: Long, val wraps: Boolean) {
    init {
        for ((name, value) in listOf("slots" to slots, "window" to window)) {
            if (value < 1) throw PocketError("$name is $value; it must be at least 1")
        }
        if (window > slots) {
            throw PocketError("a window of $window does not fit into $slots slots; give it that many slots")
        }
    }

    /** The most tokens that may be written at once without hiding a position that one of them sees. */
    val maxChunk: Long get() = if (wraps) slots - window + 1 else slots

    companion object {
        /**
         * The cache of a layer, by the rule in docs/architecture.md.
         *
         * @param kind a `local` layer sees `window` positions, a `global` one `context`.
         * @param chunk the most tokens written in one step.
         * @param isEndless whether global layers are rings.
         */
        fun of(kind: String, window: Long, chunk: Long, context: Long, isEndless: Boolean): CacheShape {
            if (chunk < 1) throw PocketError("chunk is $chunk; it must be at least 1")
            return when {
                kind == "local" -> CacheShape(window + chunk - 1, window, true)
                kind != "global" -> throw PocketError("unknown layer kind ${quoted(kind)}; it is 'local' or 'global'")
                isEndless -> CacheShape(context + chunk - 1, context, true)
                else -> CacheShape(context, context, false)
            }
        }
    }
}

/** The slots that the tokens at `position .. position + count - 1` are written to. */
fun slotsOf(position: Long, count: Long, slots: Long): List<Long> {
    if (position < 0 || count < 0 || slots < 1) {
        throw PocketError("position $position, count $count and slots $slots must be >= 0, >= 0 and >= 1")
    }
    if (count > slots) {
        throw PocketError("$count tokens do not fit into $slots slots at once; write them in smaller chunks")
    }
    return (0 until count).map { (position + it) % slots }
}

/** For each slot the position that it holds once positions `0 .. end - 1` were written, or [EMPTY_SLOT]. */
fun positionsHeld(end: Long, slots: Long): List<Long> {
    if (end < 0 || slots < 1) throw PocketError("end $end and slots $slots must be >= 0 and >= 1")
    if (end == 0L) return List(slots.toInt()) { EMPTY_SLOT }
    val last = end - 1
    val newest = last % slots
    return (0 until slots).map { slot ->
        val position = last - (newest - slot + slots) % slots
        if (position >= 0) position else EMPTY_SLOT
    }
}

/** The positions that a query at `position` sees, its own included. */
fun visiblePositions(position: Long, window: Long): LongRange {
    if (position < 0 || window < 1) {
        throw PocketError("position $position and window $window must be >= 0 and >= 1")
    }
    return maxOf(0, position - window + 1)..position
}

/** The attention mask of a chunk, read after the chunk was written: one row a query, one column a slot. */
fun visibleSlots(position: Long, count: Long, shape: CacheShape): List<List<Boolean>> {
    if (count > shape.maxChunk) {
        throw PocketError(
            "a chunk of $count tokens needs ${shape.window + count - 1} slots for a window of ${shape.window}, but " +
                "there are ${shape.slots}; write at most ${shape.maxChunk} tokens at once",
        )
    }
    if (!shape.wraps && position + count > shape.slots) {
        throw PocketError(
            "positions $position to ${position + count - 1} pass the end of a cache of ${shape.slots} positions that " +
                "does not wrap; start a new chat",
        )
    }
    val held = positionsHeld(position + count, shape.slots)
    return (position until position + count).map { query ->
        val seen = visiblePositions(query, shape.window)
        held.map { it in seen }
    }
}
