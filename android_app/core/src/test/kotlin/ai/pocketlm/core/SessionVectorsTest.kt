package ai.pocketlm.core

import ai.pocketlm.e2e.at
import ai.pocketlm.e2e.flag
import ai.pocketlm.e2e.items
import ai.pocketlm.e2e.jsonOf
import ai.pocketlm.e2e.messagesOf
import ai.pocketlm.e2e.number
import ai.pocketlm.e2e.orNull
import ai.pocketlm.e2e.text
import org.junit.Assert.assertEquals
import org.junit.Test

/** Chats over an engine that follows a script: what is sent, what comes back, what is counted. */
class SessionVectorsTest {
    private val packages = Vectors.document("session").at("packages")

    @Test
    fun chats() = Vectors.check("session") { case ->
        val facts = packages.at(case.text("template"))
        val specials = facts.at("special_tokens").items().map { it.at("id").number() to it.at("text").text() }
        val stops = facts.at("stop_ids").items().map { it.number() }
        val turns = Turns.of(Template.of(facts.at("template")), specials, stops)
        var session: Session? = null
        val engine = ScriptedEngine(case.at("scripts").items(), specials.map { it.second }) { session?.cancel() }
        val sentence = sentenceOf {
            session = Session(engine, turns, contextOf(case), case.at("system").orNull()?.text(), TickingClock())
        }
        assertEquals(case.error, sentence)
        val ready = session ?: return@check
        case.at("steps").items().zip(case.expected.at("steps").items()).forEachIndexed { index, (step, expected) ->
            assertEquals("step $index", (expected as Json.Object).entries, outcome(ready, engine, step))
        }
    }

    private fun outcome(session: Session, engine: ScriptedEngine, step: Json): Map<String, Json> {
        val result = LinkedHashMap<String, Json>()
        engine.log.clear()
        val sentence = sentenceOf {
            if (step.at("call").text() == "restore") {
                result["kept"] = jsonOf(session.restore(messagesOf(step.at("messages"))))
            } else {
                val texts = mutableListOf<Json>()
                result["texts"] = Json.Items(texts)
                result["reply"] = jsonOf(drive(session, step, texts))
            }
        }
        if (sentence != null) result["error"] = Json.Text(sentence)
        result["messages"] = Json.Items(
            session.messages.map { Json.of("role" to Json.Text(it.role), "content" to Json.Text(it.content)) },
        )
        result["position"] = Json.Whole(session.position)
        result["mark"] = jsonOf(session.mark)
        result["engine"] = Json.Items(engine.log.toList())
        return result
    }

    private fun drive(session: Session, step: Json, texts: MutableList<Json>): Reply {
        val wanted = step.at("max_new_tokens").number().toInt()
        val cancelAfter = step.at("cancel_after").orNull()?.number()?.toInt()
        val onText = { text: String ->
            texts += Json.Text(text)
            if (texts.size == cancelAfter) session.cancel()
        }
        return if (step.at("call").text() == "send") {
            session.send(step.at("text").text(), wanted, onText = onText)
        } else {
            session.regenerate(wanted, onText = onText)
        }
    }
}

/** A quarter of a second passes with every look at it. */
class TickingClock : () -> Double {
    private var timeS = 0.0

    override fun invoke(): Double {
        timeS += 0.25
        return timeS
    }
}

/**
 * Counts a special token's text as one token and any other text by its UTF-8 bytes, one more for a chat's first text.
 * Its script has an entry a stream: the bytes of each new token, and how the stream misbehaves.
 */
class ScriptedEngine(
    scripts: List<Json>,
    private val specials: List<String>,
    override val countIsExact: Boolean = true,
    private val cancel: () -> Unit = {},
) : Engine {
    private val scripts = ArrayDeque(scripts)
    private var isStopping = false
    private var lostStops = 0L
    override var position = 0L
    val log = mutableListOf<Json>()

    override fun count(text: String, first: Boolean): Long {
        var number = if (first) 1L else 0L
        var rest = text
        while (rest.isNotEmpty()) {
            val special = specials.firstOrNull { rest.startsWith(it) }
            val step = special?.length ?: Character.charCount(rest.codePointAt(0))
            number += if (special != null) 1 else rest.substring(0, step).toByteArray().size
            rest = rest.substring(step)
        }
        return number
    }

    override fun prefill(text: String, first: Boolean) {
        log += Json.of("op" to Json.Text("prefill"), "text" to Json.Text(text), "first" to Json.Bool(first))
        position += count(text, first)
    }

    override fun stream(text: String, first: Boolean, maxNewTokens: Int, onPiece: (Piece) -> Unit) {
        log += Json.of(
            "op" to Json.Text("stream"),
            "text" to Json.Text(text),
            "first" to Json.Bool(first),
            "max_new_tokens" to Json.Whole(maxNewTokens.toLong()),
        )
        val script = scripts.removeFirst()
        isStopping = false
        lostStops = script.at("lost_stops").number()
        if (script.at("cancel_in_prompt").flag()) {
            cancel()
            if (isStopping) return
        }
        val failAt = script.at("fail_at").orNull()?.number()?.toInt()
        val start = position + count(text, first)
        script.at("tokens").items().take(maxNewTokens).forEachIndexed { index, token ->
            if (index == failAt) throw PocketError("the device is gone")
            position = start + index
            val isStop = token.at("is_stop").flag()
            onPiece(Piece(hex(token.at("hex").text()), isStop))
            if (isStop || isStopping) return
        }
    }

    override fun stop() {
        if (lostStops > 0) lostStops-- else isStopping = true
    }

    override fun reset() {
        log += Json.of("op" to Json.Text("reset"))
        position = 0
    }
}

private fun jsonOf(value: Double?): Json = value?.let { Json.Fraction(it) } ?: Json.Null

private fun jsonOf(kept: Kept) = Json.of(
    "has_system" to Json.Bool(kept.hasSystem),
    "first" to Json.Whole(kept.first.toLong()),
    "tokens" to Json.Whole(kept.tokens),
    "note" to Json.Text(kept.note),
)

private fun jsonOf(mark: Mark) = Json.of(
    "first_visible_position" to Json.Whole(mark.firstVisiblePosition),
    "first_visible_turn" to Json.Whole(mark.firstVisibleTurn.toLong()),
    "is_partial" to Json.Bool(mark.isPartial),
)

private fun jsonOf(reply: Reply) = Json.of(
    "text" to Json.Text(reply.text),
    "end" to Json.Text(reply.end.word),
    "prompt_tokens" to Json.Whole(reply.promptTokens),
    "new_tokens" to Json.Whole(reply.newTokens),
    "time_to_first_token_s" to jsonOf(reply.timeToFirstTokenS),
    "decode_tokens_per_s" to jsonOf(reply.decodeTokensPerS),
    "note" to Json.Text(reply.note),
)
