// One reply: its pieces become clean text, with the counts and times that an app shows. Port of chat/reply.py.
//
// Bytes are joined to characters, stop texts are taken out. Knows no engine and no conversation.
package ai.pocketlm.core

/** How a reply ended; `word` is the name in the vectors. */
enum class Ending(val word: String) {
    /** By itself. */
    STOP("stop"),

    /** All wanted tokens were given. */
    LENGTH("length"),

    /** A bounded context is full. */
    CONTEXT("context"),

    /** By the user. */
    CANCELLED("cancelled"),
}

/**
 * How the last turn went.
 *
 * @property promptTokens sent in this turn.
 * @property newTokens the stop token included.
 * @property timeToFirstTokenS null: cancelled before it came.
 * @property decodeTokensPerS of the tokens after the first; null: there was none.
 * @property note a sentence for the user, or "".
 */
data class Reply(
    val text: String,
    val end: Ending,
    val promptTokens: Long,
    val newTokens: Long,
    val timeToFirstTokenS: Double?,
    val decodeTokensPerS: Double?,
    val note: String,
)

/** The pieces of one reply becoming text, and their times; `clock` gives seconds. */
internal class ReplyStream(stopTexts: List<String>, private val clock: () -> Double) {
    private val joiner = Utf8Joiner()
    private val filter = StopFilter(stopTexts)
    private val out = StringBuilder()
    private val startS = clock()
    private var firstS = startS
    private var lastS = startS

    var isStopped = false
        private set
    var numTokens = 0L
        private set

    /** Bytes of the newest token, which is not in the cache yet. */
    var lost = ByteArray(0)
        private set

    val text: String get() = out.toString()

    /** Counts a piece and returns the text that is certain now. */
    fun take(piece: Piece): String {
        lastS = clock()
        if (numTokens == 0L) firstS = lastS
        numTokens++
        if (isStopped) return ""
        val text = if (piece.isStop) "" else filter.push(joiner.push(piece.data))
        isStopped = piece.isStop || filter.isStopped
        lost = if (isStopped) ByteArray(0) else piece.data
        out.append(text)
        return text
    }

    /** Ends the reply and returns what was held back. */
    fun finish(): String {
        val text = filter.push(joiner.flush()) + filter.flush()
        out.append(text)
        return text
    }

    val timeToFirstTokenS: Double? get() = if (numTokens > 0) firstS - startS else null

    val decodeTokensPerS: Double?
        get() {
            val seconds = lastS - firstS
            return if (numTokens > 1 && seconds > 0) (numTokens - 1) / seconds else null
        }
}
