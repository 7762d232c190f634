package ai.pocketlm.core

import ai.pocketlm.e2e.at
import ai.pocketlm.e2e.number
import ai.pocketlm.e2e.text
import org.junit.Assert.assertEquals
import org.junit.Test

class MemoryCheckTest {
    @Test
    fun thePeakAgainstTheDevice() = Vectors.check("memory") { case ->
        val verdict = MemoryCheck.judge(
            case.number("needed_bytes"),
            case.number("available_bytes"),
            case.number("most_bytes"),
        )
        val text = case.expected.at("text").text()
        val expected = when (case.expected.at("verdict").text()) {
            "fits" -> MemoryVerdict.Fits
            "tight" -> MemoryVerdict.Tight(text)
            else -> MemoryVerdict.TooLarge(text)
        }
        assertEquals(expected, verdict)
    }
}
