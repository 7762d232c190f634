// Which runs a benchmark makes for a package, and the document that it exports.
package ai.pocketlm.core

private const val BENCHMARK_VERSION = 1L
private const val NEW_TOKENS = 64L
private const val REPEATS = 3
private val PROMPTS = listOf(16L, 128L, 512L) // tokens

/** One run that is to be made. */
data class BenchmarkRun(val promptTokens: Long, val isWarmUp: Boolean)

data class BenchmarkPlan(val newTokens: Long, val runs: List<BenchmarkRun>) {
    companion object {
        /**
         * A warm-up, then every prompt in turn, again and again, so that heat is spread over all of them.
         *
         * A bounded context holds prompt and new tokens; of a tiny one half is new. A prompt is never longer than a
         * context.
         */
        fun of(context: Context): BenchmarkPlan {
            val new = if (context.isEndless) NEW_TOKENS else minOf(NEW_TOKENS, maxOf(1, context.tokens / 2))
            val room = if (context.isEndless) context.tokens else context.tokens - new
            val prompts = PROMPTS.filter { it <= room }.ifEmpty { listOf(room) }
            val measured = (1..REPEATS).flatMap { prompts.map { prompt -> BenchmarkRun(prompt, isWarmUp = false) } }
            return BenchmarkPlan(new, listOf(BenchmarkRun(prompts[0], isWarmUp = true)) + measured)
        }
    }
}

/**
 * What one run gave.
 *
 * @property memoryBytes that the process held after it; null where the device does not say.
 * @property thermal the device's own word.
 */
data class BenchmarkResult(
    val promptTokens: Long,
    val newTokens: Long,
    val isWarmUp: Boolean,
    val timeToFirstTokenS: Double?,
    val prefillTokensPerS: Double?,
    val decodeTokensPerS: Double?,
    val memoryBytes: Long?,
    val thermal: String,
) {
    internal fun toJson(): Json = Json.of(
        "prompt_tokens" to Json.Whole(promptTokens),
        "new_tokens" to Json.Whole(newTokens),
        "is_warm_up" to Json.Bool(isWarmUp),
        "time_to_first_token_s" to number(timeToFirstTokenS),
        "prefill_tokens_per_s" to number(prefillTokensPerS),
        "decode_tokens_per_s" to number(decodeTokensPerS),
        "memory_bytes" to (memoryBytes?.let { Json.Whole(it) } ?: Json.Null),
        "thermal" to Json.Text(thermal),
    )
}

/**
 * The machine and the app that figures come from.
 *
 * @property runtime name and release, as `executorch 1.5.1`.
 * @property memoryBytes of the device.
 * @property threads that the runner uses; null where it decides itself.
 */
data class BenchmarkAbout(
    val appName: String,
    val appVersion: String,
    val runtime: String,
    val model: String,
    val system: String,
    val memoryBytes: Long,
    val threads: Int?,
) {
    internal fun toJson(installed: InstalledPackage): Json.Object {
        val manifest = installed.manifest
        val context = Json.of(
            "kind" to Json.Text(manifest.context.kind),
            "tokens" to Json.Whole(manifest.context.tokens),
        )
        return Json.of(
            "app" to Json.of("name" to Json.Text(appName), "version" to Json.Text(appVersion)),
            "device" to Json.of(
                "model" to Json.Text(model),
                "system" to Json.Text(system),
                "memory_bytes" to Json.Whole(memoryBytes),
                "threads" to (threads?.let { Json.Whole(it.toLong()) } ?: Json.Null),
            ),
            "package" to Json.of(
                "id" to Json.Text(installed.id.sha256),
                "name" to Json.Text(installed.name),
                "target" to Json.Text(manifest.target),
                "recipe" to Json.Text(manifest.recipe.name),
                "parameters" to Json.Whole(manifest.model.parameters),
                "context" to context,
            ),
            "runtime" to Json.Text(runtime),
        )
    }
}

/** What a benchmark found. */
data class BenchmarkReport(val installed: InstalledPackage, val newTokens: Long, val results: List<BenchmarkResult>) {
    /** The document to share: all runs, and the median of each figure by prompt, the warm-up left out. */
    fun toJson(about: BenchmarkAbout): Json.Object = export(about.toJson(installed), newTokens, results)

    companion object {
        /** The document of anything that says itself what was measured. */
        fun export(about: Json.Object, newTokens: Long, results: List<BenchmarkResult>): Json.Object {
            val entries = LinkedHashMap<String, Json>()
            entries["schema_version"] = Json.Whole(BENCHMARK_VERSION)
            entries.putAll(about.entries)
            entries["new_tokens"] = Json.Whole(newTokens)
            entries["runs"] = Json.Items(results.map { it.toJson() })
            entries["summary"] = Json.Items(summary(results))
            return Json.Object(entries)
        }
    }
}

private fun summary(results: List<BenchmarkResult>): List<Json> =
    results.filterNot { it.isWarmUp }.groupBy { it.promptTokens }.toSortedMap().map { (prompt, runs) ->
        Json.of(
            "prompt_tokens" to Json.Whole(prompt),
            "time_to_first_token_s" to number(median(runs.mapNotNull { it.timeToFirstTokenS })),
            "prefill_tokens_per_s" to number(median(runs.mapNotNull { it.prefillTokensPerS })),
            "decode_tokens_per_s" to number(median(runs.mapNotNull { it.decodeTokensPerS })),
        )
    }

private fun median(values: List<Double>): Double? {
    if (values.isEmpty()) return null
    val sorted = values.sorted()
    val middle = sorted.size / 2
    return if (sorted.size % 2 == 1) sorted[middle] else (sorted[middle - 1] + sorted[middle]) / 2
}

private fun number(value: Double?): Json = value?.let { Json.Fraction(it) } ?: Json.Null
