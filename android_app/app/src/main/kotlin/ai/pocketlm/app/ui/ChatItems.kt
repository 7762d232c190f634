// What a chat screen lists, made of the chat's state. Plain Kotlin: no Compose, no Android.
package ai.pocketlm.app.ui

import ai.pocketlm.core.ChatState
import ai.pocketlm.core.Mark
import ai.pocketlm.core.Message
import ai.pocketlm.core.chatOf

/** What may be done with a message beside copying it. */
enum class MessageAction { NONE, ASK_AGAIN }

/** One entry of the list, oldest first. */
sealed interface ChatItem {
    /** A finished message of the user or of the model. */
    data class Said(val message: Message, val action: MessageAction) : ChatItem

    /** The reply that is being written; empty while the question is read. */
    data class Growing(val text: String) : ChatItem

    /**
     * The line above which the model sees nothing.
     *
     * @property turns whole turns above it.
     * @property isPartial whether the beginning of the turn below it is out of sight too.
     */
    data class Forgotten(val turns: Int, val isPartial: Boolean) : ChatItem
}

/** Everything to be listed, oldest first; the system message is not: it stands in the settings. */
fun itemsOf(state: ChatState): List<ChatItem> {
    val chat = chatOf(state) ?: return emptyList()
    val items = said(chat.messages, chat.mark, canAskAgain = state is ChatState.Idle)
    return items + when (state) {
        is ChatState.Prefilling -> asked(state.userText) + ChatItem.Growing("")
        is ChatState.Replying -> asked(state.userText) + ChatItem.Growing(state.soFar)
        is ChatState.Cancelling -> asked(state.userText) + ChatItem.Growing(state.soFar)
        else -> emptyList()
    }
}

private fun asked(text: String) = listOf(ChatItem.Said(Message("user", text), MessageAction.NONE))

private fun said(messages: List<Message>, mark: Mark, canAskAgain: Boolean): List<ChatItem> {
    val items = mutableListOf<ChatItem>()
    val line = ChatItem.Forgotten(mark.firstVisibleTurn, mark.isPartial)
    val hasLine = mark.firstVisibleTurn > 0 || mark.isPartial
    var turn = 0
    messages.forEachIndexed { index, message ->
        if (message.role == "system") return@forEachIndexed
        if (message.role == "user") {
            if (hasLine && turn == mark.firstVisibleTurn) items += line
            turn++
        }
        val isLast = index == messages.lastIndex
        items += ChatItem.Said(message, if (isLast && canAskAgain) MessageAction.ASK_AGAIN else MessageAction.NONE)
    }
    if (hasLine && turn > 0 && turn <= mark.firstVisibleTurn) items += line // nothing at all is seen any more
    return items
}
