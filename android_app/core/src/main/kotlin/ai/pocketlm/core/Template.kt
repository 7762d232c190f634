// How a conversation becomes the text that the model reads: prefixes and suffixes. Port of chat/template.py.
package ai.pocketlm.core

private val ROLES = listOf("system", "user", "assistant")

/** What trimming takes away: Python's str.isspace, spelled out because Kotlin's set is another. */
private const val WHITESPACE = "\t\n\u000b\u000c\r\u001c\u001d\u001e\u001f " +
    "\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"

/** One message; its role is `system`, `user` or `assistant`. */
data class Message(val role: String, val content: String)

/** What stands around one role's text; `trim`: whether white space is taken off both ends of the content. */
data class Role(val prefix: String, val suffix: String, val trim: Boolean = false)

/** A package's chat format, or the word that it has none. */
sealed interface Template {
    companion object {
        /** Reads a template strictly. Throws `PocketError`: a missing or unknown key, or a value of another type. */
        fun of(value: Json): Template = readTemplate(value)
    }
}

/** The model has no chat format that a package can carry; it continues text. */
data class CompletionOnly(val reason: String) : Template

/**
 * A chat format as data. A model that takes no system message has no role "system".
 *
 * @property start once, at the beginning of the conversation, after BOS.
 * @property defaultSystem system text of a conversation without a system message; null: nothing is written.
 * @property endOfTurn texts of the tokens that end the assistant's turn; its suffix begins with the first.
 * @property alternates whether the model insists on user, assistant, user, ...
 */
data class ChatTemplate(
    val start: String,
    val roles: Map<String, Role>,
    val defaultSystem: String?,
    val generationPrompt: String,
    val endOfTurn: List<String>,
    val alternates: Boolean = false,
) : Template {
    init {
        if (!ROLES.containsAll(roles.keys) || "user" !in roles || "assistant" !in roles) {
            throw PocketError(
                "a chat template has the roles ${roles.keys.sorted().joinToString(", ")}; it needs user and " +
                    "assistant, may have system, and knows no other",
            )
        }
        if (defaultSystem != null && "system" !in roles) {
            throw PocketError("a chat template has a default system text but no role 'system' to write it with")
        }
        if (endOfTurn.isEmpty() || !roles.getValue("assistant").suffix.startsWith(endOfTurn[0])) {
            throw PocketError("a chat template's assistant suffix must begin with its first end-of-turn token")
        }
    }

    /**
     * The whole conversation as text, without BOS.
     *
     * @param messages at least one; a system message can only come first.
     * @param addGenerationPrompt whether the text ends with the opening of the assistant's turn.
     * @param specials texts of the special tokens, which contents must not hold ([neutralise]); null leaves them as
     *   they are, for the package's own text.
     * @throws PocketError no message, a system message that is not the first or not supported, an unknown role, or an
     *   order that the model refuses.
     */
    fun render(messages: List<Message>, addGenerationPrompt: Boolean, specials: List<String>?): String {
        check(messages)
        val out = StringBuilder(start)
        if (defaultSystem != null && messages[0].role != "system") {
            out.append(wrap(roles.getValue("system"), defaultSystem))
        }
        for (message in messages) {
            val role = roles.getValue(message.role)
            out.append(wrap(role, content(role, message.content, specials)))
        }
        if (addGenerationPrompt) out.append(generationPrompt)
        return out.toString()
    }

    private fun check(messages: List<Message>) {
        if (messages.isEmpty()) throw PocketError("the conversation is empty; give at least one message")
        messages.forEachIndexed { index, message ->
            if (message.role !in ROLES) {
                throw PocketError("unknown role ${quoted(message.role)}; known: ${ROLES.joinToString(", ")}")
            }
            if (message.role != "system") return@forEachIndexed
            if ("system" !in roles) {
                throw PocketError("this model takes no system message; leave it out or put it into the first question")
            }
            if (index > 0) {
                throw PocketError("message $index is a system message; there is at most one, and it comes first")
            }
        }
        val turns = messages.map { it.role }.filter { it != "system" }
        if (alternates && turns.withIndex().any { (i, role) -> role != if (i % 2 == 0) "user" else "assistant" }) {
            throw PocketError(
                "this model takes user and assistant messages in turn, the user's first; got " +
                    turns.joinToString(", "),
            )
        }
    }
}

