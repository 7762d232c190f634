// What the chat screen lists in each state, and where the line of what is forgotten stands.
package ai.pocketlm.app.ui

import ai.pocketlm.core.Chat
import ai.pocketlm.core.ChatState
import ai.pocketlm.core.Mark
import ai.pocketlm.core.Message
import ai.pocketlm.core.PackageId
import ai.pocketlm.core.UnloadReason
import org.junit.Assert.assertEquals
import org.junit.Test

class ChatItemsTest {
    private val id = PackageId("0".repeat(64))

    private fun chat(turns: Int, mark: Mark = Mark.NOTHING_FORGOTTEN): Chat {
        val said = (0 until turns).flatMap { listOf(Message("user", "u$it"), Message("assistant", "a$it")) }
        return Chat(id, listOf(Message("system", "be brief")) + said, mark)
    }

    /** The list in short: messages by their text, what grows as "…text", the line as "-turns" with "~" if partial. */
    private fun short(state: ChatState): List<String> =
        itemsOf(state).map {
            when (it) {
                is ChatItem.Said -> it.message.content + if (it.action == MessageAction.ASK_AGAIN) "!" else ""
                is ChatItem.Growing -> "…${it.text}"
                is ChatItem.Forgotten -> "-${it.turns}" + if (it.isPartial) "~" else ""
            }
        }

    @Test
    fun `the system message is not listed and the last message can be answered again`() {
        assertEquals(listOf("u0", "a0", "u1", "a1!"), short(ChatState.Idle(chat(2))))
    }

    @Test
    fun `a question without an answer can be asked again`() {
        val asked = chat(1).let { it.copy(messages = it.messages + Message("user", "and?")) }
        assertEquals(listOf("u0", "a0", "and?!"), short(ChatState.Idle(asked)))
    }

    @Test
    fun `while a reply is read, written or stopped the question stands before it and nothing can be asked again`() {
        assertEquals(listOf("u0", "a0", "q", "…"), short(ChatState.Prefilling(chat(1), "q")))
        assertEquals(listOf("u0", "a0", "q", "…so f"), short(ChatState.Replying(chat(1), "q", "so f")))
        assertEquals(listOf("u0", "a0", "q", "…so f"), short(ChatState.Cancelling(chat(1), "q", "so f")))
        assertEquals(listOf("u0", "a0"), short(ChatState.Restoring(chat(1))))
        assertEquals(listOf("u0", "a0"), short(ChatState.Unloaded(chat(1), UnloadReason.MEMORY)))
    }

    @Test
    fun `the line stands before the oldest turn that is seen`() {
        assertEquals(listOf("u0", "a0", "-1", "u1", "a1!"), short(ChatState.Idle(chat(2, Mark(90, 1, false)))))
        assertEquals(listOf("u0", "a0", "-1~", "u1", "a1!"), short(ChatState.Idle(chat(2, Mark(90, 1, true)))))
        assertEquals(listOf("-0~", "u0", "a0!"), short(ChatState.Idle(chat(1, Mark(5, 0, true)))))
    }

    @Test
    fun `the line stands last when nothing is seen any more`() {
        assertEquals(listOf("u0", "a0", "u1", "a1!", "-2"), short(ChatState.Idle(chat(2, Mark(0, 2, false)))))
    }

    @Test
    fun `without a chat there is nothing to list`() {
        assertEquals(emptyList<String>(), short(ChatState.Empty))
        assertEquals(emptyList<String>(), short(ChatState.Loading(id)))
    }
}
