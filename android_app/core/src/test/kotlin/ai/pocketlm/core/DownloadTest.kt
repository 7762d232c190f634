package ai.pocketlm.core

import ai.pocketlm.e2e.at
import ai.pocketlm.e2e.flag
import ai.pocketlm.e2e.items
import ai.pocketlm.e2e.number
import ai.pocketlm.e2e.orNull
import ai.pocketlm.e2e.refusalOf
import ai.pocketlm.e2e.text
import ai.pocketlm.e2e.texts
import java.io.File
import java.io.IOException
import java.io.InputStream
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

/** Downloads against a server that follows a script. */
class DownloadTest {
    @get:Rule
    val temporary = TemporaryFolder()

    @Test
    fun downloads() = Vectors.check("download") { case ->
        val folder = temporary.newFolder()
        val url = case.text("url")
        val name = ".download-" + Sha256.of(url.toByteArray()).take(16)
        val part = File(folder, "$name.part")
        val validator = File(folder, "$name.validator")
        hex(case.at("before").at("received_hex").text()).let { if (it.isNotEmpty()) part.writeBytes(it) }
        case.at("before").at("validator").orNull()?.let { validator.writeText(it.text()) }
        val server = ScriptedServer(case.at("exchanges").items())
        val stopAt = case.at("cancel_after").orNull()?.number()
        var received = 0L
        val last = Download(server, folder) { case.number("free_bytes") }.run(
            url,
            isCancelled = { stopAt != null && received >= stopAt },
            onState = { if (it is DownloadState.Receiving) received = it.done },
        )
        assertEquals(case.expected.at("requests").items(), server.requests)
        checkLast(case.expected.at("final"), last, part)
        assertEquals(case.expected.at("received_hex").text(), hexOf(part))
        assertEquals(case.expected.at("validator").orNull()?.text(), validator.takeIf { it.isFile }?.readText())
    }

    private fun checkLast(expected: Json, last: DownloadState, part: File) {
        val state = when (expected.at("state").text()) {
            "finished" -> DownloadState.Finished(part)
            "paused" -> DownloadState.Paused(expected.at("done").number())
            else -> DownloadState.Refused(refusalOf(expected))
        }
        assertEquals(state, last)
    }

    private fun hexOf(file: File): String =
        if (file.isFile) file.readBytes().joinToString("") { "%02x".format(it) } else ""

    @Test
    fun aDiscardedDownloadLeavesNothing() {
        val folder = temporary.newFolder()
        val case = Vectors.cases("download").first { it.name == "in one piece" }
        val server = ScriptedServer(case.at("exchanges").items())
        val download = Download(server, folder) { 1L shl 40 }
        assertTrue(download.run("https://example.org/nano.zip") is DownloadState.Finished)
        download.discard("https://example.org/nano.zip")
        assertEquals(emptyList<String>(), pathsBelow(folder))
    }

    @Test
    fun aFileIsKnownByTheLastPartOfItsAddress() {
        assertEquals("nano.zip", Download.fileName("https://example.org/a/nano.zip?token=1#x"))
        assertEquals("package.zip", Download.fileName(""))
    }
}

private class ScriptedServer(exchanges: List<Json>) : Transport {
    private val exchanges = ArrayDeque(exchanges)
    val requests = mutableListOf<Json>()

    override fun get(url: String, headers: Map<String, String>): TransportResponse {
        requests += Json.of("range" to textOrNull(headers["Range"]), "if_range" to textOrNull(headers["If-Range"]))
        val answer = exchanges.removeFirst()
        val status = answer.at("status").orNull()?.number()?.toInt() ?: throw IOException("no network")
        val given = (answer.at("headers") as Json.Object).entries.mapValues { it.value.text() }
        return TransportResponse(status, given, ScriptedBody(answer))
    }

    private fun textOrNull(text: String?): Json = text?.let { Json.Text(it) } ?: Json.Null
}

/** Gives a chunk a read; then it ends or breaks. */
private class ScriptedBody(answer: Json) : InputStream() {
    private val chunks = ArrayDeque(answer.at("body_hex").texts().map(::hex))
    private val breaks = answer.at("breaks").flag()

    override fun read(): Int = error("read in blocks")

    override fun read(buffer: ByteArray, offset: Int, count: Int): Int {
        val chunk = chunks.removeFirstOrNull() ?: if (breaks) throw IOException("the line broke") else return -1
        chunk.copyInto(buffer, offset)
        return chunk.size
    }
}
