// How fast a reply came: from the runner's own report where it gives one, else from our clock.
package ai.pocketlm.core

/**
 * The figures of one reply.
 *
 * @property promptTokens sent in this turn.
 * @property newTokens that came back, the stop token included.
 * @property timeToFirstTokenS seconds; null: no token came.
 * @property decodeTokensPerS of the tokens after the first; null: there was none, or it took no measurable time.
 * @property prefillTokensPerS null where the runner does not say it.
 */
data class Statistics(
    val promptTokens: Long,
    val newTokens: Long,
    val timeToFirstTokenS: Double?,
    val decodeTokensPerS: Double?,
    val prefillTokensPerS: Double? = null,
)
