// Everything that outlives a screen: the packages, the chat, what is brought in, what is measured.
package ai.pocketlm.app

import ai.pocketlm.core.BenchmarkReport
import ai.pocketlm.core.ChatEvent
import ai.pocketlm.core.ChatState
import ai.pocketlm.core.ChatWorker
import ai.pocketlm.core.Download
import ai.pocketlm.core.InstalledPackage
import ai.pocketlm.core.Installer
import ai.pocketlm.core.MemoryCheck
import ai.pocketlm.core.MemoryVerdict
import ai.pocketlm.core.PackageLibrary
import ai.pocketlm.core.PackageStore
import ai.pocketlm.core.Platform
import ai.pocketlm.core.chatOf
import ai.pocketlm.engine.ExecuTorchEngines
import android.content.Context
import android.net.Uri
import android.os.Handler
import android.os.Looper
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.setValue
import java.io.File
import java.io.IOException
import java.util.concurrent.Executor
import java.util.concurrent.Executors
import java.util.concurrent.atomic.AtomicReference

/** An installed package and whether it fits into the phone's memory now. */
data class PackageRow(val installed: InstalledPackage, val verdict: MemoryVerdict)

// How long the app may be out of sight before the model is let go; a file picker or a glance elsewhere is shorter.
private const val BACKGROUND_GRACE_MS = 20_000L

/**
 * The app's state for Compose to draw. Its properties change on the main thread only.
 *
 * @param context the application, not an activity.
 */
class AppModel(private val context: Context) {
    private val main = Handler(Looper.getMainLooper())
    private val disk = Executors.newSingleThreadExecutor()
    private val importer = Executors.newSingleThreadExecutor() // takes minutes: the list must not wait for it
    private val settings = Settings(context.getSharedPreferences("pocketlm", Context.MODE_PRIVATE))
    private val store = FolderStore(File(context.filesDir, "packages").apply { mkdirs() })
    private val library = PackageLibrary(store)
    private val installer = Installer(store, Platform(ExecuTorchEngines.RUNNER_KINDS, false, ExecuTorchEngines.RUNTIME))
    private val engines = ExecuTorchEngines()
    val memory = DeviceMemory(context)

    var rows: List<PackageRow> by mutableStateOf(emptyList())
        private set
    var cable: List<CableSource> by mutableStateOf(emptyList())
        private set
    var importing: ImportState by mutableStateOf(ImportState.None)
        private set

    /** A sentence about something that went wrong with the packages, or null. */
    var problem: String? by mutableStateOf(null)
        private set
    var chat: ChatState by mutableStateOf(ChatState.Empty)
        private set

    /** Memory that the app held when the chat's state last changed, in bytes. */
    var residentBytes: Long by mutableStateOf(0L)
        private set

    private val worker = ChatWorker(
        factory = engines,
        find = library::find,
        historyFolder = File(context.filesDir, "chats").apply { mkdirs() },
        newChatSettings = settings::ofLastOpened,
        onState = { state -> post { show(state) } },
        onStorageFailed = { refusal -> post { problem = refusal.text } },
    )
    val measurements = Measurements(engines, worker, PhoneProbe(context, memory), ::post)

    /** How the last export of a benchmark ended, as a sentence, or null. */
    var exported: String? by mutableStateOf(null)
        private set
    private val work = File(context.filesDir, "work").apply { mkdirs() }
    val imports: Imports = Imports(
        resolver = context.contentResolver,
        installer = installer,
        download = Download(HttpTransport(), work, store::freeBytes),
        cableFolder = (context.getExternalFilesDir(null) ?: context.filesDir).resolve("import").apply { mkdirs() },
        workFolder = work,
        importer = importer,
        onState = ::showSoon,
        onInstalled = ::refresh,
    )
    private val nextImport = AtomicReference<ImportState?>()

    init {
        importer.execute { library.cleanUp() } // before any import
        refresh()
        watchHeat(context, Executor { main.post(it) }) {
            measurements.stop()
            worker.send(ChatEvent.ThermalCritical)
        }
    }

