// Where one types, with the button that sends or stops, and the line that says what the model does.
package ai.pocketlm.app.ui

import ai.pocketlm.app.R
import ai.pocketlm.core.ChatEvent
import ai.pocketlm.core.ChatState
import ai.pocketlm.core.chatOf
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.text.KeyboardOptions
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.OutlinedTextField
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.MutableState
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.saveable.Saver
import androidx.compose.runtime.saveable.rememberSaveable
import androidx.compose.runtime.setValue
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.semantics.LiveRegionMode
import androidx.compose.ui.semantics.liveRegion
import androidx.compose.ui.semantics.semantics
import androidx.compose.ui.text.input.KeyboardCapitalization
import androidx.compose.ui.text.style.TextDirection
import androidx.compose.ui.unit.dp

// A draft outlives rotation and the process in the activity's saved state; Android carries about 500 kB of that.
private const val MAX_SAVED_DRAFT = 20_000
private const val MAX_LINES = 6

private val draftSaver = Saver<MutableState<String>, String>(
    save = { it.value.take(MAX_SAVED_DRAFT) },
    restore = { mutableStateOf(it) },
)

/** The field and its button. A text that could not be sent stays in the field. */
@Composable
fun Composer(state: ChatState, onEvent: (ChatEvent) -> Unit) {
    var draft by rememberSaveable(saver = draftSaver) { mutableStateOf("") }
    val canSend = state is ChatState.Idle && draft.isNotBlank()
    Row(Modifier.fillMaxWidth().padding(8.dp), verticalAlignment = Alignment.Bottom) {
        OutlinedTextField(
            value = draft,
            onValueChange = { draft = it },
            modifier = Modifier.weight(1f),
            textStyle = MaterialTheme.typography.bodyLarge.copy(textDirection = TextDirection.Content),
            label = { Text(stringResource(R.string.message)) },
            keyboardOptions = KeyboardOptions(capitalization = KeyboardCapitalization.Sentences),
            maxLines = MAX_LINES,
        )
        when (state) {
            is ChatState.Prefilling, is ChatState.Replying, is ChatState.Cancelling ->
                NamedIconButton(R.drawable.ic_stop, R.string.stop_reply, isEnabled = state !is ChatState.Cancelling) {
                    onEvent(ChatEvent.StopTapped)
                }
            else ->
                NamedIconButton(R.drawable.ic_send, R.string.send_message, isEnabled = canSend) {
                    onEvent(ChatEvent.Sent(draft))
                    draft = ""
                }
        }
    }
}

/** What the model does now, or how the last reply went. TalkBack reads it out when it changes. */
@Composable
fun StatusLine(state: ChatState, residentBytes: Long) {
    val text = when (state) {
        is ChatState.Prefilling -> stringResource(R.string.reading)
        is ChatState.Replying -> stringResource(R.string.writing)
        is ChatState.Cancelling -> stringResource(R.string.stopping)
        is ChatState.Restoring -> stringResource(R.string.reading_again)
        else -> statisticsText(chatOf(state)?.statistics, residentBytes)
    }
    Box(Modifier.fillMaxWidth().padding(horizontal = 16.dp).semantics { liveRegion = LiveRegionMode.Polite }) {
        Small(text)
    }
}
