// Fetches a package by URL so that a broken connection costs only what was under way.
//
// Ranges and validators by RFC 9110: 13.1.5 (If-Range takes a strong ETag or a date), 14.4 (Content-Range), 15.5.17
// (416).
package ai.pocketlm.core

import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.net.URI
import java.net.URISyntaxException

private const val MOST_FRUITLESS = 3 // attempts in a row that brought nothing; then it is paused
private val RANGE = Regex("bytes (\\d{1,18})-(\\d{1,18})/(\\d{1,18}|\\*)")
private val UNSATISFIED = Regex("bytes \\*/(\\d{1,18})")

/**
 * Downloads into a folder; the part that is there and its server's validator stay until [discard].
 *
 * @param folder where parts are kept.
 * @param freeBytes bytes that may still be written there.
 */
class Download(private val transport: Transport, private val folder: File, private val freeBytes: () -> Long) {
    /**
     * Goes on with an earlier run of the same address, or begins, on the calling thread.
     *
     * @param isCancelled asked after every block; when it says yes the download is paused.
     * @param onState told every state, the last one included.
     * @return the last state: `Finished`, `Paused` or `Refused`.
     */
    fun run(url: String, isCancelled: () -> Boolean = { false }, onState: (DownloadState) -> Unit = {}): DownloadState {
        onState(DownloadState.Waiting)
        val host = hostOf(url)
        val last = when (host) {
            null -> DownloadState.Refused(refusal(SentenceKey.URL_NOT_HTTPS, "url" to url))
            else -> DownloadRun(transport, Part(folder, url), host, freeBytes, isCancelled, onState).run()
        }
        onState(last)
        return last
    }

    /** Removes what was received of an address. */
    fun discard(url: String) = Part(folder, url).discard()

    companion object {
        /** What a user knows the file of an address by: the last part of its path. */
        fun fileName(url: String): String =
            url.substringBefore('?').substringBefore('#').trimEnd('/').substringAfterLast('/').ifEmpty { "package.zip" }
    }
}

private fun hostOf(url: String): String? =
    try {
        URI(url).takeIf { it.scheme.equals("https", ignoreCase = true) }?.host?.lowercase()?.ifEmpty { null }
    } catch (_: URISyntaxException) {
        null
    }

/** What was received of an address, and the validator of its server; null: it cannot be gone on with. */
private class Part(private val folder: File, val url: String) {
    private val name = ".download-" + Sha256.of(url.toByteArray()).take(16)
    private val validatorFile = File(folder, "$name.validator")
    val file = File(folder, "$name.part")

    val length: Long get() = file.length()

    var validator: String?
        get() = if (validatorFile.isFile) validatorFile.readText() else null
        set(value) {
            if (value == null) validatorFile.delete() else writeAtomically(validatorFile, value)
        }

    fun prepare() {
        if (!folder.isDirectory && !folder.mkdirs()) throw IOException("${folder.name} cannot be made")
    }

    fun discard() {
        validatorFile.delete()
        file.delete()
    }
}

/** Ends a download with its last state. */
private class Ended(val state: DownloadState) : Exception()

