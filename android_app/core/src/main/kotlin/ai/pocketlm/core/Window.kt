// Counts a conversation's tokens: what the model still sees, how much room is left, what a saved chat may bring back.
// Port of chat/window.py.
//
// Positions count tokens since the chat began, in 64 bits. An endless context sees the last `tokens` positions for
// ever; a bounded one ends at `tokens`, and nothing after it works, so callers ask here before they send anything.
package ai.pocketlm.core

/** A package's context, as its manifest says it: `endless` or `bounded`. */
data class Context(val kind: String, val tokens: Long) {
    init {
        if (kind != "endless" && kind != "bounded") {
            throw PocketError("unknown kind of context ${quoted(kind)}; it is 'endless' or 'bounded'")
        }
        if (tokens < 1) throw PocketError("a context of $tokens tokens holds nothing; it must be at least 1")
    }

    val isEndless: Boolean get() = kind == "endless"
}

/**
 * Where the "older messages are forgotten" line belongs.
 *
 * @property firstVisiblePosition the oldest position that the next token sees.
 * @property firstVisibleTurn the oldest turn of which something is seen.
 * @property isPartial whether that turn's beginning is out of sight.
 */
data class Mark(val firstVisiblePosition: Long, val firstVisibleTurn: Int, val isPartial: Boolean) {
    companion object {
        val NOTHING_FORGOTTEN = Mark(0, 0, false)
    }
}

/**
 * Which messages of a saved chat are prefilled again.
 *
 * @property hasSystem whether the chat begins with a system message; it is kept whatever its age.
 * @property first index of the oldest other message kept; the number of messages when none is.
 * @property tokens of everything kept.
 * @property note what the user should know, "" when everything is kept.
 */
data class Kept(val hasSystem: Boolean, val first: Int, val tokens: Long, val note: String)

/**
 * What the next token sees of the conversation.
 *
 * @param turnStarts each turn's first position, never decreasing; the first starts at 0, the system message included.
 * @param position where the next token will go, that is: how many positions are in the cache.
 * @throws PocketError starts that do not begin with 0, decrease, or lie past `position`.
 */
fun mark(turnStarts: List<Long>, position: Long, context: Context): Mark {
    if (turnStarts != turnStarts.sorted() || turnStarts.isNotEmpty() && turnStarts[0] != 0L) {
        throw PocketError("turn starts $turnStarts must begin with 0 and never decrease")
    }
    if (position < (turnStarts.lastOrNull() ?: 0)) {
        throw PocketError("position $position lies before the last turn's start; pass the position after that turn")
    }
    val first = if (context.isEndless) maxOf(0, position - context.tokens + 1) else 0
    var turn = 0
    while (turn + 1 < turnStarts.size && turnStarts[turn + 1] <= first) turn++
    return Mark(first, turn, turnStarts.isNotEmpty() && turnStarts[turn] < first)
}

/** Positions that are left; null when they never run out. */
fun remaining(position: Long, context: Context): Long? {
    if (position < 0) throw PocketError("position $position is negative")
    return if (context.isEndless) null else maxOf(0, context.tokens - position)
}

/**
 * How many tokens may be generated after a prompt, so that a bounded context is never overrun.
 *
 * The prompt and every new token get a position, the last one too, so that the next turn can still write it.
 *
 * @throws ContextFullError the prompt and one new token do not fit into what is left of a bounded context.
 * @throws PocketError nothing to send, or nothing wanted.
 */
fun newTokenBudget(position: Long, promptTokens: Long, wanted: Int, context: Context): Int {
    if (promptTokens < 1) throw PocketError("there is nothing to send: the message has no token; type something")
    if (wanted < 1) throw PocketError("$wanted new tokens were asked for; it must be at least 1")
    val left = remaining(position, context) ?: return wanted
    if (left <= promptTokens) {
        if (promptTokens >= context.tokens) {
            throw ContextFullError(
                "the message has ${tokens(promptTokens)} and this package holds ${context.tokens} in all; send a " +
                    "shorter message",
            )
        }
        throw ContextFullError(
            "the chat is full: the message has ${tokens(promptTokens)}, and of the package's ${context.tokens} only " +
                "$left are left; start a new chat",
        )
    }
    return minOf(wanted.toLong(), left - promptTokens).toInt()
}

/** What to tell the user when a reply was cut because a bounded context is full. */
fun contextEndSentence(context: Context): String =
    "the reply stops here because the chat has reached this package's limit of ${context.tokens} tokens; start a new " +
        "chat to go on"

/**
 * Which messages of a saved chat to prefill again: the system message and the newest whole turns that fit.
 *
 * A turn is a user message and what follows it up to the next one. What is kept begins with a user message, in an
 * endless context too, where an older beginning would only push itself out of sight.
 *
 * @param roles "system" (only first), "user" or "assistant", oldest first.
 * @param lengths each message's tokens, its template prefix and suffix included.
 * @param reserve tokens to leave free for the next message and its reply.
 * @throws PocketError lists of unequal length, a role out of place, a negative number, or a system message and reserve
 *   that alone do not fit into the context.
 */
fun restore(roles: List<String>, lengths: List<Long>, context: Context, reserve: Long): Kept {
    checkMessages(roles, lengths, reserve)
    val hasSystem = roles.firstOrNull() == "system"
    val systemTokens = if (hasSystem) lengths[0] else 0
    val room = context.tokens - reserve - systemTokens
    if (room < 0) {
        throw PocketError(
            "the system message of $systemTokens tokens and $reserve reserved ones do not fit into this package's " +
                "context of ${context.tokens}; shorten the system message or reserve less",
        )
    }
    val begin = if (hasSystem) 1 else 0
    var first = roles.size
    var used = 0L
    var newestTurn = 0L
    var tail = 0L
    for (index in roles.indices.reversed()) {
        if (index < begin) break
        tail += lengths[index]
        if (roles[index] != "user") continue
        if (newestTurn == 0L) newestTurn = tail
        if (tail > room) break
        first = index
        used = tail
    }
    val note = note(first - begin, roles.size - first, newestTurn, room)
    return Kept(hasSystem, first, systemTokens + used, note)
}

private fun checkMessages(roles: List<String>, lengths: List<Long>, reserve: Long) {
    if (roles.size != lengths.size) {
        throw PocketError("${roles.size} roles and ${lengths.size} lengths; give one length for each message")
    }
    if (reserve < 0 || lengths.any { it < 0 }) {
        throw PocketError("reserve $reserve and lengths $lengths must not be negative")
    }
    if (roles.take(1) == listOf("assistant") || roles.take(2) == listOf("system", "assistant")) {
        throw PocketError("the chat begins with an assistant message; after the system message comes a user message")
    }
    roles.forEachIndexed { index, role ->
        if (role != "system" && role != "user" && role != "assistant") {
            throw PocketError("message $index has the role ${quoted(role)}; it is 'system', 'user' or 'assistant'")
        }
        if (role == "system" && index > 0) {
            throw PocketError("message $index is a system message; only the first message may be one")
        }
    }
}

private fun tokens(count: Long): String = if (count == 1L) "1 token" else "$count tokens"

private fun note(numDropped: Int, numKept: Int, newestTurn: Long, room: Long): String =
    when {
        numDropped == 0 -> ""
        numKept == 0 ->
            "the newest turn alone has $newestTurn tokens and $room fit, so nothing of the saved chat is remembered; " +
                "it stays readable"
        numDropped == 1 -> "1 older message no longer fits and is not remembered; it stays readable"
        else -> "$numDropped older messages no longer fit and are not remembered; they stay readable"
    }
