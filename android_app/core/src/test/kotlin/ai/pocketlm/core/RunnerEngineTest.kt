package ai.pocketlm.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Test

/** The engine over a runner that drops and loses what ExecuTorch's does. */
class RunnerEngineTest {
    private val manifest = Manifests.endless

    @Test
    fun aCountIsAtLeastTheNumberOfTokens() {
        val engine = RunnerEngine(PhoneRunner(), manifest)
        assertFalse(engine.countIsExact)
        assertEquals("Hé😀".toByteArray().size + 1L, engine.count("Hé😀", first = true)) // BOS
        assertEquals(0L, engine.count("", first = false))
        val sentencepiece = manifest.copy(tokenizer = manifest.tokenizer.copy(kind = "sentencepiece"))
        assertEquals(3L, RunnerEngine(PhoneRunner(), sentencepiece).count("Hi", first = false)) // a space before it
    }

    @Test
    fun theFirstTextBeginsWithBosText() {
        val tokenizer = manifest.tokenizer.copy(numBos = 0, bosText = "<|begin|>")
        val runner = PhoneRunner()
        val engine = RunnerEngine(runner, manifest.copy(tokenizer = tokenizer))
        engine.stream("a", first = true, maxNewTokens = 2) {}
        engine.stream("b", first = false, maxNewTokens = 2) {}
        assertEquals(listOf("generate <|begin|>a", "generate b"), runner.calls)
    }

    @Test
    fun theRunnersReportPutsThePositionRight() {
        val runner = PhoneRunner(bytesAToken = 4)
        val engine = RunnerEngine(runner, manifest)
        engine.stream("sixteen letters!", first = false, maxNewTokens = 5) {}
        assertEquals(runner.position, engine.position)
        assertEquals(4L + 4, engine.position) // 4 of the prompt; of 5 new tokens the last is not in the cache
        engine.stream("more", first = false, maxNewTokens = 1) {}
        assertEquals(runner.position, engine.position)
    }

    @Test
    fun withoutAReportOurOwnCountStands() {
        val runner = PhoneRunner(reports = false)
        val engine = RunnerEngine(runner, manifest)
        engine.stream("abc", first = false, maxNewTokens = 3) {}
        assertEquals(3L + 2, engine.position)
        assertEquals(null, engine.lastStatistics)
    }

    @Test
    fun aTextLongerThanTheContextIsPrefilled() {
        val runner = PhoneRunner(bytesAToken = 4)
        val engine = RunnerEngine(runner, manifest)
        var pieces = 0
        engine.stream("x".repeat(100), first = true, maxNewTokens = 3) { pieces++ }
        assertEquals(listOf("prefill " + "x".repeat(100), "generate "), runner.calls)
        assertEquals(3, pieces)
        assertEquals(runner.position, engine.position)
    }

    @Test
    fun noCallAsksForMoreTokensThanTheContextHas() {
        val runner = PhoneRunner()
        RunnerEngine(runner, manifest).stream("a", first = false, maxNewTokens = 1000) {}
        assertEquals(64, runner.wanted)
    }

    @Test
    fun aRestoredTextIsCountedByAskingForOneToken() {
        val runner = PhoneRunner(bytesAToken = 4)
        val engine = RunnerEngine(runner, manifest)
        engine.prefill("sixteen letters!", first = true)
        assertEquals(listOf("generate sixteen letters!"), runner.calls)
        assertEquals(4L, engine.position)
    }

    @Test
    fun aFullCacheIsPrefilledPlainlyForItsRunnerCountsATotal() {
        val runner = PhoneRunner()
        RunnerEngine(runner, manifest.copy(chunk = 64)).prefill("abc", first = false)
        assertEquals(listOf("prefill abc"), runner.calls)
    }

    @Test
    fun withATokenizerARestoredTextIsPrefilledPlainly() {
        val runner = PhoneRunner()
        val engine = RunnerEngine(runner, manifest) { text, _ -> text.length.toLong() }
        engine.prefill("abc", first = false)
        assertEquals(listOf("prefill abc"), runner.calls)
        assertEquals(3L, engine.position)
    }

    @Test
    fun charactersThatCameJoinedAreCountedAsTheirTokens() {
        val runner = PhoneRunner(joinsPieces = true)
        val pieces = mutableListOf<Int>()
        val engine = RunnerEngine(runner, manifest)
        engine.stream("a", first = false, maxNewTokens = 6) { pieces += it.data.size }
        assertEquals(listOf(2, 2, 2, 0, 0, 0), pieces)
        assertEquals(1L + 5, engine.position)
    }

    @Test
    fun aStopAtTheFirstPieceIsLostAndAskedForAgain() {
        val runner = PhoneRunner()
        val engine = RunnerEngine(runner, manifest)
        var pieces = 0
        engine.stream("a", first = false, maxNewTokens = 20) { if (++pieces == 1) engine.stop() }
        assertEquals(2, pieces)
    }

