// Measures a package on this device: prompts of several lengths, each with a cold cache.
package ai.pocketlm.core

sealed interface BenchmarkState {
    data object Loading : BenchmarkState

    /** Counts are runs. */
    data class Running(val done: Int, val total: Int, val results: List<BenchmarkResult>) : BenchmarkState

    /** `note` says that it was stopped before its end, or is "". */
    data class Ended(val report: BenchmarkReport, val note: String) : BenchmarkState

    data class Failed(val refusal: Refusal) : BenchmarkState
}

/** What the device can tell of itself between two runs. */
interface DeviceProbe {
    /** Bytes that the process holds; null where it cannot be said. */
    fun memoryBytes(): Long?

    /** The system's word for how hot it is: `nominal`, `light`, `severe`, ... */
    fun thermal(): String
}

/** Runs on the calling thread with an engine of its own: let the chat's model go first. */
class Benchmark(
    private val factory: EngineFactory,
    private val probe: DeviceProbe,
    private val clock: () -> Double = { System.nanoTime() / 1e9 },
) {
    fun run(
        installed: InstalledPackage,
        isCancelled: () -> Boolean = { false },
        onState: (BenchmarkState) -> Unit = {},
    ): BenchmarkState {
        onState(BenchmarkState.Loading)
        val last = try {
            withEngine(factory, installed) { measure(it, installed, isCancelled, onState) }
        } catch (error: Throwable) { // a missing library or no memory is an Error; the user is told all the same
            BenchmarkState.Failed(Refusal.of(error))
        }
        onState(last)
        return last
    }

    private fun measure(
        engine: LlmEngine,
        installed: InstalledPackage,
        isCancelled: () -> Boolean,
        onState: (BenchmarkState) -> Unit,
    ): BenchmarkState {
        val plan = BenchmarkPlan.of(installed.manifest.context)
        val total = plan.runs.size
        val results = mutableListOf<BenchmarkResult>()
        engine.temperature = 0.0
        for (run in plan.runs) {
            onState(BenchmarkState.Running(results.size, total, results.toList()))
            val result = measureOne(engine, installed.manifest, run, plan.newTokens.toInt(), isCancelled)
            if (isCancelled()) {
                val said = arrayOf<Pair<String, Any>>("done" to results.size, "total" to total)
                val note = Sentences.fill(SentenceKey.BENCHMARK_STOPPED, *said)
                return BenchmarkState.Ended(BenchmarkReport(installed, plan.newTokens, results.toList()), note)
            }
            results += result
        }
        return BenchmarkState.Ended(BenchmarkReport(installed, plan.newTokens, results.toList()), "")
    }

    private fun measureOne(
        engine: LlmEngine,
        manifest: Manifest,
        run: BenchmarkRun,
        newTokens: Int,
        isCancelled: () -> Boolean,
    ): BenchmarkResult {
        engine.reset()
        val prompt = BenchmarkPrompt.of(manifest, run.promptTokens)
        val stream = ReplyStream(emptyList(), clock)
        engine.stream(prompt, first = true, maxNewTokens = newTokens) { piece ->
            stream.take(piece)
            if (isCancelled()) engine.stop()
        }
        val figures = engine.lastStatistics?.let(Statistics::ofReport) ?: own(stream, run.promptTokens)
        return BenchmarkResult(
            promptTokens = run.promptTokens,
            newTokens = figures.newTokens,
            isWarmUp = run.isWarmUp,
            timeToFirstTokenS = figures.timeToFirstTokenS,
            prefillTokensPerS = figures.prefillTokensPerS,
            decodeTokensPerS = figures.decodeTokensPerS,
            memoryBytes = probe.memoryBytes(),
            thermal = probe.thermal(),
        )
    }

    private fun own(stream: ReplyStream, promptTokens: Long): Statistics = Statistics.of(
        Reply(
            text = "",
            end = Ending.LENGTH,
            promptTokens = promptTokens,
            newTokens = stream.numTokens,
            timeToFirstTokenS = stream.timeToFirstTokenS,
            decodeTokensPerS = stream.decodeTokensPerS,
            note = "",
        ),
    )
}

/** Texts of a wanted number of tokens, without a tokenizer. */
internal object BenchmarkPrompt {
    /**
     * The golden prompt, whose tokens are known, behind as many special tokens as are missing: the text of one is one
     * token in every tokenizer.json. Where the golden prompt is longer, special tokens alone. A sentencepiece reader
     * spells their texts out, so there the golden prompt is repeated and its length is near the wanted one.
     */
    fun of(manifest: Manifest, tokens: Long): String {
        val golden = manifest.golden
        val tokenizer = manifest.tokenizer
        val text = golden.prompt.removePrefix(tokenizer.bosText)
        val length = golden.promptIds.size.toLong()
        if (tokenizer.kind != "hf" || tokenizer.specialTokens.isEmpty()) {
            return text.repeat(maxOf(1, tokens / length).toInt())
        }
        val filler = tokenizer.specialTokens.firstOrNull { it.id !in tokenizer.stopIds } ?: tokenizer.specialTokens[0]
        if (tokens >= length) return filler.text.repeat((tokens - length).toInt()) + text
        val begin = tokenizer.numBos + if (tokenizer.bosText.isEmpty()) 0 else 1
        return filler.text.repeat(maxOf(1, tokens - begin).toInt())
    }
}
