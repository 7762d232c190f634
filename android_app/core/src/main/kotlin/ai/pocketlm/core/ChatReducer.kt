// The chat's states and what each event makes of them. Pure: nothing here runs a model, a thread or a disk.
// tests/vectors/reducer.json holds every state with every event; Swift passes the same.
package ai.pocketlm.core

/** A state and what is to be done, in this order. */
data class Reduced(val state: ChatState, val effects: List<ChatEffect> = emptyList())

object ChatReducer {
    /** The state after an event; one that does not apply leaves the state as it is and has no effect. */
    fun reduce(state: ChatState, event: ChatEvent): Reduced = reduced(state, event) ?: Reduced(state)

    private fun reduced(state: ChatState, event: ChatEvent): Reduced? =
        when (event) {
            is ChatEvent.PackageOpened -> opened(state, event.packageId)
            ChatEvent.PackageClosed -> if (state == ChatState.Empty) null else Reduced(ChatState.Empty, letGo(state))
            is ChatEvent.Loaded -> loaded(state, event)
            is ChatEvent.LoadFailed -> loadFailed(state, event)
            is ChatEvent.Sent -> (state as? ChatState.Idle)?.let { ask(it.chat, event.text) }
            is ChatEvent.TextArrived -> textArrived(state, event.text)
            is ChatEvent.ReplyEnded -> ended(state, event)
            is ChatEvent.ReplyFailed -> failed(state, event)
            ChatEvent.StopTapped -> stop(state)
            ChatEvent.RegenerateTapped -> (state as? ChatState.Idle)?.let { regenerate(it.chat) }
            ChatEvent.NewChatTapped -> (state as? ChatState.Idle)?.let { newChat(it.chat) }
            is ChatEvent.SettingsChanged -> settingsChanged(state, event.settings)
            is ChatEvent.Restored -> (state as? ChatState.Restoring)?.let { restored(it.chat, event) }
            ChatEvent.MemoryLow -> unload(state, UnloadReason.MEMORY)
            ChatEvent.WentToBackground -> unload(state, UnloadReason.BACKGROUND)
            ChatEvent.ThermalCritical -> unload(state, UnloadReason.THERMAL)
            ChatEvent.CameToForeground ->
                (state as? ChatState.Unloaded)?.takeIf { it.reason != UnloadReason.THERMAL }?.let { loadAgain(it.chat) }
        }

    private fun opened(state: ChatState, id: PackageId): Reduced? {
        val chat = chatOf(state)
        val isSame = (chat?.packageId ?: (state as? ChatState.Loading)?.packageId) == id
        return when {
            !isSame -> Reduced(ChatState.Loading(id), letGo(state) + ChatEffect.Load(id))
            state is ChatState.Unloaded -> loadAgain(state.chat)
            else -> null
        }
    }

    /** What ends a chat that stays on disk. */
    private fun letGo(state: ChatState): List<ChatEffect> {
        val turn = turnOf(state)
        return when {
            turn != null -> {
                val save = ChatEffect.Save(turn.chat.packageId, turn.cutMessages())
                listOf(ChatEffect.Cancel, save, ChatEffect.Unload)
            }
            state is ChatState.Loading || state is ChatState.Idle || state is ChatState.Restoring ->
                listOf(ChatEffect.Unload)
            else -> emptyList()
        }
    }

    private fun loadAgain(chat: Chat): Reduced {
        val effects = listOf(ChatEffect.Load(chat.packageId), ChatEffect.Restore(wholeTurns(chat.messages)))
        return Reduced(ChatState.Restoring(chat), effects)
    }

    private fun loaded(state: ChatState, event: ChatEvent.Loaded): Reduced? {
        if ((state as? ChatState.Loading)?.packageId != event.packageId) return null
        val messages = event.messages
        if (messages.isEmpty()) return Reduced(ChatState.Idle(freshChat(event.packageId, event.settings)))
        val system = messages.first().takeIf { it.role == "system" }?.content
        val chat = freshChat(event.packageId, event.settings.copy(system = system)).copy(messages = messages)
        if (!hasTurns(messages)) return Reduced(ChatState.Idle(chat))
        return Reduced(ChatState.Restoring(chat), listOf(ChatEffect.Restore(wholeTurns(messages))))
    }

