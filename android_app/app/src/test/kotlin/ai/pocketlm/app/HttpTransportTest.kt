// The platform's HTTP client behind the core's Transport, against a server on this machine.
package ai.pocketlm.app

import com.sun.net.httpserver.HttpExchange
import com.sun.net.httpserver.HttpServer
import java.io.IOException
import java.net.InetSocketAddress
import org.junit.After
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertThrows
import org.junit.Test

class HttpTransportTest {
    private val bytes = ByteArray(5000) { (it * 7).toByte() }
    private var asked: Map<String, List<String>> = emptyMap()
    private val server = HttpServer.create(InetSocketAddress("127.0.0.1", 0), 0).apply {
        createContext("/package.zip") { answer(it) }
        createContext("/moved") {
            it.responseHeaders.add("Location", "/package.zip")
            it.sendResponseHeaders(302, -1)
            it.close()
        }
        createContext("/missing") {
            it.sendResponseHeaders(404, 5)
            it.responseBody.use { body -> body.write("gone!".toByteArray()) }
        }
        start()
    }

    private fun answer(exchange: HttpExchange) {
        asked = exchange.requestHeaders.toMap()
        exchange.responseHeaders.add("ETag", "\"one\"")
        val range = exchange.requestHeaders.getFirst("Range")
        val from = range?.removePrefix("bytes=")?.removeSuffix("-")?.toInt() ?: 0
        exchange.sendResponseHeaders(if (range == null) 200 else 206, (bytes.size - from).toLong())
        exchange.responseBody.use { it.write(bytes, from, bytes.size - from) }
    }

    private fun url(path: String) = "http://127.0.0.1:${server.address.port}$path"

    @After
    fun stop() = server.stop(0)

    @Test
    fun `a body comes whole, with the server's headers`() {
        HttpTransport().get(url("/package.zip"), emptyMap()).use {
            assertEquals(200, it.status)
            assertEquals("\"one\"", it.header("etag"))
            assertEquals("5000", it.header("content-length"))
            assertArrayEquals(bytes, it.body.readBytes())
        }
    }

    @Test
    fun `a range is asked for as given, and nothing is packed on the way`() {
        val headers = mapOf("Range" to "bytes=4000-", "If-Range" to "\"one\"")
        HttpTransport().get(url("/package.zip"), headers).use {
            assertEquals(206, it.status)
            assertArrayEquals(bytes.copyOfRange(4000, 5000), it.body.readBytes())
        }
        val names = asked.mapKeys { it.key.lowercase() }
        assertEquals(listOf("\"one\""), names["if-range"])
        assertEquals(listOf("identity"), names["accept-encoding"])
    }

    @Test
    fun `a redirection is followed`() {
        HttpTransport().get(url("/moved"), emptyMap()).use {
            assertEquals(200, it.status)
            assertEquals(5000, it.body.readBytes().size)
        }
    }

    @Test
    fun `an error is an answer with its status, not an exception`() {
        HttpTransport().get(url("/missing"), emptyMap()).use {
            assertEquals(404, it.status)
            assertEquals("gone!", it.body.readBytes().decodeToString())
            assertNull(it.header("etag"))
        }
    }

    @Test
    fun `a server that is not there is an IOException`() {
        val address = url("/package.zip")
        server.stop(0)
        assertThrows(IOException::class.java) { HttpTransport().get(address, emptyMap()) }
        assertThrows(IOException::class.java) { HttpTransport().get("file:///etc/hosts", emptyMap()) }
    }
}
