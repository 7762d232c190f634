// Everything that a package's manifest says, and the licences that came with it.
package ai.pocketlm.app.ui

import ai.pocketlm.app.R
import ai.pocketlm.core.InstalledPackage
import ai.pocketlm.core.Manifest
import ai.pocketlm.core.Sentences
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.PaddingValues
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.lazy.LazyColumn
import androidx.compose.foundation.text.selection.SelectionContainer
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.remember
import androidx.compose.ui.Modifier
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.semantics.heading
import androidx.compose.ui.semantics.semantics
import androidx.compose.ui.unit.dp
import java.io.File
import java.io.IOException

private const val MAX_LICENCE_CHARACTERS = 100_000 // of one file; an Apache licence has 11,000

@Composable
fun DetailsScreen(installed: InstalledPackage, onBack: () -> Unit) {
    val manifest = installed.manifest
    val facts = factsOf(installed)
    val licences = remember(installed.id) { installed.licences.map { it.name to textOf(it) } }
    TitledScreen(title = installed.name, onBack = onBack) { padding ->
        LazyColumn(
            modifier = Modifier.fillMaxSize().padding(padding),
            contentPadding = PaddingValues(16.dp),
            verticalArrangement = Arrangement.spacedBy(12.dp),
        ) {
            items(facts.size) { index -> Fact(facts[index].first, facts[index].second) }
            items(licences.size) { index ->
                Heading(licences[index].first)
                SelectionContainer { Small(licences[index].second) }
            }
        }
    }
}

/** What stands in the manifest, as name and value. */
@Composable
private fun factsOf(installed: InstalledPackage): List<Pair<String, String>> {
    val manifest = installed.manifest
    val facts = mutableListOf(
        stringResource(R.string.fact_family) to manifest.model.family,
        stringResource(R.string.fact_parameters) to number(manifest.model.parameters),
        stringResource(R.string.fact_target) to manifest.target,
        stringResource(R.string.fact_context) to contextText(manifest),
        stringResource(R.string.fact_recipe) to manifest.recipe.name,
        stringResource(R.string.fact_size) to Sentences.size(installed.bytes),
        stringResource(R.string.fact_memory) to
            "${Sentences.size(manifest.memory.estimatedPeakBytes)} (${manifest.memory.estimate})",
        stringResource(R.string.fact_tool) to manifest.origin.toolVersion,
        stringResource(R.string.fact_versions) to versionsOf(manifest),
        stringResource(R.string.fact_command) to manifest.origin.command,
        stringResource(R.string.fact_checkpoint) to manifest.origin.checkpointSha256,
        stringResource(R.string.fact_package) to installed.id.sha256,
    )
    for ((layer, exception) in manifest.recipe.exceptions) facts += layer to exception.reason
    return facts
}

private fun versionsOf(manifest: Manifest): String =
    manifest.origin.versions.entries.sortedBy { it.key }.joinToString(", ") { "${it.key} ${it.value}" }

private fun textOf(file: File): String =
    try {
        file.readText().take(MAX_LICENCE_CHARACTERS)
    } catch (error: IOException) {
        error.message ?: error.toString()
    }

@Composable
private fun Fact(name: String, value: String) {
    Column(Modifier.semantics(mergeDescendants = true) {}) {
        Text(name, style = MaterialTheme.typography.labelMedium)
        SelectionContainer { Text(value) }
    }
}

/** A heading within a screen; TalkBack can jump from one to the next. */
@Composable
fun Heading(text: String) {
    Text(text, style = MaterialTheme.typography.titleMedium, modifier = Modifier.semantics { heading() })
}