    private fun loadFailed(state: ChatState, event: ChatEvent.LoadFailed): Reduced? {
        val waiting = when (state) {
            is ChatState.Loading -> state.packageId
            is ChatState.Restoring -> state.chat.packageId
            else -> null
        }
        return if (waiting == event.packageId) Reduced(ChatState.LoadFailed(waiting, event.refusal)) else null
    }

    private fun ask(before: Chat, text: String): Reduced {
        val chat = before.copy(messages = wholeTurns(before.messages), note = "", refusal = null)
        val save = ChatEffect.Save(chat.packageId, chat.messages + Message("user", text))
        return Reduced(ChatState.Prefilling(chat, text), listOf(save, ChatEffect.Send(text)))
    }

    private fun regenerate(before: Chat): Reduced? {
        val last = before.messages.lastOrNull() ?: return null
        if (last.role == "user") return ask(before, last.content)
        if (last.role != "assistant") return null
        val asked = before.messages.dropLast(1)
        val chat = before.copy(messages = asked.dropLast(1), note = "", refusal = null)
        val effects = listOf(ChatEffect.Save(chat.packageId, asked), ChatEffect.Regenerate)
        return Reduced(ChatState.Prefilling(chat, asked.last().content), effects)
    }

    private fun textArrived(state: ChatState, text: String): Reduced? {
        if (text.isEmpty()) return null
        return when (state) {
            is ChatState.Prefilling -> Reduced(ChatState.Replying(state.chat, state.userText, text))
            is ChatState.Replying -> Reduced(state.copy(soFar = state.soFar + text))
            is ChatState.Cancelling -> Reduced(state.copy(soFar = state.soFar + text))
            else -> null
        }
    }

    private fun stop(state: ChatState): Reduced? {
        if (state !is ChatState.Prefilling && state !is ChatState.Replying) return null
        val turn = turnOf(state) ?: return null
        return Reduced(ChatState.Cancelling(turn.chat, turn.userText, turn.soFar), listOf(ChatEffect.Cancel))
    }

    private fun ended(state: ChatState, event: ChatEvent.ReplyEnded): Reduced? {
        val turn = turnOf(state) ?: return null
        val messages = turn.messagesAfter(event.messages)
        val chat = turn.chat.copy(
            messages = messages,
            mark = event.mark,
            note = event.reply.note,
            statistics = event.statistics,
        )
        return Reduced(ChatState.Idle(chat), listOf(ChatEffect.Save(chat.packageId, messages)))
    }

    private fun failed(state: ChatState, event: ChatEvent.ReplyFailed): Reduced? {
        if (state is ChatState.Restoring) {
            val mark = Mark.NOTHING_FORGOTTEN
            val chat = state.chat.copy(messages = event.messages, mark = mark, refusal = event.refusal)
            return Reduced(ChatState.Idle(chat))
        }
        val turn = turnOf(state) ?: return null
        val messages = turn.messagesAfter(event.messages)
        val chat = turn.chat.copy(messages = messages, refusal = event.refusal)
        return Reduced(ChatState.Idle(chat), listOf(ChatEffect.Save(chat.packageId, messages)))
    }

    private fun restored(before: Chat, event: ChatEvent.Restored): Reduced {
        val unanswered = before.messages.drop(wholeTurns(before.messages).size)
        val messages = event.messages + unanswered
        return Reduced(
            ChatState.Idle(before.copy(messages = messages, mark = event.mark, note = event.note, refusal = null)),
        )
    }

    private fun newChat(before: Chat): Reduced {
        val chat = freshChat(before.packageId, before.settings)
        val save = ChatEffect.Save(chat.packageId, chat.messages)
        return Reduced(ChatState.Idle(chat), listOf(ChatEffect.Reset, save))
    }

