// An engine for tests of what stands above it.
package ai.pocketlm.core

/** Says its reply letter by letter and calls a hook after each; a stop is heard. */
class WaitingEngine : LlmEngine {
    val calls = mutableListOf<String>()
    val sent = mutableListOf<String>()
    var reply = "Hello.".map { it.toString() }
    var onPiece: (Int) -> Unit = {}
    var wanted = 0

    @Volatile private var isStopping = false

    override var temperature = 0.0
    override val lastStatistics: String? = null
    override var position = 0L
    override val countIsExact = true

    override fun load() = Unit

    override fun close() {
        calls += "close"
    }

    override fun count(text: String, first: Boolean): Long = if (text.isEmpty()) 0 else 1

    override fun prefill(text: String, first: Boolean) {
        calls += "prefill"
        position += count(text, first)
    }

    override fun stream(text: String, first: Boolean, maxNewTokens: Int, onPiece: (Piece) -> Unit) {
        calls += "stream"
        sent += text
        wanted = maxNewTokens
        isStopping = false
        position += count(text, first)
        reply.forEachIndexed { index, letter ->
            if (index > 0) position++
            onPiece(Piece(letter.toByteArray()))
            this.onPiece(index)
            if (isStopping) return
        }
        onPiece(Piece("<|eot|>".toByteArray(), isStop = true))
    }

    override fun stop() {
        isStopping = true
    }

    override fun reset() {
        position = 0
    }
}
