// The chat: what was said, what the model forgot, what it writes now, and where one types.
package ai.pocketlm.app.ui

import ai.pocketlm.app.R
import ai.pocketlm.core.ChatEvent
import ai.pocketlm.core.ChatState
import ai.pocketlm.core.CompletionOnly
import ai.pocketlm.core.InstalledPackage
import ai.pocketlm.core.Manifest
import ai.pocketlm.core.SentenceKey
import ai.pocketlm.core.Sentences
import ai.pocketlm.core.UnloadReason
import ai.pocketlm.core.chatOf
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.PaddingValues
import androidx.compose.foundation.layout.consumeWindowInsets
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.imePadding
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.lazy.LazyColumn
import androidx.compose.foundation.lazy.rememberLazyListState
import androidx.compose.material3.CircularProgressIndicator
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Text
import androidx.compose.material3.TextButton
import androidx.compose.runtime.Composable
import androidx.compose.runtime.LaunchedEffect
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.saveable.rememberSaveable
import androidx.compose.runtime.setValue
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.unit.dp

/**
 * Draws a chat's state; sends events and knows nothing else.
 *
 * @param installed the open package, or null while none is.
 * @param residentBytes memory that the app holds now; 0: not known.
 */
@Composable
fun ChatScreen(
    state: ChatState,
    installed: InstalledPackage?,
    residentBytes: Long,
    onEvent: (ChatEvent) -> Unit,
    onBack: () -> Unit,
) {
    var isInSettings by rememberSaveable { mutableStateOf(false) }
    val chat = chatOf(state)
    val name = installed?.name ?: stringResource(R.string.app_name)
    TitledScreen(
        title = name,
        onBack = onBack,
        actions = {
            NamedIconButton(R.drawable.ic_new_chat, R.string.new_chat, isEnabled = state is ChatState.Idle) {
                onEvent(ChatEvent.NewChatTapped)
            }
            NamedIconButton(R.drawable.ic_settings, R.string.chat_settings, isEnabled = chat != null) {
                isInSettings = true
            }
        },
    ) { padding ->
        Column(Modifier.fillMaxSize().padding(padding).consumeWindowInsets(padding).imePadding()) {
            Box(Modifier.weight(1f).fillMaxWidth()) {
                Conversation(state, beginning(installed?.manifest), onEvent)
            }
            Notices(state, onEvent)
            if (chat != null) {
                StatusLine(state, residentBytes)
                Composer(state, onEvent)
            }
        }
    }
    if (isInSettings && chat != null && installed != null) {
        ChatSettingsDialog(
            settings = chat.settings,
            manifest = installed.manifest,
            onChange = { onEvent(ChatEvent.SettingsChanged(it)) },
            onDismiss = { isInSettings = false },
        )
    }
}

@Composable
private fun Conversation(state: ChatState, beginning: String, onEvent: (ChatEvent) -> Unit) {
    val items = itemsOf(state).asReversed() // the newest lies at the bottom and stays there while it grows
    val list = rememberLazyListState()
    LaunchedEffect(items.size) { list.scrollToItem(0) }
    if (state is ChatState.Empty) Waiting(stringResource(R.string.no_chat), isBusy = false)
    if (state is ChatState.Loading) Waiting(stringResource(R.string.loading_model))
    if (items.isEmpty() && state is ChatState.Idle) Waiting(beginning, isBusy = false)
    LazyColumn(
        modifier = Modifier.fillMaxSize(),
        state = list,
        reverseLayout = true,
        contentPadding = PaddingValues(horizontal = 16.dp, vertical = 8.dp),
        verticalArrangement = Arrangement.spacedBy(8.dp, Alignment.Bottom),
    ) {
        items(items.size) { index ->
            when (val item = items[index]) {
                is ChatItem.Said -> SaidMessage(item, onAskAgain = { onEvent(ChatEvent.RegenerateTapped) })
                is ChatItem.Growing -> GrowingMessage(item.text)
                is ChatItem.Forgotten -> ForgottenLine(item)
            }
        }
    }
}

/** What an empty chat says: what to do, and what is unlike other packages' chats. */
@Composable
private fun beginning(manifest: Manifest?): String {
    val sentences = mutableListOf(stringResource(R.string.ask_something))
    if (manifest?.template is CompletionOnly) sentences += Sentences.fill(SentenceKey.COMPLETION_ONLY)
    if (manifest?.context?.isEndless == false) sentences += Sentences.fill(SentenceKey.COUNTS_ARE_BOUNDS)
    return sentences.joinToString(" ")
}

@Composable
private fun Waiting(text: String, isBusy: Boolean = true) {
    Column(
        Modifier.fillMaxSize().padding(32.dp),
        verticalArrangement = Arrangement.spacedBy(16.dp, Alignment.CenterVertically),
        horizontalAlignment = Alignment.CenterHorizontally,
    ) {
        if (isBusy) CircularProgressIndicator()
        Text(text, color = MaterialTheme.colorScheme.onSurfaceVariant)
    }
}

@Composable
private fun Notices(state: ChatState, onEvent: (ChatEvent) -> Unit) {
    if (state is ChatState.LoadFailed) {
        Notice(state.refusal.text, NoticeKind.PROBLEM) {
            LoadAgain { onEvent(ChatEvent.PackageOpened(state.packageId)) }
        }
    }
    if (state is ChatState.Unloaded) {
        Notice(Sentences.fill(sentenceOf(state.reason)), NoticeKind.INFORMATION) {
            LoadAgain { onEvent(ChatEvent.PackageOpened(state.chat.packageId)) }
        }
    }
    val chat = chatOf(state) ?: return
    chat.refusal?.let { Notice(it.text, NoticeKind.PROBLEM) }
    if (chat.note.isNotEmpty()) Notice(Sentences.asSentence(chat.note), NoticeKind.INFORMATION)
}

@Composable
private fun LoadAgain(onClick: () -> Unit) {
    TextButton(onClick = onClick) { Text(stringResource(R.string.load_again)) }
}

private fun sentenceOf(reason: UnloadReason): SentenceKey =
    when (reason) {
        UnloadReason.MEMORY -> SentenceKey.UNLOADED_MEMORY
        UnloadReason.BACKGROUND -> SentenceKey.UNLOADED_BACKGROUND
        UnloadReason.THERMAL -> SentenceKey.UNLOADED_THERMAL
    }
