// The benchmark of a package: its runs as they come, and the JSON file of them.
package ai.pocketlm.app.ui

import ai.pocketlm.app.R
import ai.pocketlm.core.BenchmarkReport
import ai.pocketlm.core.BenchmarkResult
import ai.pocketlm.core.BenchmarkState
import ai.pocketlm.core.InstalledPackage
import ai.pocketlm.core.Sentences
import android.net.Uri
import androidx.activity.compose.rememberLauncherForActivityResult
import androidx.activity.result.contract.ActivityResultContracts
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.PaddingValues
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.lazy.LazyColumn
import androidx.compose.material3.Button
import androidx.compose.material3.Text
import androidx.compose.material3.TextButton
import androidx.compose.runtime.Composable
import androidx.compose.ui.Modifier
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.semantics.semantics
import androidx.compose.ui.unit.dp

/** What the screen may ask for. */
interface BenchmarkActions {
    fun start()
    fun stop()
    fun export(report: BenchmarkReport, to: Uri)
}

/**
 * @param state null: nothing was measured yet.
 * @param exported whether and how the last export ended, as a sentence, or null.
 */
@Composable
fun BenchmarkScreen(
    installed: InstalledPackage,
    state: BenchmarkState?,
    exported: String?,
    actions: BenchmarkActions,
    onBack: () -> Unit,
) {
    TitledScreen(title = stringResource(R.string.benchmark_of, installed.name), onBack = onBack) { padding ->
        val results = resultsOf(state)
        LazyColumn(
            modifier = Modifier.fillMaxSize().padding(padding),
            contentPadding = PaddingValues(16.dp),
            verticalArrangement = Arrangement.spacedBy(12.dp),
        ) {
            item { Text(stringResource(R.string.benchmark_help)) }
            item { Progress(state, installed, actions) }
            exported?.let { item { Notice(it, NoticeKind.INFORMATION) } }
            items(results.size) { index -> Result(results[index]) }
        }
    }
}

private fun resultsOf(state: BenchmarkState?): List<BenchmarkResult> =
    when (state) {
        is BenchmarkState.Running -> state.results
        is BenchmarkState.Ended -> state.report.results
        null, BenchmarkState.Loading, is BenchmarkState.Failed -> emptyList()
    }

@Composable
private fun Progress(state: BenchmarkState?, installed: InstalledPackage, actions: BenchmarkActions) {
    val saver = rememberLauncherForActivityResult(ActivityResultContracts.CreateDocument("application/json")) { uri ->
        if (uri != null && state is BenchmarkState.Ended) actions.export(state.report, uri)
    }
    Column(verticalArrangement = Arrangement.spacedBy(8.dp)) {
        when (state) {
            null -> Start(R.string.start, actions)
            BenchmarkState.Loading -> {
                Text(stringResource(R.string.loading_model))
                ProgressBar(null)
                Stop(actions)
            }
            is BenchmarkState.Running -> {
                Text(stringResource(R.string.runs_of, number(state.done), number(state.total)))
                ProgressBar(share(state.done.toLong(), state.total.toLong()))
                Stop(actions)
            }
            is BenchmarkState.Ended -> {
                if (state.note.isNotEmpty()) Notice(state.note, NoticeKind.INFORMATION)
                Button(onClick = { saver.launch("pocketlm-${installed.name}-${installed.id.short}.json") }) {
                    Text(stringResource(R.string.export_json))
                }
                Start(R.string.run_again, actions)
            }
            is BenchmarkState.Failed -> {
                Notice(state.refusal.text, NoticeKind.PROBLEM)
                Start(R.string.run_again, actions)
            }
        }
    }
}

/** `name` is a string resource. */
@Composable
private fun Start(name: Int, actions: BenchmarkActions) {
    TextButton(onClick = actions::start) { Text(stringResource(name)) }
}

@Composable
private fun Stop(actions: BenchmarkActions) {
    TextButton(onClick = actions::stop) { Text(stringResource(R.string.stop)) }
}

/** One run; TalkBack reads it as one. */
@Composable
private fun Result(result: BenchmarkResult) {
    val parts = mutableListOf<String>()
    result.prefillTokensPerS?.let { parts += stringResource(R.string.prefill_rate, number(it, 1)) }
    result.decodeTokensPerS?.let { parts += stringResource(R.string.decode_rate, number(it, 1)) }
    result.timeToFirstTokenS?.let { parts += stringResource(R.string.first_token_after, number(it, 2)) }
    result.memoryBytes?.let { parts += stringResource(R.string.memory_in_use, Sentences.size(it)) }
    if (result.thermal.isNotEmpty()) parts += stringResource(R.string.heat, result.thermal)
    val title = if (result.isWarmUp) R.string.warm_up_run else R.string.prompt_run
    Column(Modifier.semantics(mergeDescendants = true) {}) {
        Text(stringResource(title, number(result.promptTokens), number(result.newTokens)))
        Small(parts.joinToString(" · "))
    }
}
