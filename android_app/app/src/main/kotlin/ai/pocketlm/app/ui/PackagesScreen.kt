// What is on the phone: installed packages, packages that came over the cable, and what is being brought in.
package ai.pocketlm.app.ui

import ai.pocketlm.app.CableSource
import ai.pocketlm.app.ImportState
import ai.pocketlm.app.PackageRow
import ai.pocketlm.app.R
import ai.pocketlm.core.InstalledPackage
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.PaddingValues
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.lazy.LazyColumn
import androidx.compose.material3.AlertDialog
import androidx.compose.material3.DropdownMenu
import androidx.compose.material3.DropdownMenuItem
import androidx.compose.material3.FloatingActionButton
import androidx.compose.material3.Icon
import androidx.compose.material3.OutlinedCard
import androidx.compose.material3.Text
import androidx.compose.material3.TextButton
import androidx.compose.runtime.Composable
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.remember
import androidx.compose.runtime.setValue
import androidx.compose.ui.Modifier
import androidx.compose.ui.res.painterResource
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.unit.dp

/** What the list may ask for. */
interface PackagesActions {
    fun open(installed: InstalledPackage)
    fun showDetails(installed: InstalledPackage)
    fun runSelfTest(installed: InstalledPackage)
    fun runBenchmark(installed: InstalledPackage)
    fun remove(installed: InstalledPackage)
    fun pickFile()
    fun download(url: String)
    fun install(source: CableSource)
    fun stopImport()
    fun dismissImport()
    fun dismissProblem()
    fun showAbout()
}

/** What the list shows. */
data class PackagesView(
    val rows: List<PackageRow>,
    val cable: List<CableSource>,
    val cableFolder: String,
    val importing: ImportState,
    val problem: String?,
)

@Composable
fun PackagesScreen(view: PackagesView, actions: PackagesActions) {
    var dialog by remember { mutableStateOf<PackagesDialog>(PackagesDialog.None) }
    TitledScreen(
        title = stringResource(R.string.packages),
        onBack = null,
        actions = { TextButton(onClick = actions::showAbout) { Text(stringResource(R.string.about)) } },
        floatingButton = {
            if (!view.importing.isRunning) AddButton(actions::pickFile) { dialog = it }
        },
    ) { padding ->
        LazyColumn(
            modifier = Modifier.fillMaxSize().padding(padding),
            contentPadding = PaddingValues(start = 16.dp, end = 16.dp, top = 8.dp, bottom = 96.dp),
            verticalArrangement = Arrangement.spacedBy(12.dp),
        ) {
            view.problem?.let { item { Problem(it, actions::dismissProblem) } }
            if (view.importing != ImportState.None) {
                item { ImportCard(view.importing, actions::stopImport, actions::dismissImport) }
            }
            items(view.cable.size) { index -> CableCard(view.cable[index], view.importing.isRunning, actions::install) }
            items(view.rows.size) { index ->
                PackageCard(view.rows[index], actions) { dialog = PackagesDialog.Remove(view.rows[index].installed) }
            }
            if (view.rows.isEmpty()) item { Welcome() }
        }
    }
    Dialogs(dialog, view.cableFolder, actions) { dialog = PackagesDialog.None }
}

/** The dialogs that this screen opens. */
private sealed interface PackagesDialog {
    data object None : PackagesDialog

    data object Url : PackagesDialog

    data object Cable : PackagesDialog

    data class Remove(val installed: InstalledPackage) : PackagesDialog
}

@Composable
private fun AddButton(onFile: () -> Unit, onDialog: (PackagesDialog) -> Unit) {
    var isOpen by remember { mutableStateOf(false) }
    FloatingActionButton(onClick = { isOpen = true }) {
        Icon(painter = painterResource(R.drawable.ic_add), contentDescription = stringResource(R.string.add_package))
        DropdownMenu(expanded = isOpen, onDismissRequest = { isOpen = false }) {
            MenuItem(R.string.from_file) { isOpen = false; onFile() }
            MenuItem(R.string.from_address) { isOpen = false; onDialog(PackagesDialog.Url) }
            MenuItem(R.string.from_cable) { isOpen = false; onDialog(PackagesDialog.Cable) }
        }
    }
}

/** An entry of a menu; `name` is a string resource. */
@Composable
fun MenuItem(name: Int, onClick: () -> Unit) {
    DropdownMenuItem(text = { Text(stringResource(name)) }, onClick = onClick)
}

@Composable
private fun Problem(text: String, onDismiss: () -> Unit) {
    Notice(text, NoticeKind.PROBLEM) {
        TextButton(onClick = onDismiss) { Text(stringResource(R.string.ok)) }
    }
}

@Composable
private fun Welcome() {
    Column(verticalArrangement = Arrangement.spacedBy(8.dp)) {
        Text(stringResource(R.string.no_packages))
        Small(stringResource(R.string.no_packages_help))
    }
}

@Composable
private fun CableCard(source: CableSource, isBusy: Boolean, onInstall: (CableSource) -> Unit) {
    OutlinedCard(Modifier.fillMaxWidth()) {
        Row(Modifier.padding(16.dp), horizontalArrangement = Arrangement.spacedBy(8.dp)) {
            Column(Modifier.weight(1f)) {
                Text(source.name)
                Small(stringResource(R.string.came_over_cable))
            }
            TextButton(onClick = { onInstall(source) }, enabled = !isBusy) { Text(stringResource(R.string.install)) }
        }
    }
}

@Composable
private fun Dialogs(dialog: PackagesDialog, cableFolder: String, actions: PackagesActions, onDismiss: () -> Unit) {
    when (dialog) {
        PackagesDialog.None -> Unit
        PackagesDialog.Url -> AddressDialog(onDownload = { actions.download(it); onDismiss() }, onDismiss = onDismiss)
        PackagesDialog.Cable -> AlertDialog(
            onDismissRequest = onDismiss,
            title = { Text(stringResource(R.string.from_cable)) },
            text = { Text(stringResource(R.string.cable_help, cableFolder)) },
            confirmButton = { TextButton(onClick = onDismiss) { Text(stringResource(R.string.ok)) } },
        )
        is PackagesDialog.Remove -> AlertDialog(
            onDismissRequest = onDismiss,
            title = { Text(stringResource(R.string.remove_package, dialog.installed.name)) },
            text = { Text(stringResource(R.string.remove_help)) },
            confirmButton = {
                TextButton(onClick = { actions.remove(dialog.installed); onDismiss() }) {
                    Text(stringResource(R.string.remove))
                }
            },
            dismissButton = { TextButton(onClick = onDismiss) { Text(stringResource(R.string.cancel)) } },
        )
    }
}
