// A chat over an engine: sends what is new, streams the reply as clean text, counts positions, remembers the messages.
// Port of chat/session.py.
//
// When the cache does not hold the conversation (the first turn, another reply wanted, an error in the middle), the
// next turn starts over from an empty cache with the newest turns that fit. Knows neither ids nor tensors.
package ai.pocketlm.core

const val DEFAULT_NEW_TOKENS = 512

/** What is sent again of a conversation when the cache is empty. */
private class Fit(
    val kept: Kept,
    val messages: List<Message>, // the system message, if one was given, and the newest turns
    val starts: List<Long>, // their turns' first positions
    val numForgotten: Int, // older turns
)

/** One turn before it is sent. */
private class Plan(
    val text: String,
    val first: Boolean, // whether it starts over from an empty cache
    val userText: String,
    val before: List<Message>, // the conversation that this turn is added to
    val starts: List<Long>, // first positions of the turns that the cache will hold, this one included
    val numForgotten: Int, // older turns that it will not hold
    val promptTokens: Long,
    val wanted: Int, // new tokens
    val maxNewTokens: Int, // fewer when a bounded context ends before
    val note: String,
)

/**
 * One chat. One thread owns it, save [cancel], which may be called from any. Whatever an engine throws is passed on.
 *
 * @param engine nobody else uses it; its cache is emptied at the first turn.
 * @param turns the package's texts.
 * @param context the package's context.
 * @param system the system text, or null for the package's own; a `PocketError` if the package takes none.
 * @param clock seconds; replaced in tests.
 */
