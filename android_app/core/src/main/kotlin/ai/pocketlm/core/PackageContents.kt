// What a package source holds, looked at before anything is copied: a zip's entries or a folder's files.
package ai.pocketlm.core

import java.io.File
import java.io.IOException
import java.io.InputStream

private const val PROGRAM_MARK_AT = 4L // "ET" and two digits, flatbuffers' file identifier

/** What the user knows a source by. */
internal fun nameOf(source: PackageSource): String =
    when (source) {
        is PackageSource.Folder -> source.folder.name
        is PackageSource.Zip -> source.name
    }

/** The files of a source by their path; closed by whoever opened it. */
internal interface PackageContents {
    /** Bytes of a zip, which bounds what may come out of it; null for a folder. */
    val zipBytes: Long?

    /** A file's bytes, or null when there is none. */
    fun size(path: String): Long?

    fun open(path: String): InputStream

    /** Whether files may be moved out of the source instead of being copied. */
    val isMovable: Boolean get() = false

    /** Moves a file out of the source; false when that cannot be. */
    fun move(path: String, target: File): Boolean = false

    /** Removes what is left of a source whose files were moved: the manifest, and its folders where they are empty. */
    fun clear() = Unit

    /** Whether a file of the source can be renamed to `target`: the same volume. Tried with an empty file. */
    fun canMove(target: File): Boolean = false

    companion object {
        /** Throws `PocketError` with the refusal of what is no package or hostile, `IOException` if unreadable. */
        fun of(source: PackageSource): PackageContents =
            when (source) {
                is PackageSource.Folder -> folder(source)
                is PackageSource.Zip -> zip(source)
            }

        private fun folder(source: PackageSource.Folder): PackageContents {
            if (!File(source.folder, MANIFEST_NAME).isFile) {
                throw PocketError(refusal(SentenceKey.NOT_A_PACKAGE_FOLDER, "name" to source.folder.name))
            }
            return FolderContents(source)
        }

        private fun zip(source: PackageSource.Zip): PackageContents {
            val name = "name" to source.name
            if (head(source.bytes, 0, 2) != "PK") {
                val isProgram = head(source.bytes, PROGRAM_MARK_AT, 2) == "ET" || source.name.endsWith(".pte")
                val key = if (isProgram) SentenceKey.PROGRAM_ALONE else SentenceKey.NOT_A_PACKAGE_FILE
                throw PocketError(refusal(key, name))
            }
            val reader = ZipReader.open(source.bytes)
            if (MANIFEST_NAME in reader.byName) return ZipContents(source, reader)
            val inner = reader.byName.keys.filter { it.endsWith("/$MANIFEST_NAME") && it.count { c -> c == '/' } == 1 }
            val folder = inner.minOrNull()?.substringBefore('/')
                ?: throw PocketError(refusal(SentenceKey.NOT_A_PACKAGE_FILE, name))
            throw PocketError(refusal(SentenceKey.ZIP_IN_FOLDER, "folder" to folder))
        }

        private fun head(bytes: ByteSource, at: Long, count: Int): String {
            val buffer = ByteArray(count)
            val read = if (bytes.size < at + count) 0 else bytes.read(at, buffer, 0, count)
            return if (read == count) String(buffer, Charsets.ISO_8859_1) else ""
        }
    }
}

private class ZipContents(source: PackageSource.Zip, private val reader: ZipReader) : PackageContents {
    override val zipBytes = source.bytes.size

    override fun size(path: String): Long? = reader.byName[path]?.size

    override fun open(path: String): InputStream =
        reader.open(reader.byName[path] ?: throw IOException("$path is not in the zip"))
}

private class FolderContents(private val source: PackageSource.Folder) : PackageContents {
    override val zipBytes: Long? = null

    override fun size(path: String): Long? = file(path).takeIf { it.isFile }?.length()

    override fun open(path: String): InputStream = file(path).inputStream()

    override val isMovable: Boolean get() = source.isMovable

    override fun move(path: String, target: File): Boolean = isMovable && file(path).renameTo(target)

    override fun clear() {
        file(MANIFEST_NAME).delete()
        source.folder.walkBottomUp().filter { it.isDirectory }.forEach { it.delete() } // goes only where it is empty
    }

    override fun canMove(target: File): Boolean {
        if (!isMovable) return false
        val probe = file(PROBE_NAME)
        return try {
            probe.createNewFile() && probe.renameTo(target)
        } catch (_: IOException) {
            false
        } finally {
            probe.delete()
        }
    }

    private fun file(path: String) = File(source.folder, path)
}
