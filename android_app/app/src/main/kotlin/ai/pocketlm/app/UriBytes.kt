// A file that another app lends: read where it lies, so that a package is never on the phone twice.
package ai.pocketlm.app

import ai.pocketlm.core.ByteSource
import android.content.ContentResolver
import android.net.Uri
import android.os.ParcelFileDescriptor
import android.provider.OpenableColumns
import java.io.Closeable
import java.io.File
import java.io.FileInputStream
import java.io.FileOutputStream
import java.io.IOException
import java.nio.ByteBuffer

private const val COPY_BYTES = 1 shl 16

/** The bytes behind a content address, at any position. Close it. */
class UriBytes private constructor(
    private val descriptor: ParcelFileDescriptor,
    override val size: Long,
    private val onClose: () -> Unit,
) : ByteSource, Closeable {
    private val input = FileInputStream(descriptor.fileDescriptor)

    override fun read(position: Long, buffer: ByteArray, offset: Int, count: Int): Int =
        input.channel.read(ByteBuffer.wrap(buffer, offset, count), position)

    override fun close() {
        input.close()
        descriptor.close()
        onClose()
    }

    companion object {
        /**
         * Opens what the address leads to.
         *
         * An app that keeps its files elsewhere (a cloud) may lend a stream that cannot be read twice; that is copied
         * into `folder` first, and the copy is removed by `close`.
         *
         * @param onCopied is told the bytes copied so far.
         * @throws IOException the other app does not give the file; the message says what it said.
         */
        fun open(resolver: ContentResolver, uri: Uri, folder: File, onCopied: (Long) -> Unit): UriBytes {
            val descriptor = describe(resolver, uri)
            if (descriptor.statSize >= 0) return UriBytes(descriptor, descriptor.statSize) {}
            val copy = File.createTempFile("lent", ".zip", folder)
            try {
                FileInputStream(descriptor.fileDescriptor).use { from -> copy(from, copy, onCopied) }
                descriptor.close()
                val own = ParcelFileDescriptor.open(copy, ParcelFileDescriptor.MODE_READ_ONLY)
                return UriBytes(own, own.statSize) { copy.delete() }
            } catch (error: IOException) {
                copy.delete()
                throw error
            }
        }

        private fun describe(resolver: ContentResolver, uri: Uri): ParcelFileDescriptor =
            try {
                resolver.openFileDescriptor(uri, "r") ?: throw IOException("the other app gives no file")
            } catch (error: SecurityException) {
                throw IOException("the other app no longer lends the file", error)
            }

        private fun copy(from: FileInputStream, to: File, onCopied: (Long) -> Unit) {
            val buffer = ByteArray(COPY_BYTES)
            var done = 0L
            FileOutputStream(to).use { out ->
                while (true) {
                    val count = from.read(buffer)
                    if (count < 0) return
                    out.write(buffer, 0, count)
                    done += count
                    onCopied(done)
                }
            }
        }
    }
}

/** The name that the lending app shows for a file, or the address's last part. */
fun ContentResolver.displayName(uri: Uri): String {
    val cursor = try {
        query(uri, arrayOf(OpenableColumns.DISPLAY_NAME), null, null, null)
    } catch (error: SecurityException) {
        null
    }
    cursor?.use { if (it.moveToFirst() && !it.isNull(0)) return it.getString(0) }
    return uri.lastPathSegment ?: uri.toString()
}
