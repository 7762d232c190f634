// A web server of one page for tests: Android's unit tests see no com.sun.net.httpserver.
package ai.pocketlm.app

import java.io.Closeable
import java.io.IOException
import java.net.InetAddress
import java.net.ServerSocket
import java.net.Socket
import kotlin.concurrent.thread

/** A request: its path and headers, names in lower case. */
class Request(val path: String, val headers: Map<String, String>)

/** An answer; the body's length is sent with it. */
class Answer(val status: Int, val headers: Map<String, String> = emptyMap(), val body: ByteArray = ByteArray(0))

/** Answers one request after the other, a connection each. */
class LittleServer(private val answer: (Request) -> Answer) : Closeable {
    private val socket = ServerSocket(0, 10, InetAddress.getByName("127.0.0.1"))

    val address: String get() = "http://127.0.0.1:${socket.localPort}"

    init {
        thread(isDaemon = true) {
            try {
                while (true) socket.accept().use(::serve)
            } catch (closed: IOException) {
                // The test is over.
            }
        }
    }

    private fun serve(client: Socket) {
        val lines = client.getInputStream().bufferedReader()
        val path = lines.readLine()?.split(' ')?.getOrNull(1) ?: return
        val headers = generateSequence { lines.readLine()?.ifEmpty { null } }
            .associate { it.substringBefore(':').lowercase() to it.substringAfter(':').trim() }
        val given = answer(Request(path, headers))
        val head = given.headers + mapOf("Content-Length" to "${given.body.size}", "Connection" to "close")
        val out = client.getOutputStream()
        out.write("HTTP/1.1 ${given.status} Said\r\n".toByteArray())
        for ((name, value) in head) out.write("$name: $value\r\n".toByteArray())
        out.write("\r\n".toByteArray())
        out.write(given.body)
        out.flush()
    }

    override fun close() = socket.close()
}