    /** Reads the folders again. */
    fun refresh(): Unit = disk.execute {
        val found = library.list().map { PackageRow(it, verdict(it)) }
        val pushed = imports.cableSources()
        post {
            rows = found
            cable = pushed
        }
    }

    fun send(event: ChatEvent) {
        if (event is ChatEvent.SettingsChanged) openPackage()?.let { settings.keep(it.id, event.settings) }
        worker.send(event)
    }

    /** Opens a package's chat; anything that is measured ends first, for two models rarely fit. */
    fun open(installed: InstalledPackage) {
        measurements.stop()
        settings.lastOpened = installed.id
        worker.send(ChatEvent.PackageOpened(installed.id))
    }

    /** Closes the chat, which is saved, so that what is measured next has all of the memory. */
    fun prepareMeasuring() {
        closeChat()
        measurements.clear()
        exported = null
    }

    private fun closeChat() = worker.send(ChatEvent.PackageClosed)

    fun remove(installed: InstalledPackage) {
        if (openPackage()?.id == installed.id) closeChat()
        disk.execute {
            val refused = library.remove(installed.id)
            post { problem = refused?.text }
            refresh()
        }
    }

    /** Writes a benchmark's JSON to the place that the user chose. */
    fun export(report: BenchmarkReport, to: Uri) = disk.execute {
        val text = report.toJson(benchmarkAbout(context, memory, engines.threads)).write(pretty = true)
        val said = try {
            val out = context.contentResolver.openOutputStream(to, "wt") ?: throw IOException(to.toString())
            out.use { it.write(text.toByteArray()) }
            context.getString(R.string.export_done)
        } catch (error: IOException) {
            context.getString(R.string.export_failed, error.message ?: error.toString())
        }
        post { exported = said }
    }

    fun dismissProblem() {
        problem = null
    }

    fun dismissImport() {
        importing = ImportState.None
    }

    /** The package whose chat is open. */
    fun openPackage(): InstalledPackage? {
        val id = when (val state = chat) {
            ChatState.Empty -> null
            is ChatState.Loading -> state.packageId
            is ChatState.LoadFailed -> state.packageId
            else -> chatOf(state)?.packageId
        }
        return rows.firstOrNull { it.installed.id == id }?.installed
    }

    /** After the system ended the process the activity comes back as it was: so does its chat. */
    fun reopenAfterProcessDeath() {
        val last = settings.lastOpened ?: return
        if (chat == ChatState.Empty) worker.send(ChatEvent.PackageOpened(last))
    }

    fun memoryIsLow() {
        measurements.stop()
        worker.send(ChatEvent.MemoryLow)
    }

    fun cameToForeground() {
        main.removeCallbacks(leave)
        worker.send(ChatEvent.CameToForeground)
        refresh()
    }

    fun leftForeground() {
        disk.execute { worker.flush() } // the process may be ended from now on
        main.postDelayed(leave, BACKGROUND_GRACE_MS)
    }

    /** Out of sight for long: the model goes, but not in the middle of a reply, which the user still wants. */
    private val leave: Runnable = object : Runnable {
        override fun run() {
            val isWriting = chat is ChatState.Prefilling || chat is ChatState.Replying
            if (isWriting) main.postDelayed(this, BACKGROUND_GRACE_MS) else worker.send(ChatEvent.WentToBackground)
        }
    }

    private fun verdict(installed: InstalledPackage): MemoryVerdict =
        MemoryCheck.judge(installed.manifest.memory.estimatedPeakBytes, memory.availableBytes, memory.mostBytes)

    private fun post(change: () -> Unit) {
        main.post { change() }
    }

    private fun show(state: ChatState) {
        chat = state
        residentBytes = memory.residentBytes
    }

    /** Shows the newest of many states: a gigabyte is read in far more pieces than a screen can draw. */
    private fun showSoon(state: ImportState) {
        if (nextImport.getAndSet(state) == null) post { nextImport.getAndSet(null)?.let { importing = it } }
    }
}

/** The app's private folder of packages. */
private class FolderStore(override val folder: File) : PackageStore {
    override fun freeBytes(): Long = folder.usableSpace
}