class Session(
    private val engine: Engine,
    private val turns: Turns,
    private val context: Context,
    system: String? = null,
    private val clock: () -> Double = { System.nanoTime() / 1e9 },
) {
    /** What was said, the system message first if one was given; only whole turns. */
    var messages: List<Message> = if (system == null) emptyList() else listOf(Message("system", system))
        private set

    /** How the last turn went; null before the first has ended. */
    var reply: Reply? = null
        private set

    private var holdsChat = false // whether the cache holds `messages`
    private var starts = emptyList<Long>()
    private var numForgotten = 0
    private var lost = ByteArray(0)

    @Volatile private var isBusy = false

    @Volatile private var isCancelled = false

    init {
        turns.parts(messages)
    }

    /** Positions in the cache. */
    val position: Long get() = if (holdsChat) engine.position else 0

    /** What the model still sees; turns count from the conversation's first, sent again or not. */
    val mark: Mark
        get() {
            if (!holdsChat) return Mark(0, numForgotten, false)
            val inside = starts.map { minOf(it, position) } // counted apart, a text may have more tokens
            val seen = mark(inside, position, context)
            return seen.copy(firstVisibleTurn = seen.firstVisibleTurn + numForgotten)
        }

    /**
     * Streams the reply's text to [onText]; an exception of [onText] cancels the turn and is passed on at its end.
     *
     * @param wasCancelled for a caller that was cancelled before this began, when [cancel] does nothing yet.
     * @throws ContextFullError the message does not fit into a bounded context; nothing was sent.
     * @throws PocketError nothing to send, another reply still running, or an engine that yields nothing.
     */
    fun send(
        userText: String,
        maxNewTokens: Int = DEFAULT_NEW_TOKENS,
        wasCancelled: () -> Boolean = { false },
        onText: (String) -> Unit,
    ): Reply {
        refuseIfBusy()
        val plan = if (holdsChat) nextPlan(userText, maxNewTokens) else firstPlan(messages, userText, maxNewTokens)
        return stream(plan, wasCancelled, onText)
    }

    /** Streams another reply to the last user message; the old one is kept until the new one has ended. See [send]. */
    fun regenerate(
        maxNewTokens: Int = DEFAULT_NEW_TOKENS,
        wasCancelled: () -> Boolean = { false },
        onText: (String) -> Unit,
    ): Reply {
        refuseIfBusy()
        val before = toRegenerate(messages)
        return stream(firstPlan(before.dropLast(1), before.last().content, maxNewTokens), wasCancelled, onText)
    }

    /**
     * Takes over a saved chat and prefills what fits, a quarter of the context left free.
     *
     * @param messages whole turns; they replace this session's, system message included.
     * @throws PocketError the last message is not a reply, the order is wrong, or the system message does not fit.
     */
    fun restore(messages: List<Message>): Kept {
        refuseIfBusy()
        turns.restoredText(messages) // checks all of them, also those that will not fit
        val fit = fit(messages, reserve = context.tokens / 4)
        this.messages = messages
        starts = fit.starts
        numForgotten = fit.numForgotten
        holdsChat = false
        lost = ByteArray(0)
        reply = null
        if (fit.starts.isNotEmpty()) {
            engine.reset()
            engine.prefill(turns.restoredText(fit.messages), first = true)
            starts = settled(fit.starts, fit.kept.tokens, engine.position)
            holdsChat = true
        }
        return fit.kept
    }

    /** Ends the running reply soon, also while its prompt is prefilled; without one it does nothing. */
    fun cancel() {
        if (isBusy) {
            isCancelled = true
            engine.stop()
        }
    }

    private fun refuseIfBusy() {
        if (isBusy) throw PocketError("a reply is still running; wait for its end or cancel it")
    }

    /** Tokens of the head (start and system text) and of each message after it. */
    private fun lengths(messages: List<Message>): List<Long> =
        turns.parts(messages).mapIndexed { index, part -> engine.count(part, first = index == 0) }

    private fun fit(messages: List<Message>, reserve: Long): Fit {
        val lengths = lengths(messages)
        val numSystem = if (messages.firstOrNull()?.role == "system") 1 else 0
        val roles = listOf("system") + messages.drop(numSystem).map { it.role }
        val kept = restore(roles, lengths, context, minOf(reserve, maxOf(0, context.tokens - lengths[0])))
        val ends = lengths.drop(kept.first).runningFold(lengths[0]) { sum, length -> sum + length }
        val starts = ends.zip(roles.drop(kept.first)).filter { it.second == "user" }.map { it.first }
        return Fit(
            kept = kept,
            messages = messages.take(numSystem) + messages.drop(numSystem + kept.first - 1),
            starts = if (starts.isEmpty()) starts else listOf(0L) + starts.drop(1),
            numForgotten = roles.take(kept.first).count { it == "user" },
        )
    }

    private fun nextPlan(userText: String, wanted: Int): Plan {
        val text = turns.nextText(userText, lost)
        val promptTokens = engine.count(text, first = false)
        val position = engine.position
        return Plan(
            text = text,
            first = false,
            userText = userText,
            before = messages,
            starts = starts + position,
            numForgotten = numForgotten,
            promptTokens = promptTokens,
            wanted = wanted,
            maxNewTokens = newTokenBudget(position, promptTokens, wanted, context),
            note = "",
        )
    }

    private fun firstPlan(before: List<Message>, userText: String, wanted: Int): Plan {
        val user = Message("user", userText)
        val alone = engine.count(turns.parts(listOf(user))[1], first = false)
        val fit = fit(before, reserve = alone + minOf(wanted.toLong(), context.tokens / 4))
        val text = turns.firstText(fit.messages + user)
        val promptTokens = engine.count(text, first = true)
        return Plan(
            text = text,
            first = true,
            userText = userText,
            before = before,
            starts = if (fit.starts.isEmpty()) listOf(0L) else fit.starts + fit.kept.tokens,
            numForgotten = fit.numForgotten,
            promptTokens = promptTokens,
            wanted = wanted,
            maxNewTokens = newTokenBudget(0, promptTokens, wanted, context),
            note = fit.kept.note,
        )
    }

    private fun stream(plan: Plan, wasCancelled: () -> Boolean, onText: (String) -> Unit): Reply {
        isCancelled = false
        isBusy = true
        holdsChat = false // until the turn has ended without an error
        val stream = ReplyStream(turns.stopTexts, clock)
        var left: Throwable? = null // what the caller threw: the engine still has to come to its end
        try {
            if (plan.first) engine.reset()
            if (wasCancelled()) isCancelled = true
            if (!isCancelled) {
                engine.stream(plan.text, plan.first, plan.maxNewTokens) { piece ->
                    val text = stream.take(piece)
                    if (isCancelled || stream.isStopped) engine.stop() // after every piece: an early call may be lost
                    if (text.isNotEmpty() && left == null) {
                        left = runCatching { onText(text) }.exceptionOrNull()
                        if (left != null) cancel()
                    }
                }
            }
            val rest = stream.finish()
            val reply = record(plan, stream)
            left?.let { throw it }
            if (rest.isNotEmpty()) onText(rest)
            return reply
        } finally {
            isBusy = false
        }
    }

    private fun record(plan: Plan, stream: ReplyStream): Reply {
        val (end, note) = end(plan, stream)
        val ended = Reply(
            text = stream.text,
            end = end,
            promptTokens = plan.promptTokens,
            newTokens = stream.numTokens,
            timeToFirstTokenS = stream.timeToFirstTokenS,
            decodeTokensPerS = stream.decodeTokensPerS,
            note = note,
        )
        reply = ended
        if (stream.numTokens == 0L) {
            if (end == Ending.CANCELLED) return ended // in the prompt: how much of it is in the cache is unknown
            throw PocketError("the engine ended without a single token; send the message again")
        }
        messages = plan.before + Message("user", plan.userText) + Message("assistant", stream.text)
        val promptEnd = engine.position - (stream.numTokens - 1)
        starts = if (plan.first) settled(plan.starts, plan.promptTokens, promptEnd) else plan.starts
        numForgotten = plan.numForgotten
        lost = if (end == Ending.STOP) ByteArray(0) else stream.lost
        holdsChat = true
        return ended
    }

    /** Starts counted by an engine that counts too many, brought down in proportion to the tokens that there were. */
    private fun settled(starts: List<Long>, counted: Long, written: Long): List<Long> {
        if (engine.countIsExact || counted < 1) return starts
        return starts.map { it * written.coerceIn(0, counted) / counted }
    }

    private fun end(plan: Plan, stream: ReplyStream): Pair<Ending, String> =
        when {
            stream.isStopped -> Ending.STOP to plan.note
            isCancelled -> Ending.CANCELLED to plan.note
            stream.numTokens < plan.maxNewTokens -> Ending.STOP to plan.note // by a stop token that the runner keeps
            plan.maxNewTokens < plan.wanted -> Ending.CONTEXT to contextEndSentence(context)
            else -> Ending.LENGTH to plan.note
        }
}
