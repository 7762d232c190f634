// Fetches over HTTP with the platform's own client. Plain Java: a JUnit test runs it against a local server.
package ai.pocketlm.app

import ai.pocketlm.core.Transport
import ai.pocketlm.core.TransportResponse
import java.io.ByteArrayInputStream
import java.io.IOException
import java.net.HttpURLConnection
import java.net.URL

private const val CONNECT_TIMEOUT_MS = 15_000
private const val READ_TIMEOUT_MS = 30_000

/**
 * `HttpURLConnection` behind the core's `Transport`.
 *
 * It follows redirects that keep the scheme, so none leads from https to http. The body comes as it is on the server
 * (`identity`): a transparently unpacked one would not fit the byte ranges of a resumed download.
 */
class HttpTransport : Transport {
    override fun get(url: String, headers: Map<String, String>): TransportResponse {
        val connection = URL(url).openConnection() as? HttpURLConnection ?: throw IOException("$url is no web address")
        connection.connectTimeout = CONNECT_TIMEOUT_MS
        connection.readTimeout = READ_TIMEOUT_MS
        connection.instanceFollowRedirects = true
        connection.useCaches = false
        connection.setRequestProperty("Accept-Encoding", "identity")
        for ((name, value) in headers) connection.setRequestProperty(name, value)
        val status = connection.responseCode
        val isError = status >= HttpURLConnection.HTTP_BAD_REQUEST
        val body = if (isError) connection.errorStream ?: ByteArrayInputStream(ByteArray(0)) else connection.inputStream
        return TransportResponse(status, headersOf(connection), body)
    }

    /** The last value of each header; the status line, which has no name, is left out. */
    private fun headersOf(connection: HttpURLConnection): Map<String, String> =
        connection.headerFields.entries
            .filter { (name, values) -> name != null && values.isNotEmpty() }
            .associate { (name, values) -> name to values.last() }
}
