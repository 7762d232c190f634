// The sha256 of a file, streamed.
package ai.pocketlm.core

import java.io.File
import java.io.InputStream
import java.security.MessageDigest

internal const val BLOCK_BYTES = 1 shl 20

object Sha256 {
    fun of(bytes: ByteArray): String = spelled(MessageDigest.getInstance("SHA-256").digest(bytes))

    /** The hash of a file; `onBytes` is told the bytes read since the last call, and may throw to end it. */
    fun of(file: File, onBytes: (Long) -> Unit = {}): String = file.inputStream().use { of(it, onBytes) }

    fun of(input: InputStream, onBytes: (Long) -> Unit = {}): String {
        val digest = MessageDigest.getInstance("SHA-256")
        val block = ByteArray(BLOCK_BYTES)
        while (true) {
            val count = input.read(block)
            if (count < 0) return spelled(digest.digest())
            digest.update(block, 0, count)
            onBytes(count.toLong())
        }
    }

    private fun spelled(digest: ByteArray): String = digest.joinToString("") { "%02x".format(it) }
}
