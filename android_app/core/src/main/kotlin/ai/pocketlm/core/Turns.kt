// What to send for each turn: the whole conversation once, then only what is new. Port of chat/turns.py.
//
// The runner keeps its cache between calls but never writes the last token that it sampled. So a chat's next text
// begins with the end-of-turn token (the assistant's suffix), whether the reply ended by itself or was cut; a
// completion-only package has no such token, and the text of the token that was cut off is sent again. The
// begin-of-text token (an id, or `bos_text`) is the engine's business: it puts it before the first text.
package ai.pocketlm.core

/**
 * Builds the texts of one package's chats. Contents are neutralised: they never become special tokens.
 *
 * @property specials texts of the tokenizer's special tokens.
 * @property stopTexts what ends a reply when a runner delivers it as text.
 */
class Turns(val template: Template, val specials: List<String>, val stopTexts: List<String>) {
    /**
     * The first text of a chat, and of one that starts over (a reply again, a reset): it asks for a reply.
     *
     * @param messages an optional system message, then user and assistant in turn, the user's last.
     * @throws PocketError the last message is not the user's, or the template refuses the messages.
     */
    fun firstText(messages: List<Message>): String {
        checkOrder(messages)
        if (messages.lastOrNull()?.role != "user") {
            throw PocketError("a reply is asked for after a user message; the last message must be the user's")
        }
        return parts(messages).joinToString("") + ((template as? ChatTemplate)?.generationPrompt ?: "")
    }

    /**
     * The text of a later turn, when the cache holds everything before it.
     *
     * @param lost the last sampled token's bytes when the reply was cut, empty when it ended by itself. Only a
     *   completion-only package sends them again, unless they begin or end inside a character.
     */
    fun nextText(userText: String, lost: ByteArray): String {
        val text = replaceLoneSurrogates(userText)
        if (template is ChatTemplate) return delta(template, text, specials)
        return neutralise((wholeText(lost) ?: "") + text, specials)
    }

    /**
     * What brings the cache to where it was after a reply: everything but the end-of-turn token and what follows.
     *
     * @throws PocketError the last message is not the assistant's, or the template refuses the messages.
     */
    fun restoredText(messages: List<Message>): String {
        checkOrder(messages)
        if (messages.lastOrNull()?.role != "assistant") {
            throw PocketError("a restored chat ends with a reply; leave an unanswered message to the next turn")
        }
        val text = parts(messages).joinToString("")
        return if (template is ChatTemplate) text.removeSuffix(template.roles.getValue("assistant").suffix) else text
    }

    /**
     * The conversation as text: the head (start and system text, perhaps empty), then one text a message.
     *
     * @throws PocketError the template refuses the messages; it says why.
     */
    fun parts(messages: List<Message>): List<String> {
        val hasSystem = messages.firstOrNull()?.role == "system"
        if (template !is ChatTemplate) {
            if (hasSystem) {
                throw PocketError("this package only continues text and takes no system message; leave it out")
            }
            return listOf("") + messages.map { clean(it.content) }
        }
        val bare = template.copy(start = "", defaultSystem = null, alternates = false)
        val head = template.start + when {
            hasSystem -> wrapped(bare, messages[0])
            template.defaultSystem != null -> rendered(bare, Message("system", template.defaultSystem), null)
            else -> ""
        }
        return listOf(head) + messages.drop(if (hasSystem) 1 else 0).map { wrapped(bare, it) }
    }

    private fun wrapped(bare: ChatTemplate, message: Message): String =
        rendered(bare, message.copy(content = replaceLoneSurrogates(message.content)), specials)

    private fun rendered(bare: ChatTemplate, message: Message, specials: List<String>?): String =
        bare.render(listOf(message), addGenerationPrompt = false, specials = specials)

    private fun clean(content: String): String = neutralise(replaceLoneSurrogates(content), specials)

    companion object {
        /** Takes the stop texts from the template's end-of-turn tokens and the stop ids' special texts. */
        fun of(template: Template, specialTokens: List<Pair<Long, String>>, stopIds: List<Long>): Turns {
            val byId = specialTokens.toMap()
            val ends = (template as? ChatTemplate)?.endOfTurn ?: emptyList()
            val stops = (ends + stopIds.mapNotNull { byId[it] }).distinct()
            return Turns(template, specialTokens.map { it.second }, stops)
        }
    }
}

/** Checks that after an optional system message user and assistant take turns, the user first; else a `PocketError`. */
fun checkOrder(messages: List<Message>) {
    val first = if (messages.firstOrNull()?.role == "system") 1 else 0
    for (index in first until messages.size) {
        val expected = if ((index - first) % 2 == 1) "assistant" else "user"
        if (messages[index].role != expected) {
            throw PocketError(
                "message $index has the role ${quoted(messages[index].role)}, but it is the $expected's turn; after " +
                    "an optional system message user and assistant alternate",
            )
        }
    }
}

/**
 * The conversation without its last reply: what is asked again, from an empty cache.
 *
 * A cache cannot go back: rings have overwritten what an earlier position saw, and the phones' runner only resets.
 */
fun toRegenerate(messages: List<Message>): List<Message> {
    if (messages.lastOrNull()?.role != "assistant") {
        throw PocketError("there is no reply to generate again; send a message first")
    }
    return messages.dropLast(1)
}