    private fun settingsChanged(state: ChatState, settings: ChatSettings): Reduced? {
        val before = chatOf(state) ?: return null
        if (settings.system == before.settings.system) return Reduced(withChat(state, before.copy(settings = settings)))
        if (state !is ChatState.Idle && state !is ChatState.Unloaded) return null
        val messages = systemMessage(settings.system) + before.messages.filter { it.role != "system" }
        val chat = before.copy(settings = settings, messages = messages)
        val save = ChatEffect.Save(chat.packageId, messages)
        return when {
            state is ChatState.Unloaded -> Reduced(state.copy(chat = chat), listOf(save))
            !hasTurns(messages) -> Reduced(ChatState.Idle(chat), listOf(ChatEffect.Reset, save))
            else -> Reduced(ChatState.Restoring(chat), listOf(save, ChatEffect.Restore(wholeTurns(messages))))
        }
    }

    private fun unload(state: ChatState, reason: UnloadReason): Reduced? {
        if (state is ChatState.Unloaded) return null
        val chat = turnOf(state)?.let { it.chat.copy(messages = it.cutMessages()) } ?: chatOf(state) ?: return null
        return Reduced(ChatState.Unloaded(chat, reason), letGo(state))
    }
}

/** The turn that is under way. */
private class Turn(val chat: Chat, val userText: String, val soFar: String) {
    /** The messages of a chat whose reply is cut off now: what was shown of it stays. */
    fun cutMessages(): List<Message> {
        val said = chat.messages + Message("user", userText)
        return if (soFar.isEmpty()) said else said + Message("assistant", soFar)
    }

    /** The session's messages, and the question that it did not take in. */
    fun messagesAfter(messages: List<Message>): List<Message> =
        if (messages.size > chat.messages.size) messages else messages + Message("user", userText)
}

private fun turnOf(state: ChatState): Turn? =
    when (state) {
        is ChatState.Prefilling -> Turn(state.chat, state.userText, "")
        is ChatState.Replying -> Turn(state.chat, state.userText, state.soFar)
        is ChatState.Cancelling -> Turn(state.chat, state.userText, state.soFar)
        else -> null
    }

/** The conversation that a state shows, or null. */
fun chatOf(state: ChatState): Chat? =
    when (state) {
        is ChatState.Empty, is ChatState.Loading, is ChatState.LoadFailed -> null
        is ChatState.Idle -> state.chat
        is ChatState.Prefilling -> state.chat
        is ChatState.Replying -> state.chat
        is ChatState.Cancelling -> state.chat
        is ChatState.Restoring -> state.chat
        is ChatState.Unloaded -> state.chat
    }

private fun withChat(state: ChatState, chat: Chat): ChatState =
    when (state) {
        is ChatState.Empty, is ChatState.Loading, is ChatState.LoadFailed -> state
        is ChatState.Idle -> state.copy(chat = chat)
        is ChatState.Prefilling -> state.copy(chat = chat)
        is ChatState.Replying -> state.copy(chat = chat)
        is ChatState.Cancelling -> state.copy(chat = chat)
        is ChatState.Restoring -> state.copy(chat = chat)
        is ChatState.Unloaded -> state.copy(chat = chat)
    }

/** A chat in which nothing was said. */
private fun freshChat(id: PackageId, settings: ChatSettings): Chat =
    Chat(packageId = id, messages = systemMessage(settings.system), settings = settings)

private fun systemMessage(text: String?): List<Message> =
    if (text == null) emptyList() else listOf(Message("system", text))

/** Without an unanswered last message. */
internal fun wholeTurns(messages: List<Message>): List<Message> =
    if (messages.lastOrNull()?.role == "user") messages.dropLast(1) else messages

internal fun hasTurns(messages: List<Message>): Boolean = messages.any { it.role == "assistant" }
