// Whether a package fits the device, before anything is loaded.
package ai.pocketlm.core

/** What the manifest's estimate means on this device. */
sealed interface MemoryVerdict {
    data object Fits : MemoryVerdict

    /** It may be ended by the system. */
    data class Tight(val text: String) : MemoryVerdict

    data class TooLarge(val text: String) : MemoryVerdict
}

object MemoryCheck {
    /**
     * @param neededBytes the manifest's `memory.estimated_peak_bytes`.
     * @param availableBytes free now.
     * @param mostBytes the most that the device ever gives an app.
     */
    fun judge(neededBytes: Long, availableBytes: Long, mostBytes: Long): MemoryVerdict {
        val needed = "needed" to Sentences.size(neededBytes)
        return when {
            neededBytes > mostBytes -> {
                val most = "most" to Sentences.size(mostBytes)
                MemoryVerdict.TooLarge(Sentences.fill(SentenceKey.MEMORY_TOO_LARGE, needed, most))
            }
            neededBytes > availableBytes - availableBytes / 8 -> {
                val available = "available" to Sentences.size(availableBytes)
                MemoryVerdict.Tight(Sentences.fill(SentenceKey.MEMORY_TIGHT, needed, available))
            }
            else -> MemoryVerdict.Fits
        }
    }
}
