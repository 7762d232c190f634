// The chat screen on a device: what each state shows and what its buttons send.
package ai.pocketlm.app

import ai.pocketlm.app.ui.ChatScreen
import ai.pocketlm.core.Chat
import ai.pocketlm.core.ChatEvent
import ai.pocketlm.core.ChatState
import ai.pocketlm.core.Mark
import ai.pocketlm.core.Message
import ai.pocketlm.core.PackageId
import ai.pocketlm.core.UnloadReason
import androidx.compose.ui.test.assertIsDisplayed
import androidx.compose.ui.test.assertIsNotEnabled
import androidx.compose.ui.test.junit4.createComposeRule
import androidx.compose.ui.test.onNodeWithContentDescription
import androidx.compose.ui.test.onNodeWithText
import androidx.compose.ui.test.performClick
import androidx.compose.ui.test.performTextInput
import androidx.test.ext.junit.runners.AndroidJUnit4
import org.junit.Assert.assertEquals
import org.junit.Rule
import org.junit.Test
import org.junit.runner.RunWith

@RunWith(AndroidJUnit4::class)
class ChatScreenTest {
    @get:Rule val compose = createComposeRule()

    private val sent = mutableListOf<ChatEvent>()
    private val id = PackageId("0".repeat(64))
    private val chat = Chat(
        packageId = id,
        messages = listOf(
            Message("user", "Hello"),
            Message("assistant", "Good day"),
            Message("user", "And now?"),
            Message("assistant", "Now this"),
        ),
        mark = Mark(firstVisiblePosition = 40, firstVisibleTurn = 1, isPartial = false),
    )

    private fun show(state: ChatState) {
        compose.setContent {
            ChatScreen(state, installed = null, residentBytes = 0, onEvent = { sent += it }, onBack = {})
        }
    }

    @Test
    fun messages_and_the_line_of_what_is_forgotten_are_shown() {
        show(ChatState.Idle(chat))
        compose.onNodeWithText("Now this").assertIsDisplayed()
        compose.onNodeWithText("The model no longer sees the first turn above.").assertIsDisplayed()
    }

    @Test
    fun what_is_typed_is_sent_once() {
        show(ChatState.Idle(chat))
        compose.onNodeWithContentDescription("Send").assertIsNotEnabled()
        compose.onNodeWithText("Message").performTextInput("More")
        compose.onNodeWithContentDescription("Send").performClick()
        compose.onNodeWithContentDescription("Send").assertIsNotEnabled()
        assertEquals(listOf<ChatEvent>(ChatEvent.Sent("More")), sent)
    }

    @Test
    fun a_reply_can_be_stopped_while_the_question_is_read() {
        show(ChatState.Prefilling(chat, "More"))
        compose.onNodeWithText("Reading your message").assertIsDisplayed()
        compose.onNodeWithContentDescription("Stop the reply").performClick()
        assertEquals(listOf<ChatEvent>(ChatEvent.StopTapped), sent)
    }

    @Test
    fun a_model_that_was_let_go_can_be_loaded_again() {
        show(ChatState.Unloaded(chat, UnloadReason.MEMORY))
        compose.onNodeWithText("Load again").performClick()
        assertEquals(listOf<ChatEvent>(ChatEvent.PackageOpened(id)), sent)
    }
}
