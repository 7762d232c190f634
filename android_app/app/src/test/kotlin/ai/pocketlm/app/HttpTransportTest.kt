// The platform's HTTP client behind the core's Transport, against a server on this machine.
package ai.pocketlm.app

import java.io.IOException
import org.junit.After
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertThrows
import org.junit.Test

class HttpTransportTest {
    private val bytes = ByteArray(5000) { (it * 7).toByte() }
    private var asked: Map<String, String> = emptyMap()
    private val server = LittleServer { request ->
        asked = request.headers
        when (request.path) {
            "/package.zip" -> part(request.headers["range"])
            "/moved" -> Answer(302, mapOf("Location" to "/package.zip"))
            else -> Answer(404, body = "gone!".toByteArray())
        }
    }

    private fun part(range: String?): Answer {
        val from = range?.removePrefix("bytes=")?.removeSuffix("-")?.toInt() ?: 0
        val body = bytes.copyOfRange(from, bytes.size)
        return Answer(if (range == null) 200 else 206, mapOf("ETag" to "\"one\""), body)
    }

    @After
    fun stop() = server.close()

    @Test
    fun `a body comes whole, with the server's headers`() {
        HttpTransport().get("${server.address}/package.zip", emptyMap()).use {
            assertEquals(200, it.status)
            assertEquals("\"one\"", it.header("etag"))
            assertEquals("5000", it.header("content-length"))
            assertArrayEquals(bytes, it.body.readBytes())
        }
    }

    @Test
    fun `a range is asked for as given, and nothing is packed on the way`() {
        val headers = mapOf("Range" to "bytes=4000-", "If-Range" to "\"one\"")
        HttpTransport().get("${server.address}/package.zip", headers).use {
            assertEquals(206, it.status)
            assertArrayEquals(bytes.copyOfRange(4000, 5000), it.body.readBytes())
        }
        assertEquals("\"one\"", asked["if-range"])
        assertEquals("identity", asked["accept-encoding"])
    }

    @Test
    fun `a redirection is followed`() {
        HttpTransport().get("${server.address}/moved", emptyMap()).use {
            assertEquals(200, it.status)
            assertEquals(5000, it.body.readBytes().size)
        }
    }

    @Test
    fun `an error is an answer with its status, not an exception`() {
        HttpTransport().get("${server.address}/missing", emptyMap()).use {
            assertEquals(404, it.status)
            assertEquals("gone!", it.body.readBytes().decodeToString())
            assertNull(it.header("etag"))
        }
    }

    @Test
    fun `a server that is not there is an IOException`() {
        val address = "${server.address}/package.zip"
        server.close()
        assertThrows(IOException::class.java) { HttpTransport().get(address, emptyMap()) }
        assertThrows(IOException::class.java) { HttpTransport().get("file:///etc/hosts", emptyMap()) }
    }
}
