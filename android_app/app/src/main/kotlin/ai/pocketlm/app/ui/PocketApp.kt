// Which screen is shown, and what its buttons do.
package ai.pocketlm.app.ui

import ai.pocketlm.app.AppModel
import ai.pocketlm.app.CableSource
import ai.pocketlm.core.BenchmarkReport
import ai.pocketlm.core.InstalledPackage
import android.net.Uri
import androidx.activity.compose.BackHandler
import androidx.activity.compose.rememberLauncherForActivityResult
import androidx.activity.result.contract.ActivityResultContracts
import androidx.compose.runtime.Composable
import androidx.compose.runtime.LaunchedEffect
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.saveable.rememberSaveable
import androidx.compose.runtime.setValue

/** The screens. Everything but the list is one step away from it. */
enum class Screen { PACKAGES, CHAT, DETAILS, SELF_TEST, BENCHMARK, ABOUT }

// File managers disagree on what a zip is called; some know no more than that it is bytes.
private val ZIP_TYPES = arrayOf("application/zip", "application/x-zip-compressed", "application/octet-stream")

@Composable
fun PocketApp(model: AppModel) {
    var screen by rememberSaveable { mutableStateOf(Screen.PACKAGES) }
    var chosen by rememberSaveable { mutableStateOf("") } // sha256 of the package that a screen is about
    val picker = rememberLauncherForActivityResult(ActivityResultContracts.OpenDocument()) { uri ->
        if (uri != null) model.imports.fromUri(uri)
    }
    val goBack = {
        if (screen == Screen.SELF_TEST || screen == Screen.BENCHMARK) model.measurements.stop()
        screen = Screen.PACKAGES
        model.refresh()
    }
    LaunchedEffect(Unit) { if (screen == Screen.CHAT) model.reopenAfterProcessDeath() }
    BackHandler(enabled = screen != Screen.PACKAGES, onBack = goBack)
    val subject = model.rows.firstOrNull { it.installed.id.sha256 == chosen }?.installed
    val actions = ListActions(model, onPick = { picker.launch(ZIP_TYPES) }) { next, installed ->
        chosen = installed?.id?.sha256 ?: ""
        screen = next
    }
    when (screen) {
        Screen.PACKAGES -> PackagesScreen(viewOf(model), actions)
        Screen.CHAT -> ChatScreen(model.chat, model.openPackage(), model.residentBytes, model::send, goBack)
        Screen.DETAILS -> if (subject != null) DetailsScreen(subject, goBack)
        Screen.SELF_TEST -> if (subject != null) SelfTestScreen(subject, model.measurements, goBack)
        Screen.BENCHMARK -> if (subject != null) {
            val measured = BenchmarkButtons(model, subject)
            BenchmarkScreen(subject, model.measurements.benchmark, model.exported, measured, goBack)
        }
        Screen.ABOUT -> AboutScreen(goBack)
    }
}

private fun viewOf(model: AppModel) =
    PackagesView(model.rows, model.cable, model.imports.cableFolder.path, model.importing, model.problem)

/** What the benchmark's buttons do. */
private class BenchmarkButtons(
    private val model: AppModel,
    private val installed: InstalledPackage,
) : BenchmarkActions {
    override fun start() = model.measurements.startBenchmark(installed)

    override fun stop() = model.measurements.stop()

    override fun export(report: BenchmarkReport, to: Uri) = model.export(report, to)
}

/** What the list's buttons do. */
private class ListActions(
    private val model: AppModel,
    private val onPick: () -> Unit,
    private val show: (Screen, InstalledPackage?) -> Unit,
) : PackagesActions {
    override fun open(installed: InstalledPackage) {
        model.open(installed)
        show(Screen.CHAT, installed)
    }

    override fun showDetails(installed: InstalledPackage) = show(Screen.DETAILS, installed)

    override fun runSelfTest(installed: InstalledPackage) {
        model.prepareMeasuring()
        model.measurements.startSelfTest(installed)
        show(Screen.SELF_TEST, installed)
    }

    override fun runBenchmark(installed: InstalledPackage) {
        model.prepareMeasuring()
        show(Screen.BENCHMARK, installed)
    }

    override fun remove(installed: InstalledPackage) = model.remove(installed)

    override fun pickFile() = onPick()

    override fun download(url: String) = model.imports.fromAddress(url)

    override fun install(source: CableSource) = model.imports.fromCable(source)

    override fun stopImport() = model.imports.stop()

    override fun dismissImport() = model.dismissImport()

    override fun dismissProblem() = model.dismissProblem()

    override fun showAbout() = show(Screen.ABOUT, null)
}
