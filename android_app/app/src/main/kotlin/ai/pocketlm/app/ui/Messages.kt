// One message, the growing reply, and the line above which the model sees nothing.
package ai.pocketlm.app.ui

import ai.pocketlm.app.R
import ai.pocketlm.app.copyText
import ai.pocketlm.core.SentenceKey
import ai.pocketlm.core.Sentences
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.layout.widthIn
import androidx.compose.foundation.shape.RoundedCornerShape
import androidx.compose.foundation.text.selection.SelectionContainer
import androidx.compose.material3.HorizontalDivider
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Surface
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.platform.LocalContext
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.text.style.TextDirection
import androidx.compose.ui.unit.dp

/** A finished message with its buttons. */
@Composable
fun SaidMessage(item: ChatItem.Said, onAskAgain: () -> Unit) {
    val context = LocalContext.current
    val label = stringResource(R.string.app_name)
    Bubble(isUser = item.message.role == "user", text = item.message.content) {
        Row(horizontalArrangement = Arrangement.End) {
            NamedIconButton(R.drawable.ic_copy, R.string.copy_message) { context.copyText(label, item.message.content) }
            if (item.action == MessageAction.ASK_AGAIN) {
                NamedIconButton(R.drawable.ic_again, R.string.ask_again, onClick = onAskAgain)
            }
        }
    }
}

/** The reply so far; it is not read out piece by piece, the line below says when it is done. */
@Composable
fun GrowingMessage(text: String) {
    if (text.isNotEmpty()) Bubble(isUser = false, text = text) {} else ProgressBar(null)
}

@Composable
private fun Bubble(isUser: Boolean, text: String, buttons: @Composable () -> Unit) {
    val colors = MaterialTheme.colorScheme
    Box(Modifier.fillMaxWidth(), contentAlignment = if (isUser) Alignment.CenterEnd else Alignment.CenterStart) {
        Surface(
            modifier = Modifier.widthIn(max = 600.dp),
            shape = RoundedCornerShape(16.dp),
            color = if (isUser) colors.primaryContainer else colors.surfaceVariant,
            contentColor = if (isUser) colors.onPrimaryContainer else colors.onSurfaceVariant,
        ) {
            Column(Modifier.padding(start = 16.dp, end = 16.dp, top = 12.dp, bottom = 4.dp)) {
                Text(
                    stringResource(if (isUser) R.string.you_said else R.string.model_said),
                    style = MaterialTheme.typography.labelMedium,
                )
                SelectionContainer {
                    // The text's own first letter decides its direction, not the phone's language.
                    Text(text, style = MaterialTheme.typography.bodyLarge.copy(textDirection = TextDirection.Content))
                }
                buttons()
            }
        }
    }
}

/** Where the older messages have left the window. */
@Composable
fun ForgottenLine(item: ChatItem.Forgotten) {
    val sentences = mutableListOf<String>()
    if (item.turns == 1) sentences += Sentences.fill(SentenceKey.FORGOTTEN_ONE)
    if (item.turns > 1) sentences += Sentences.fill(SentenceKey.FORGOTTEN_MANY, "count" to item.turns)
    if (item.isPartial) sentences += stringResource(R.string.forgotten_partly)
    Column(Modifier.fillMaxWidth().padding(vertical = 8.dp), horizontalAlignment = Alignment.CenterHorizontally) {
        HorizontalDivider(color = MaterialTheme.colorScheme.outline)
        Small(sentences.joinToString(" "))
    }
}
