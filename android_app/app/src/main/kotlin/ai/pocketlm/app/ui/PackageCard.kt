// One installed package in the list: size, context, licence, origin, whether it fits, and what can be done with it.
package ai.pocketlm.app.ui

import ai.pocketlm.app.PackageRow
import ai.pocketlm.app.R
import ai.pocketlm.core.InstalledPackage
import ai.pocketlm.core.MemoryVerdict
import ai.pocketlm.core.Sentences
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.material3.Button
import androidx.compose.material3.Card
import androidx.compose.material3.DropdownMenu
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.remember
import androidx.compose.runtime.setValue
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.semantics.heading
import androidx.compose.ui.semantics.semantics
import androidx.compose.ui.unit.dp

@Composable
fun PackageCard(row: PackageRow, actions: PackagesActions, onRemove: () -> Unit) {
    val installed = row.installed
    val manifest = installed.manifest
    Card(Modifier.fillMaxWidth()) {
        Column(Modifier.padding(16.dp), verticalArrangement = Arrangement.spacedBy(4.dp)) {
            Row(verticalAlignment = Alignment.CenterVertically) {
                Text(
                    installed.name,
                    style = MaterialTheme.typography.titleMedium,
                    modifier = Modifier.weight(1f).semantics { heading() },
                )
                CardMenu(installed, actions, onRemove)
            }
            Small(stringResource(R.string.size_and_recipe, Sentences.size(installed.bytes), manifest.recipe.name))
            Small(contextText(manifest))
            Small(licenceText(installed))
            Small(stringResource(R.string.made_with, manifest.origin.toolVersion, manifest.model.family))
            Verdict(row.verdict)
            Button(onClick = { actions.open(installed) }, enabled = row.verdict !is MemoryVerdict.TooLarge) {
                Text(stringResource(R.string.open_chat))
            }
        }
    }
}

@Composable
private fun CardMenu(installed: InstalledPackage, actions: PackagesActions, onRemove: () -> Unit) {
    var isOpen by remember { mutableStateOf(false) }
    Box {
        NamedIconButton(R.drawable.ic_more, R.string.more) { isOpen = true }
        DropdownMenu(expanded = isOpen, onDismissRequest = { isOpen = false }) {
            MenuItem(R.string.details) { isOpen = false; actions.showDetails(installed) }
            MenuItem(R.string.self_test) { isOpen = false; actions.runSelfTest(installed) }
            MenuItem(R.string.benchmark) { isOpen = false; actions.runBenchmark(installed) }
            MenuItem(R.string.remove) { isOpen = false; onRemove() }
        }
    }
}

@Composable
private fun licenceText(installed: InstalledPackage): String {
    val files = installed.licences.joinToString(", ") { it.name }
    return if (files.isEmpty()) stringResource(R.string.no_licence) else stringResource(R.string.licence_files, files)
}

/** Whether the package fits into the phone's memory now. */
@Composable
private fun Verdict(verdict: MemoryVerdict) {
    when (verdict) {
        MemoryVerdict.Fits -> Small(stringResource(R.string.fits))
        is MemoryVerdict.Tight -> Text(verdict.text, style = MaterialTheme.typography.bodySmall)
        is MemoryVerdict.TooLarge ->
            Text(verdict.text, style = MaterialTheme.typography.bodySmall, color = MaterialTheme.colorScheme.error)
    }
}
