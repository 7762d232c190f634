// What a chat needs of whatever runs the model.
package ai.pocketlm.core

/**
 * One new token.
 *
 * @property data its own bytes, which may end inside a character.
 * @property isStop a stop token, whose bytes are no part of the reply.
 */
class Piece(val data: ByteArray, val isStop: Boolean = false)

/**
 * Runs the model on text and remembers it.
 *
 * The last token of a stream is never in the cache: it was sampled and nothing came after it. Failures are
 * `PocketError`s whose sentence is for the user.
 */
interface Engine {
    /** Positions in the cache. */
    val position: Long

    /** Whether `count` is the true number of tokens, or one that is never less. */
    val countIsExact: Boolean

    /** Tokens of a text; `first` puts before it what only a chat's beginning has (the BOS id, or `bos_text`). */
    fun count(text: String, first: Boolean): Long

    /** Writes a text to the cache without asking for a reply. */
    fun prefill(text: String, first: Boolean)

    /**
     * Writes a text and hands over at most [maxNewTokens] new tokens, one after the other, on the calling thread;
     * ends after a stop token.
     *
     * It gives at least one piece unless [stop] was called before. In an endless context the text may be longer than
     * the context (the phones' runner needs `prefillPrompt` for all but its end then).
     */
    fun stream(text: String, first: Boolean, maxNewTokens: Int, onPiece: (Piece) -> Unit)

    /** Asks the stream to end soon, from any thread. Early calls may be lost: the chat repeats it after every piece. */
    fun stop()

    /** Empties the cache; the next text goes to position 0. */
    fun reset()
}

/**
 * An engine over one package of the phone. One thread owns it; only [stop] may be called from another one.
 *
 * `load` and everything after it throw `PocketError` with a sentence for the user.
 */
interface LlmEngine : Engine {
    /** From 0 (always the likeliest token) to 1; from the next stream on. */
    var temperature: Double

    /** The runner's own report of the last stream (docs/app-core.md), or null where it gives none. */
    val lastStatistics: String?

    /** Maps the program and makes it ready; may take seconds to minutes. */
    fun load()

    /** Gives all memory back. May be called twice, and before `load`. */
    fun close()
}

/** Makes the engine of an installed package, not loaded yet; throws `PocketError` when it is for another runner. */
fun interface EngineFactory {
    fun make(installed: InstalledPackage): LlmEngine
}
