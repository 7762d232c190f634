// Brings packages in: from a file that another app lends, from an address, from the folder that a cable fills.
package ai.pocketlm.app

import ai.pocketlm.core.Download
import ai.pocketlm.core.DownloadState
import ai.pocketlm.core.FileBytes
import ai.pocketlm.core.InstallState
import ai.pocketlm.core.Installer
import ai.pocketlm.core.PackageSource
import ai.pocketlm.core.SentenceKey
import ai.pocketlm.core.refusal
import android.content.ContentResolver
import android.net.Uri
import java.io.File
import java.io.IOException
import java.util.concurrent.Executor
import java.util.concurrent.atomic.AtomicBoolean

/** What is being brought in, and how far it is. `name` is what the user knows it by. */
sealed interface ImportState {
    val name: String

    /** Whether something still happens. */
    val isRunning: Boolean

    data object None : ImportState {
        override val name = ""
        override val isRunning = false
    }

    /** A lent stream that cannot be read twice is copied first; `done` in bytes. */
    data class Copying(override val name: String, val done: Long) : ImportState {
        override val isRunning = true
    }

    data class Downloading(override val name: String, val state: DownloadState) : ImportState {
        override val isRunning = state !is DownloadState.Paused && state !is DownloadState.Refused
    }

    data class Installing(override val name: String, val state: InstallState) : ImportState {
        override val isRunning = state !is InstallState.Installed && state !is InstallState.Refused
    }
}

/** A package, as a folder or a zip, that lies in the cable's folder. */
data class CableSource(val file: File) {
    val name: String get() = file.name

    /** A folder's files are moved, not copied: they lie on the same storage and nobody else needs them. */
    fun source(): PackageSource =
        if (file.isDirectory) PackageSource.Folder(file, isMovable = true) else PackageSource.Zip(file)
}

/**
 * One import at a time; one asked for while another runs waits for its end.
 *
 * @param cableFolder what `adb push` may write to.
 * @param workFolder for copies and downloads under way, on the same storage as the packages.
 * @param importer runs one task after another, off the main thread.
 * @param onState is called on the importer's thread.
 * @param onInstalled is called there when a new package is in its place.
 */
class Imports(
    private val resolver: ContentResolver,
    private val installer: Installer,
    private val download: Download,
    val cableFolder: File,
    private val workFolder: File,
    private val importer: Executor,
    private val onState: (ImportState) -> Unit,
    private val onInstalled: () -> Unit,
) {
    private var isStopped = AtomicBoolean() // of the newest import; each has its own

    /** What lies in the cable's folder; call it off the main thread. */
    fun cableSources(): List<CableSource> =
        cableFolder.listFiles { file -> file.isDirectory || file.name.endsWith(".zip") }.orEmpty()
            .sortedBy { it.name }.map { CableSource(it) }

    fun fromUri(uri: Uri) = start { stopped ->
        val name = resolver.displayName(uri)
        onState(ImportState.Copying(name, 0))
        try {
            UriBytes.open(resolver, uri, workFolder) { onState(ImportState.Copying(name, it)) }.use {
                install(name, PackageSource.Zip(it, name), stopped)
            }
        } catch (error: IOException) {
            refuse(name, error)
        }
    }

    fun fromCable(source: CableSource) = start { stopped ->
        val ended = install(source.name, source.source(), stopped)
        if (ended is InstallState.Installed) source.file.deleteRecursively()
    }

    /** Fetches a zip, going on where an earlier attempt at the address ended; installs it and removes the zip. */
    fun fromAddress(url: String) = start { stopped ->
        val name = Download.fileName(url)
        val ended = download.run(url, stopped::get) { onState(ImportState.Downloading(name, it)) }
        if (ended !is DownloadState.Finished) return@start
        val installed = install(name, PackageSource.Zip(FileBytes(ended.file), name), stopped)
        if (!isToGoOn(installed)) download.discard(url)
    }

    /** Ends the running import soon; what was received or unpacked is kept for the next attempt. */
    fun stop() = isStopped.set(true)

    private fun start(work: (AtomicBoolean) -> Unit) {
        val stopped = AtomicBoolean()
        isStopped = stopped
        importer.execute { work(stopped) }
    }

    private fun install(name: String, source: PackageSource, stopped: AtomicBoolean): InstallState {
        val ended = installer.install(source, stopped::get) { onState(ImportState.Installing(name, it)) }
        if (ended is InstallState.Installed) onInstalled()
        return ended
    }

    /** Whether the zip is worth keeping: the user or the lack of space stopped it, and nothing is wrong with it. */
    private fun isToGoOn(ended: InstallState): Boolean =
        ended is InstallState.Refused &&
            ended.refusal.key in setOf(SentenceKey.INSTALL_STOPPED, SentenceKey.NO_SPACE, SentenceKey.STORAGE_FAILED)

    private fun refuse(name: String, error: IOException) {
        val reason = error.message ?: error.toString()
        val refused = InstallState.Refused(refusal(SentenceKey.SOURCE_UNREADABLE, "name" to name, "reason" to reason))
        onState(ImportState.Installing(name, refused))
    }
}