/**
 * What is sent after an assistant's turn instead of the whole conversation.
 *
 * It begins with the end-of-turn token: the runner never writes the last sampled token to the cache. The same text
 * follows a reply that was stopped before its end.
 */
internal fun delta(template: ChatTemplate, userText: String, specials: List<String>): String {
    val user = template.roles.getValue("user")
    val suffix = template.roles.getValue("assistant").suffix
    return suffix + wrap(user, content(user, userText, specials)) + template.generationPrompt
}

private fun wrap(role: Role, content: String): String = role.prefix + content + role.suffix

private fun content(role: Role, text: String, specials: List<String>?): String {
    val trimmed = if (role.trim) text.trim { it in WHITESPACE } else text
    return if (specials == null) trimmed else neutralise(trimmed, specials)
}

private fun readTemplate(value: Json): Template {
    val kind = (value as? Json.Object)?.get("kind")
    if (kind == Json.Text("completion")) {
        val data = expect(value, mapOf("kind" to listOf("str"), "reason" to listOf("str")), "the chat template")
        return CompletionOnly(data.text("reason"))
    }
    if (kind != Json.Text("chat")) {
        throw PocketError("a chat template's kind is ${shown(kind ?: Json.Null)}; known: 'chat', 'completion'")
    }
    val data = expect(value, CHAT_TYPES, "the chat template")
    val roles = (data["roles"] as Json.Object).entries.mapValues { (name, item) ->
        val role = expect(item, ROLE_TYPES, "role ${quoted(name)} of the chat template")
        Role(role.text("prefix"), role.text("suffix"), (role["trim"] as Json.Bool).value)
    }
    val ends = (data["end_of_turn"] as Json.Items).items
    if (ends.any { it !is Json.Text || it.value.isEmpty() }) {
        throw PocketError("the chat template's end_of_turn must be a list of texts that are not empty")
    }
    return ChatTemplate(
        start = data.text("start"),
        roles = roles,
        defaultSystem = (data["default_system"] as? Json.Text)?.value,
        generationPrompt = data.text("generation_prompt"),
        endOfTurn = ends.map { (it as Json.Text).value },
        alternates = (data["alternates"] as Json.Bool).value,
    )
}

private val CHAT_TYPES = mapOf(
    "kind" to listOf("str"),
    "start" to listOf("str"),
    "roles" to listOf("dict"),
    "default_system" to listOf("str", "NoneType"),
    "generation_prompt" to listOf("str"),
    "end_of_turn" to listOf("list"),
    "alternates" to listOf("bool"),
)
private val ROLE_TYPES = mapOf("prefix" to listOf("str"), "suffix" to listOf("str"), "trim" to listOf("bool"))

private fun Json.Object.text(key: String): String = (entries.getValue(key) as Json.Text).value

private fun expect(value: Json, types: Map<String, List<String>>, what: String): Json.Object {
    if (value !is Json.Object) throw PocketError("$what must be an object, not ${pythonType(value)}")
    val given = value.entries.keys
    val wrong = ((given - types.keys) + (types.keys - given)).sorted()
    if (wrong.isNotEmpty()) {
        throw PocketError(
            "$what has the keys ${given.sorted().joinToString(", ")}; it must have " +
                "${types.keys.sorted().joinToString(", ")} (differing: ${wrong.joinToString(", ")})",
        )
    }
    for ((key, allowed) in types) {
        val type = pythonType(value.entries.getValue(key))
        if (type !in allowed) throw PocketError("$what: $key is a $type, which is not allowed there")
    }
    return value
}

/** The reference's name of a value's type: its sentences are repeated word by word. */
private fun pythonType(value: Json): String =
    when (value) {
        Json.Null -> "NoneType"
        is Json.Bool -> "bool"
        is Json.Whole, is Json.Huge -> "int"
        is Json.Fraction -> "float"
        is Json.Text -> "str"
        is Json.Items -> "list"
        is Json.Object -> "dict"
    }
