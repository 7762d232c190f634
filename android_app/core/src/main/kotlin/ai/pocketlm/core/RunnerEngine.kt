// An engine over the runtime's text runner: what it drops and loses (docs/app-core.md) is made up for here.
package ai.pocketlm.core

/**
 * ExecuTorch's text runner, as LlmModule and TextLLMRunner wrap it. One thread owns it, save [stop].
 *
 * Failures are `RunnerFailure`s.
 */
interface TextRunner {
    fun load()

    /** Writes a text to the cache; with `first` after the ids of BOS that the package asks for. */
    fun prefill(text: String, first: Boolean)

    /**
     * Writes a text, which is shorter than the context, and hands over new tokens' bytes one after the other. An empty
     * text goes on from what was prefilled.
     *
     * @param maxNewTokens of this call; at most the context's.
     * @return the runner's report as JSON, or null.
     */
    fun generate(
        text: String,
        first: Boolean,
        maxNewTokens: Int,
        temperature: Double,
        onPiece: (ByteArray) -> Unit,
    ): String?

    /** From any thread; lost while a prompt is read and from the callback of a call's first token. */
    fun stop()

    /** Position 0. */
    fun reset()

    fun close()
}

/**
 * See [LlmEngine]. The runner offers no tokenizer, so counts are bounds, and its reports put the position right.
 *
 * @param exactCount counts tokens where there is a tokenizer (`bos_text` is in the text already); null: a bound.
 */
class RunnerEngine(
    private val runner: TextRunner,
    manifest: Manifest,
    private val exactCount: ((text: String, first: Boolean) -> Long)? = null,
) : LlmEngine {
    private val context = manifest.context
    private val isRing = manifest.chunk < manifest.context.tokens // as the runner sees it
    private val tokenizer = manifest.tokenizer

    @Volatile private var isStopping = false

    override var temperature = 0.0

    override var lastStatistics: String? = null
        private set

    override var position = 0L
        private set

    override val countIsExact: Boolean get() = exactCount != null

    override fun load() = EngineError.told { runner.load() }

    /**
     * A byte-level tokenizer gives at most a token a byte; sentencepiece puts a space before a text, which may be one
     * more.
     */
    override fun count(text: String, first: Boolean): Long {
        val whole = whole(text, first)
        if (exactCount != null) return EngineError.told { exactCount.invoke(whole, first) }
        val space = if (tokenizer.kind == "sentencepiece" && whole.isNotEmpty()) 1 else 0
        return whole.toByteArray().size + space + if (first) tokenizer.numBos else 0
    }

    /**
     * Where counts are bounds one token is asked for and dropped, because the report of that call has the true number;
     * the runner never writes that token.
     */
    override fun prefill(text: String, first: Boolean) {
        val count = count(text, first)
        if (count == 0L) return
        if (countIsExact || !isRing || count >= context.tokens) {
            prefillWhole(text, first, count)
        } else {
            stream(text, first, 1) {}
        }
    }

    override fun stream(text: String, first: Boolean, maxNewTokens: Int, onPiece: (Piece) -> Unit) {
        isStopping = false
        lastStatistics = null
        val count = count(text, first)
        val isPrefilled = count >= context.tokens // the runner takes such a text by its prefill only
        if (isPrefilled) {
            prefillWhole(text, first, count)
            if (isStopping) return
        }
        val wanted = minOf(maxNewTokens.toLong(), context.tokens).toInt()
        val call = Call(position, if (isPrefilled) position else position + count, wanted, isPrefilled)
        val sent = if (isPrefilled) "" else whole(text, first)
        var pieces = 0L
        val report = EngineError.told {
            runner.generate(sent, first && !isPrefilled, wanted, temperature) { data ->
                position = call.promptEnd + pieces // the prompt and all new tokens but this one
                pieces++
                onPiece(Piece(data))
                if (isStopping) runner.stop()
            }
        }
        lastStatistics = report
        settle(call, report?.let(Statistics::ofReport), pieces, onPiece)
    }

    override fun stop() {
        isStopping = true
        runner.stop()
    }

    override fun reset() {
        EngineError.told { runner.reset() }
        position = 0
    }

    override fun close() = runner.close()

    private fun whole(text: String, first: Boolean): String = if (first) tokenizer.bosText + text else text

    private fun prefillWhole(text: String, first: Boolean, count: Long) {
        EngineError.told { runner.prefill(whole(text, first), first) }
        position += count
    }

    /**
     * Takes over the runner's own counts. Of a call without text `prompt_tokens` is the position at its end
     * (text_llm_runner.cpp, and export/native.py). Tokens that came joined to whole characters are handed over as empty
     * pieces.
     */
    private fun settle(call: Call, figures: Statistics?, pieces: Long, onPiece: (Piece) -> Unit) {
        val tokens = maxOf(pieces, minOf(figures?.newTokens ?: 0, call.wanted.toLong()))
        val promptTokens = figures?.promptTokens ?: 0
        position = when {
            promptTokens > 0 && call.isPrefilled -> promptTokens
            promptTokens > 0 -> call.start + promptTokens + maxOf(0, tokens - 1)
            else -> call.promptEnd + maxOf(0, tokens - 1)
        }
        for (index in pieces until tokens) onPiece(Piece(ByteArray(0)))
    }

    /** One call of the runner: where it starts, where its prompt ends by our count, and how many tokens are wanted. */
    private class Call(val start: Long, val promptEnd: Long, val wanted: Int, val isPrefilled: Boolean)
}