private class DownloadRun(
    private val transport: Transport,
    private val part: Part,
    private val host: String,
    private val freeBytes: () -> Long,
    private val isCancelled: () -> Boolean,
    private val onState: (DownloadState) -> Unit,
) {
    fun run(): DownloadState {
        var fruitless = 0
        try {
            storing { part.prepare() }
            while (fruitless < MOST_FRUITLESS) {
                val before = part.length
                attempt()
                fruitless = if (part.length > before) 0 else fruitless + 1
                if (isCancelled()) break
            }
        } catch (end: Ended) {
            return end.state
        }
        return DownloadState.Paused(part.length)
    }

    /** One request and its body; returns when another one is needed. */
    private fun attempt() {
        val validator = storing { part.validator }
        if (validator == null) part.discard()
        val done = part.length
        val headers = if (done > 0) mapOf("Range" to "bytes=$done-", "If-Range" to validator.orEmpty()) else emptyMap()
        val response = try {
            transport.get(part.url, headers)
        } catch (_: IOException) {
            return
        }
        response.use { answer ->
            if (answer.status == 416 && done > 0) return unsatisfied(answer, done)
            val total = when {
                answer.status == 206 && done > 0 -> partial(answer, done) ?: return
                answer.status == 200 -> startAnew(answer)
                else -> refuse(refused(answer.status))
            }
            checkSpace(total)
            receive(answer, total)
        }
    }

    private fun unsatisfied(answer: TransportResponse, done: Long) {
        val size = UNSATISFIED.matchEntire(answer.header("Content-Range").orEmpty())?.groupValues?.get(1)?.toLong()
        if (size == done) throw Ended(DownloadState.Finished(part.file))
        part.discard()
    }

    /** The file's size, or `Total(null)` where the server does not say; null: not the part that was asked for. */
    private fun partial(answer: TransportResponse, done: Long): Total? {
        val range = RANGE.matchEntire(answer.header("Content-Range").orEmpty())
        if (range == null || range.groupValues[1].toLong() != done) {
            part.discard()
            return null
        }
        return Total(range.groupValues[3].toLongOrNull())
    }

    private fun startAnew(answer: TransportResponse): Total {
        part.discard()
        val tag = answer.header("ETag")?.takeIf { !it.startsWith("W/") }
        storing { part.validator = tag ?: answer.header("Last-Modified") }
        return Total(answer.header("Content-Length")?.toLongOrNull())
    }

    private fun refused(status: Int): Refusal {
        val key = when {
            status == 401 || status == 403 -> SentenceKey.DOWNLOAD_FORBIDDEN
            status == 404 || status == 410 -> SentenceKey.DOWNLOAD_NOT_FOUND
            status == 429 || status >= 500 -> SentenceKey.DOWNLOAD_SERVER_ERROR
            else -> SentenceKey.DOWNLOAD_REFUSED
        }
        return refusal(key, "host" to host, "status" to status)
    }

    private fun checkSpace(total: Total) {
        val needed = (total.bytes ?: return) - part.length
        val free = freeBytes()
        if (needed <= free) return
        val sizes = listOf("needed" to needed, "free" to free, "missing" to needed - free)
        val spelled = sizes.map { (name, bytes) -> name to Sentences.size(bytes) }.toTypedArray()
        refuse(refusal(SentenceKey.DOWNLOAD_NO_SPACE, *spelled))
    }

    private fun receive(answer: TransportResponse, total: Total) {
        var done = part.length
        onState(DownloadState.Receiving(done, total.bytes))
        val block = ByteArray(1 shl 16)
        val output = storing { FileOutputStream(part.file, true) }
        output.use {
            while (true) {
                val count = try {
                    answer.body.read(block)
                } catch (_: IOException) {
                    return // the line broke; what was received is kept
                }
                if (count < 0) break
                check(block, count, done, total)
                storing { output.write(block, 0, count) }
                done += count
                onState(DownloadState.Receiving(done, total.bytes))
                if (isCancelled()) throw Ended(DownloadState.Paused(done))
            }
            storing { output.fd.sync() }
        }
        if (total.bytes == null || done == total.bytes) throw Ended(DownloadState.Finished(part.file))
    }

    /** Refuses, and drops what was received, when it is no zip or more than was announced. */
    private fun check(block: ByteArray, count: Int, done: Long, total: Total) {
        val isZip = "PK".withIndex().all { (at, letter) ->
            val index = at - done
            index < 0 || index >= count || block[index.toInt()] == letter.code.toByte()
        }
        val refusal = when {
            !isZip -> refusal(SentenceKey.DOWNLOAD_NOT_A_ZIP)
            total.bytes != null && done + count > total.bytes ->
                refusal(SentenceKey.DOWNLOAD_TOO_LONG, "host" to host, "wanted" to total.bytes)
            else -> return
        }
        part.discard()
        refuse(refusal)
    }

    private fun refuse(refusal: Refusal): Nothing = throw Ended(DownloadState.Refused(refusal))

    private fun <T> storing(block: () -> T): T =
        try {
            block()
        } catch (error: IOException) {
            refuse(refusal(SentenceKey.STORAGE_FAILED, "reason" to (error.message ?: error.javaClass.simpleName)))
        }
}

/** The whole file's bytes; null where the server does not say. */
private class Total(val bytes: Long?)
