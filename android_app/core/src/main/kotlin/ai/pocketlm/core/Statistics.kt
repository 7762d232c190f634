// How fast a reply came: from the runner's own report where it gives one, else from our clock.
package ai.pocketlm.core

/**
 * The figures of one reply.
 *
 * @property promptTokens sent in this turn.
 * @property newTokens that came back, the stop token included.
 * @property timeToFirstTokenS seconds; null: no token came.
 * @property decodeTokensPerS of the tokens after the first; null: there was none, or it took no measurable time.
 * @property prefillTokensPerS null where it cannot be said.
 */
data class Statistics(
    val promptTokens: Long,
    val newTokens: Long,
    val timeToFirstTokenS: Double?,
    val decodeTokensPerS: Double?,
    val prefillTokensPerS: Double? = null,
) {
    companion object {
        /**
         * The figures of ExecuTorch's report of one call (extension/llm/runner/stats.h), or null when it cannot be
         * read. Its times are epoch milliseconds; `generated_tokens` leaves out the first token, which the prefill
         * gives.
         */
        fun ofReport(text: String): Statistics? {
            val report = try {
                Json.read(text) as? Json.Object
            } catch (_: JsonError) {
                null
            }
            fun count(key: String): Long? = (report?.get(key) as? Json.Whole)?.value?.takeIf { it >= 0 }
            val prompt = count("prompt_tokens") ?: return null
            val generated = count("generated_tokens") ?: return null
            val startMs = count("inference_start_ms") ?: return null
            val promptEndMs = count("prompt_eval_end_ms") ?: return null
            val firstMs = count("first_token_ms") ?: return null
            val endMs = count("inference_end_ms") ?: return null
            val hasToken = firstMs > 0
            return Statistics(
                promptTokens = prompt,
                newTokens = if (hasToken) generated + 1 else 0,
                timeToFirstTokenS = if (hasToken && firstMs >= startMs) (firstMs - startMs) / 1000.0 else null,
                decodeTokensPerS = rate(1000.0 * generated, endMs - promptEndMs),
                prefillTokensPerS = rate(1000.0 * prompt, promptEndMs - startMs),
            )
        }

        private fun rate(count: Double, time: Number): Double? =
            if (count > 0 && time.toDouble() > 0) count / time.toDouble() else null

        /** The same of a reply that our own clock timed. */
        fun of(reply: Reply): Statistics {
            val firstS = reply.timeToFirstTokenS
            return Statistics(
                promptTokens = reply.promptTokens,
                newTokens = reply.newTokens,
                timeToFirstTokenS = firstS,
                decodeTokensPerS = reply.decodeTokensPerS,
                prefillTokensPerS = if (firstS == null) null else rate(reply.promptTokens.toDouble(), firstS),
            )
        }
    }
}
