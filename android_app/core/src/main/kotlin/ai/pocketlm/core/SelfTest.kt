// The golden rule of docs/package.md: a greedy generation that every machine must repeat.
package ai.pocketlm.core

/** The states of a self-test; a sentence is one of the table, or `key` is null. */
sealed interface SelfTestState {
    data object Loading : SelfTestState

    /** Counts are tokens. */
    data class Running(val done: Int, val total: Int) : SelfTestState

    data class Passed(val key: SentenceKey?, val text: String) : SelfTestState

    /** The model's choices are too close to be compared. */
    data class Unsure(val key: SentenceKey?, val text: String) : SelfTestState

    data class Failed(val key: SentenceKey?, val text: String) : SelfTestState

    data object Stopped : SelfTestState
}

/** Runs on the calling thread with an engine of its own: let the chat's model go first. */
class SelfTest(private val factory: EngineFactory) {
    fun run(
        installed: InstalledPackage,
        isCancelled: () -> Boolean = { false },
        onState: (SelfTestState) -> Unit = {},
    ): SelfTestState {
        onState(SelfTestState.Loading)
        val last = try {
            withEngine(factory, installed) { test(it, installed.manifest, isCancelled, onState) }
        } catch (error: Throwable) { // a missing library or no memory is an Error; the user is told all the same
            Refusal.of(error).let { SelfTestState.Failed(it.key, it.text) }
        }
        onState(last)
        return last
    }

    private fun test(
        engine: LlmEngine,
        manifest: Manifest,
        isCancelled: () -> Boolean,
        onState: (SelfTestState) -> Unit,
    ): SelfTestState {
        val golden = manifest.golden
        val total = golden.ids.size
        onState(SelfTestState.Running(0, total))
        engine.temperature = 0.0
        val prompt = golden.prompt.removePrefix(manifest.tokenizer.bosText) // the engine puts it there again
        val pieces = mutableListOf<ByteArray>()
        engine.stream(prompt, first = true, maxNewTokens = total) { piece ->
            pieces += piece.data
            onState(SelfTestState.Running(pieces.size, total))
            if (isCancelled()) engine.stop()
        }
        return if (isCancelled()) SelfTestState.Stopped else byText(golden, pieces)
    }

    companion object {
        /** The verdict by ids. */
        fun byIds(golden: Golden, ids: List<Long>): SelfTestState {
            val compared = golden.compared.toInt()
            if (compared == 0) return unsure()
            val wrong = (0 until minOf(compared, ids.size)).firstOrNull { ids[it] != golden.ids[it] }
            if (wrong != null) {
                val said = arrayOf("step" to wrong + 1, "found" to ids[wrong], "wanted" to golden.ids[wrong])
                return failed(refusal(SentenceKey.SELF_TEST_FAILED_IDS, *said))
            }
            if (ids.size < compared) {
                return failed(refusal(SentenceKey.SELF_TEST_SHORT, "found" to ids.size, "wanted" to compared))
            }
            val later = golden.ids.zip(ids).indexOfFirst { (wanted, found) -> wanted != found }
            if (later < 0) return passed(golden)
            val said = arrayOf<Pair<String, Any>>("compared" to compared, "step" to later + 1)
            return refusal(SentenceKey.SELF_TEST_PASSED_LATER, *said).let { SelfTestState.Passed(it.key, it.text) }
        }

        /** The verdict of a runner without ids. Where the golden text ends inside a character, U+FFFD stands for it. */
        fun byText(golden: Golden, pieces: List<ByteArray>): SelfTestState {
            if (golden.compared == 0L) return unsure()
            val joiner = Utf8Joiner()
            val found = pieces.joinToString("") { joiner.push(it) } + joiner.flush()
            val wanted = golden.text.trimEnd(REPLACEMENT)
            if (found.startsWith(wanted)) return passed(golden)
            val length = minOf(wanted.codePointCount(0, wanted.length), found.codePointCount(0, found.length))
            val begin = found.substring(0, found.offsetByCodePoints(0, length))
            return failed(refusal(SentenceKey.SELF_TEST_FAILED_TEXT, "found" to begin, "wanted" to wanted))
        }

        private fun passed(golden: Golden): SelfTestState =
            refusal(SentenceKey.SELF_TEST_PASSED, "compared" to golden.compared)
                .let { SelfTestState.Passed(it.key, it.text) }

        private fun unsure(): SelfTestState =
            refusal(SentenceKey.SELF_TEST_UNSURE).let { SelfTestState.Unsure(it.key, it.text) }

        private fun failed(refusal: Refusal): SelfTestState = SelfTestState.Failed(refusal.key, refusal.text)
    }
}

/** Loads an engine, uses it and closes it whatever happens. */
internal fun <T> withEngine(factory: EngineFactory, installed: InstalledPackage, use: (LlmEngine) -> T): T {
    val engine = factory.make(installed)
    try {
        engine.load()
        return use(engine)
    } finally {
        engine.close()
    }
}