    @Test
    fun aSessionCancelledInThePromptEndsAtTheSecondPiece() {
        val runner = PhoneRunner()
        var session: Session? = null
        runner.inPrompt = { session?.cancel() } // the runner forgets it
        val ready = Session(RunnerEngine(runner, manifest), manifest.turns(), manifest.context)
        session = ready
        val reply = ready.send("Hi") {}
        assertEquals(Ending.CANCELLED, reply.end)
        assertEquals(2L, reply.newTokens)
    }

    @Test
    fun aStopWhileALongTextIsPrefilledEndsWithoutAPiece() {
        val runner = PhoneRunner()
        var session: Session? = null
        runner.inPrompt = { session?.cancel() }
        val ready = Session(RunnerEngine(runner, manifest), manifest.turns(), manifest.context)
        session = ready
        val reply = ready.send("x".repeat(200)) {}
        assertEquals(0L, reply.newTokens)
        assertEquals(Ending.CANCELLED, reply.end)
        assertEquals(emptyList<Message>(), ready.messages)
    }

    @Test
    fun aFailureIsASentence() {
        val runner = PhoneRunner()
        runner.inPrompt = { throw RunnerFailure(0x21, "out of memory") }
        val sentence = sentenceOf { RunnerEngine(runner, manifest).stream("a", first = false, maxNewTokens = 2) {} }
        assertEquals(Sentences.fill(SentenceKey.ENGINE_MEMORY, "code" to 33), sentence)
    }

    @Test
    fun theMarkIsRightWhereCountsAreBounds() {
        val exact = marks(PhoneRunner(bytesAToken = 4)) { text, first -> tokensOf(text, 4) + if (first) 1 else 0 }
        assertEquals(exact, marks(PhoneRunner(bytesAToken = 4), null))
        assertEquals(true, exact.last().firstVisibleTurn > 0)
    }

    private fun marks(runner: PhoneRunner, count: ((String, Boolean) -> Long)?): List<Mark> {
        runner.numBos = 1
        val session = Session(RunnerEngine(runner, manifest, count), manifest.turns(), manifest.context)
        return (1..6).map {
            session.send("A question of some length", maxNewTokens = 8) {}
            session.mark
        }
    }
}

/** Tokens of a text by a tokenizer that joins so many bytes. */
fun tokensOf(text: String, bytesAToken: Int): Long =
    ((text.toByteArray().size + bytesAToken - 1) / bytesAToken).toLong()

/** Says "x" for ever; its flags are those of ExecuTorch's text_llm_runner.cpp. */
class PhoneRunner(
    private val bytesAToken: Int = 1,
    private val reports: Boolean = true,
    private val joinsPieces: Boolean = false,
) : TextRunner {
    val calls = mutableListOf<String>()
    var position = 0L
    var wanted = 0
    var numBos = 0
    var inPrompt: () -> Unit = {}
    private var isStopped = false

    override fun load() = Unit

    override fun prefill(text: String, first: Boolean) {
        calls += "prefill $text"
        write(text, first)
    }

    private fun write(text: String, first: Boolean): Long {
        inPrompt()
        val tokens = tokensOf(text, bytesAToken) + if (first) numBos else 0
        position += tokens
        return tokens
    }

    override fun generate(
        text: String,
        first: Boolean,
        maxNewTokens: Int,
        temperature: Double,
        onPiece: (ByteArray) -> Unit,
    ): String? {
        calls += "generate $text"
        wanted = maxNewTokens
        if (tokensOf(text, bytesAToken) >= 64) throw RunnerFailure(0x12, "the prompt is as long as the context")
        val promptTokens = write(text, first)
        var held = 1
        if (!joinsPieces) onPiece("x".toByteArray())
        isStopped = false // a stop until here is lost
        var generated = 0L
        while (generated < maxNewTokens - 1 && !isStopped) {
            position++
            generated++
            held++
            if (joinsPieces && held == 2) onPiece("xx".toByteArray())
            if (!joinsPieces) onPiece("x".toByteArray())
            if (held == 2) held = 0
        }
        return if (reports) report(if (text.isEmpty()) position else promptTokens, generated) else null
    }

    private fun report(promptTokens: Long, generated: Long): String =
        "{\"prompt_tokens\": $promptTokens, \"generated_tokens\": $generated, \"inference_start_ms\": 1000, " +
            "\"prompt_eval_end_ms\": 1100, \"first_token_ms\": 1100, \"inference_end_ms\": 1200}"

    override fun stop() {
        isStopped = true
    }

    override fun reset() {
        position = 0
    }

    override fun close() = Unit
}
