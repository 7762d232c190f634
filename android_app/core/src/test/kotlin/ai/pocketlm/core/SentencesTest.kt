package ai.pocketlm.core

import ai.pocketlm.e2e.at
import ai.pocketlm.e2e.number
import ai.pocketlm.e2e.text
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

class SentencesTest {
    @Test
    fun sentencesAndSizes() = Vectors.check("sentences") { case ->
        val text = when (case.text("call")) {
            "fill" -> fill(case)
            "size" -> Sentences.size(case.number("bytes"))
            else -> Sentences.asSentence(case.text("text"))
        }
        assertEquals(case.expected.at("text").text(), text)
    }

    private fun fill(case: Case): String {
        val key = SentenceKey.entries.first { it.key == case.text("key") }
        assertEquals(case.text("template"), key.template)
        val arguments = (case.at("arguments") as Json.Object).entries.map { it.key to it.value.text() }
        return Sentences.fill(key, *arguments.toTypedArray())
    }

    @Test
    fun theTableHasNoOtherSentence() {
        val known = Vectors.cases("sentences").filter { it.text("call") == "fill" }.map { it.text("key") }.toSet()
        assertEquals(known, SentenceKey.entries.map { it.key }.toSet())
    }

    @Test
    fun aMissingArgumentIsAnError() {
        assertThrows(IllegalArgumentException::class.java) { Sentences.fill(SentenceKey.NO_SPACE) }
    }
}
