// What the installation of a package goes through, and what comes of it.
package ai.pocketlm.core

import java.io.File
import java.io.InputStream
import java.io.RandomAccessFile

/**
 * Why something was not done: a key of the sentence table, and the sentence for the user with a next step.
 *
 * @property key null where the sentence is one of the ports of chat/.
 */
data class Refusal(val key: SentenceKey?, val text: String) {
    companion object {
        /** Of any failure: a `PocketError`'s own sentence; anything else is told as `engineFailed`. */
        fun of(error: Throwable): Refusal =
            when (error) {
                is PocketError -> Refusal(error.key, Sentences.asSentence(error.message))
                else -> refusal(SentenceKey.ENGINE_FAILED, "reason" to (error.message ?: error.javaClass.simpleName))
            }
    }
}

/** The states of one installation; the last is `Installed` or `Refused`. Counts are bytes. */
sealed interface InstallState {
    data object CheckingSpace : InstallState

    data class Unpacking(val done: Long, val total: Long) : InstallState

    data class Verifying(val done: Long, val total: Long) : InstallState

    /** The finished folder is being renamed into its place. */
    data object Moving : InstallState

    data class Installed(val installed: InstalledPackage) : InstallState

    data class Refused(val refusal: Refusal) : InstallState
}

/** A package that lies verified in the packages folder. */
data class InstalledPackage(val id: PackageId, val folder: File, val manifest: Manifest) {
    /** What the list calls it: its preset, or the family that it comes from. */
    val name: String get() = manifest.model.preset ?: manifest.model.family

    /** The program to load. */
    val program: File get() = File(folder, manifest.files.first { it.role == "program" }.path)

    val tokenizer: File get() = File(folder, manifest.tokenizer.file)

    val licences: List<File> get() = manifest.files.filter { it.role == "licence" }.map { File(folder, it.path) }

    /** Bytes of all its files, the manifest not counted. */
    val bytes: Long get() = manifest.files.sumOf { it.bytes }
}

/** Where a package comes from. */
sealed interface PackageSource {
    /**
     * A zip, on disk or behind a content provider; it stays where it is.
     *
     * @property name what the user knows it by.
     */
    data class Zip(val bytes: ByteSource, val name: String) : PackageSource {
        constructor(file: File) : this(FileBytes(file), file.name)
    }

    /**
     * A package's folder, pushed over the cable.
     *
     * @property isMovable whether its files may be moved instead of copied, which saves the space of a second copy.
     */
    data class Folder(val folder: File, val isMovable: Boolean) : PackageSource
}

/** Bytes that can be read from anywhere, by one thread at a time. */
interface ByteSource {
    val size: Long

    /** Reads up to `count` bytes at `position` into `buffer` from `offset` on; the number read, -1 at the end. */
    fun read(position: Long, buffer: ByteArray, offset: Int, count: Int): Int
}

/** A file's bytes; it is opened for each read, so that nothing is left open. */
class FileBytes(private val file: File) : ByteSource {
    override val size: Long get() = file.length()

    override fun read(position: Long, buffer: ByteArray, offset: Int, count: Int): Int =
        RandomAccessFile(file, "r").use {
            it.seek(position)
            it.read(buffer, offset, count)
        }
}

/** The folder that packages live in, and what can be asked of the device about it. */
interface PackageStore {
    /** Holds a folder for each package, named by `PackageId.short`, and hidden folders of unfinished work. */
    val folder: File

    /** Bytes that may still be written there. */
    fun freeBytes(): Long
}

/** What a URL download goes through. Counts are bytes. */
sealed interface DownloadState {
    data object Waiting : DownloadState

    /** `total` is null when the server does not say. */
    data class Receiving(val done: Long, val total: Long?) : DownloadState

    /** Stopped by the user or the network; the next start goes on from here. */
    data class Paused(val done: Long) : DownloadState

    data class Finished(val file: File) : DownloadState

    data class Refused(val refusal: Refusal) : DownloadState
}

/** One answer of a server. Close the body in any case. */
class TransportResponse(
    val status: Int,
    private val headers: Map<String, String>,
    val body: InputStream,
) : AutoCloseable {
    /** A header's value; names are compared without case. */
    fun header(name: String): String? = headers.entries.firstOrNull { it.key.equals(name, ignoreCase = true) }?.value

    override fun close() = body.close()
}

/** Whatever can send a GET request and follows redirects; the only part of a download that knows a network. */
fun interface Transport {
    /** Throws `java.io.IOException` when the server cannot be reached or the line breaks. */
    fun get(url: String, headers: Map<String, String>): TransportResponse
}
