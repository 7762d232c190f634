// What is being brought in, how far it is, and how it ended.
package ai.pocketlm.app.ui

import ai.pocketlm.app.ImportState
import ai.pocketlm.app.R
import ai.pocketlm.core.DownloadState
import ai.pocketlm.core.InstallState
import ai.pocketlm.core.Refusal
import ai.pocketlm.core.SentenceKey
import ai.pocketlm.core.Sentences
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.OutlinedCard
import androidx.compose.material3.Text
import androidx.compose.material3.TextButton
import androidx.compose.runtime.Composable
import androidx.compose.ui.Modifier
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.semantics.LiveRegionMode
import androidx.compose.ui.semantics.liveRegion
import androidx.compose.ui.semantics.semantics
import androidx.compose.ui.unit.dp

/** One import as the card shows it. */
private data class Progress(
    val text: String,
    val detail: String = "",
    val share: Float? = null,
    val refusal: Refusal? = null,
)

@Composable
fun ImportCard(state: ImportState, onStop: () -> Unit, onDismiss: () -> Unit) {
    val progress = when (state) {
        ImportState.None -> return
        is ImportState.Copying -> Progress(stringResource(R.string.copying), Sentences.size(state.done))
        is ImportState.Downloading -> downloading(state.state)
        is ImportState.Installing -> installing(state.state)
    }
    val colors = MaterialTheme.colorScheme
    OutlinedCard(Modifier.fillMaxWidth()) {
        Column(Modifier.padding(16.dp)) {
            Text(state.name, style = MaterialTheme.typography.titleSmall)
            Text(
                progress.refusal?.text ?: progress.text,
                color = if (progress.refusal == null) colors.onSurface else colors.error,
                modifier = Modifier.semantics { liveRegion = LiveRegionMode.Polite },
            )
            if (progress.detail.isNotEmpty()) Small(progress.detail)
            if (state.isRunning) {
                ProgressBar(progress.share)
                TextButton(onClick = onStop) { Text(stringResource(R.string.stop)) }
            } else {
                TextButton(onClick = onDismiss) { Text(stringResource(R.string.ok)) }
            }
        }
    }
}

@Composable
private fun downloading(state: DownloadState): Progress =
    when (state) {
        DownloadState.Waiting -> Progress(stringResource(R.string.connecting))
        is DownloadState.Receiving -> {
            val total = state.total
            Progress(
                stringResource(R.string.downloading),
                if (total == null) Sentences.size(state.done) else bytesOf(state.done, total),
                total?.let { share(state.done, it) },
            )
        }
        is DownloadState.Paused ->
            Progress(Sentences.fill(SentenceKey.DOWNLOAD_PAUSED, "done" to Sentences.size(state.done)))
        is DownloadState.Finished -> Progress(stringResource(R.string.downloaded), share = 1f)
        is DownloadState.Refused -> Progress("", refusal = state.refusal)
    }

@Composable
private fun installing(state: InstallState): Progress =
    when (state) {
        InstallState.CheckingSpace -> Progress(stringResource(R.string.checking))
        is InstallState.Unpacking ->
            counted(stringResource(R.string.unpacking), state.done, state.total)
        is InstallState.Verifying ->
            counted(stringResource(R.string.verifying), state.done, state.total)
        InstallState.Moving -> Progress(stringResource(R.string.moving))
        is InstallState.Installed ->
            Progress(stringResource(R.string.installed, state.installed.name))
        is InstallState.Refused -> Progress("", refusal = state.refusal)
    }

@Composable
private fun counted(text: String, done: Long, total: Long) = Progress(text, bytesOf(done, total), share(done, total))

@Composable
private fun bytesOf(done: Long, total: Long): String =
    stringResource(R.string.bytes_of, Sentences.size(done), Sentences.size(total))
