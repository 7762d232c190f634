package ai.pocketlm.core

import ai.pocketlm.e2e.at
import ai.pocketlm.e2e.flag
import ai.pocketlm.e2e.items
import ai.pocketlm.e2e.messagesOf
import ai.pocketlm.e2e.number
import ai.pocketlm.e2e.text
import ai.pocketlm.e2e.texts
import org.junit.Assert.assertEquals
import org.junit.Test

/** UTF-8, stop texts, typed text, templates and turns. */
class TextVectorsTest {
    @Test
    fun bytesBecomeWholeCharacters() = Vectors.check("utf8") { case ->
        val joiner = Utf8Joiner()
        assertEquals(case.expected.at("outputs").texts(), case.texts("pieces_hex").map { joiner.push(hex(it)) })
        assertEquals(case.expected.at("flush").text(), joiner.flush())
    }

    @Test
    fun stopTextsAreTakenOut() = Vectors.check("stop_filter") { case ->
        val filter = StopFilter(case.texts("stop_texts"))
        assertEquals(case.expected.at("outputs").texts(), case.texts("pieces").map(filter::push))
        assertEquals(case.expected.at("is_stopped").flag(), filter.isStopped)
        assertEquals(case.expected.at("flush").text(), filter.flush())
    }

    @Test
    fun anEmptyStopTextIsRefused() {
        assertEquals(
            "a stop text is empty, so every reply would end at once; leave it out of the list",
            sentenceOf { StopFilter(listOf("x", "")) },
        )
    }

    @Test
    fun typedTextNeverBecomesASpecialToken() = Vectors.check("typed") { case ->
        var text: String? = null
        val sentence = sentenceOf { text = neutralise(case.text("text"), case.texts("specials")) }
        assertEquals(case.error, sentence)
        if (sentence == null) assertEquals(case.expected.at("text").text(), text)
    }

    @Test
    fun conversationsAreRendered() = Vectors.check("template") { case ->
        var text: String? = null
        val sentence = sentenceOf {
            val template = Template.of(case.at("template")) as ChatTemplate
            text = template.render(
                messagesOf(case.at("messages")),
                case.at("add_generation_prompt").flag(),
                case.texts("specials"),
            )
        }
        assertEquals(case.error, sentence)
        if (sentence == null) assertEquals(case.expected.at("text").text(), text)
    }

    @Test
    fun eachTurnSendsWhatIsNew() {
        val packages = Vectors.document("turns").at("packages")
        Vectors.check("turns") { case ->
            val given = packages.at(case.text("template"))
            val specials = given.at("special_tokens").items().map { it.at("id").number() to it.at("text").text() }
            val stopIds = given.at("stop_ids").items().map { it.number() }
            val turns = Turns.of(Template.of(given.at("template")), specials, stopIds)
            var result: Json? = null
            val sentence = sentenceOf { result = answer(turns, case) }
            assertEquals(case.error, sentence)
            if (sentence == null) assertEquals(case.expected, result)
        }
    }

    private fun answer(turns: Turns, case: Case): Json {
        fun messages() = messagesOf(case.at("messages"))
        fun texts(values: List<String>) = Json.of("texts" to Json.Items(values.map { Json.Text(it) }))
        fun text(value: String) = Json.of("text" to Json.Text(value))
        return when (case.text("call")) {
            "stop_texts" -> texts(turns.stopTexts)
            "first_text" -> text(turns.firstText(messages()))
            "next_text" -> text(turns.nextText(case.text("user_text"), hex(case.text("lost_hex"))))
            "restored_text" -> text(turns.restoredText(messages()))
            "regenerate" -> text(turns.firstText(toRegenerate(messages())))
            "parts" -> texts(turns.parts(messages()))
            else -> error("unknown call ${case.text("call")}")
        }
    }
}
