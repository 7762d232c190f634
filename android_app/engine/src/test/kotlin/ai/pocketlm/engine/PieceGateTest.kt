// The gate between the runner's callback and the engine, under a runner that forgets stops as the native one does.
package ai.pocketlm.engine

import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertSame
import org.junit.Test

class PieceGateTest {
    private val taken = mutableListOf<String>()
    private var stops = 0

    /** Text runner's flag: cleared when the prompt was read and once more behind the first piece. */
    private fun run(gate: PieceGate, pieces: Int): Int {
        for (index in 0 until pieces) {
            val before = stops
            gate.take("p$index ")
            val isForgotten = index == 0
            if (stops > before && !isForgotten) return index + 1
        }
        return pieces
    }

    private fun gate(maxPieces: Int, onPiece: (ByteArray) -> Unit = {}) =
        PieceGate(maxPieces, stop = { stops++ }) {
            taken += it.decodeToString()
            onPiece(it)
        }

    @Test
    fun `pieces come as UTF-8 until there are enough`() {
        val gate = gate(3)
        assertEquals(3, run(gate, 10))
        assertEquals(listOf("p0 ", "p1 ", "p2 "), taken)
        assertNull(gate.thrown)
    }

    @Test
    fun `one piece alone ends a piece late, and that one is not handed on`() {
        assertEquals(2, run(gate(1), 10))
        assertEquals(listOf("p0 "), taken)
    }

    @Test
    fun `without a limit the runner is never stopped`() {
        assertEquals(10, run(gate(Int.MAX_VALUE), 10))
        assertEquals(0, stops)
    }

    @Test
    fun `what the receiver throws is kept, and nothing is handed on after it`() {
        val error = IllegalStateException("the session has ended")
        val gate = gate(Int.MAX_VALUE) { throw error }
        assertEquals(2, run(gate, 10))
        assertSame(error, gate.thrown)
        assertEquals(listOf("p0 "), taken)
    }

    @Test
    fun `a character of four bytes comes whole`() {
        var bytes = ByteArray(0)
        PieceGate(1, stop = {}) { bytes = it }.take("🦊")
        assertEquals(4, bytes.size)
    }
}
