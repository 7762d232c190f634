package ai.pocketlm.core

import ai.pocketlm.e2e.at
import ai.pocketlm.e2e.flag
import ai.pocketlm.e2e.items
import ai.pocketlm.e2e.number
import ai.pocketlm.e2e.text
import ai.pocketlm.e2e.texts
import org.junit.Assert.assertEquals
import org.junit.Test

/** Rings, windows and what a saved chat brings back. */
class CountVectorsTest {
    @Test
    fun ringsHoldTheirPositions() = Vectors.check("ring_slots") { case ->
        var result: Json? = null
        val shape = CacheShape.of(
            case.text("kind"),
            case.number("window"),
            case.number("chunk"),
            case.number("context"),
            case.at("is_endless").flag(),
        )
        val sentence = sentenceOf { result = ring(shape, case.number("position"), case.number("count")) }
        assertEquals(case.error, sentence)
        if (sentence == null) assertEquals(case.expected.entries, (result as Json.Object).entries)
    }

    private fun ring(shape: CacheShape, position: Long, count: Long): Json.Object {
        val mask = visibleSlots(position, count, shape)
        val seen = (position until position + count).map { visiblePositions(it, shape.window) }
        val held = if (shape.slots < 20) positionsHeld(position + count, shape.slots) else emptyList()
        return Json.of(
            "slots" to Json.Whole(shape.slots),
            "sees" to Json.Whole(shape.window),
            "max_chunk" to Json.Whole(shape.maxChunk),
            "slots_written" to wholes(slotsOf(position, count, shape.slots)),
            "positions_held" to wholes(held),
            "visible" to Json.Items(seen.map { wholes(listOf(it.first, it.last)) }),
            "mask" to Json.Items(mask.map { row -> Json.Text(row.joinToString("") { if (it) "x" else "." }) }),
        )
    }

    private fun wholes(values: List<Long>) = Json.Items(values.map { Json.Whole(it) })

    @Test
    fun windowsAndBudgets() = Vectors.check("window") { case ->
        val context = contextOf(case)
        var result: Json? = null
        val sentence = sentenceOf {
            result = when (case.text("call")) {
                "mark" -> marked(case, context)
                else -> Json.of(
                    "new_tokens" to Json.Whole(
                        newTokenBudget(
                            case.number("position"),
                            case.number("prompt_tokens"),
                            case.number("wanted").toInt(),
                            context,
                        ).toLong(),
                    ),
                )
            }
        }
        assertEquals(case.error, sentence)
        if (sentence == null) assertEquals(case.expected.entries, (result as Json.Object).entries)
    }

    private fun marked(case: Case, context: Context): Json.Object {
        val position = case.number("position")
        val mark = mark(case.at("turn_starts").items().map { it.number() }, position, context)
        return Json.of(
            "first_visible_position" to Json.Whole(mark.firstVisiblePosition),
            "first_visible_turn" to Json.Whole(mark.firstVisibleTurn.toLong()),
            "is_partial" to Json.Bool(mark.isPartial),
            "remaining" to (remaining(position, context)?.let { Json.Whole(it) } ?: Json.Null),
        )
    }

    @Test
    fun savedChatsComeBackAsFarAsTheyFit() = Vectors.check("restore") { case ->
        var kept: Kept? = null
        val sentence = sentenceOf {
            val lengths = case.at("lengths").items().map { it.number() }
            kept = restore(case.texts("roles"), lengths, contextOf(case), case.number("reserve"))
        }
        assertEquals(case.error, sentence)
        kept?.let {
            assertEquals(case.expected.at("has_system").flag(), it.hasSystem)
            assertEquals(case.expected.at("first").number(), it.first.toLong())
            assertEquals(case.expected.at("tokens").number(), it.tokens)
            assertEquals(case.expected.at("note").text(), it.note)
        }
    }
}

fun contextOf(case: Case): Context =
    Context(case.at("context").at("kind").text(), case.at("context").at("tokens").number())
