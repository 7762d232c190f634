// What stands between the runner's callback and whoever wants its pieces. Knows no ExecuTorch: it can be tested.
package ai.pocketlm.engine

/**
 * Hands on at most so many pieces, and keeps what the receiver throws, which native code would lose.
 *
 * When nothing more is wanted it says stop, again at each piece that still comes: the runner forgets a stop that is
 * said while it reads the prompt or at a call's first piece.
 */
internal class PieceGate(
    private val maxPieces: Int,
    private val stop: () -> Unit,
    private val onPiece: (ByteArray) -> Unit,
) {
    private var pieces = 0

    /** What the receiver threw; nothing was handed on after it. */
    var thrown: Throwable? = null
        private set

    fun take(piece: String) {
        if (thrown == null && pieces < maxPieces) {
            pieces++
            try {
                onPiece(piece.toByteArray())
            } catch (error: Throwable) {
                thrown = error
            }
        }
        if (thrown != null || pieces >= maxPieces) stop()
    }
}
