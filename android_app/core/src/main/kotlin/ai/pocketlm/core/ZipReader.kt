// The directory of a zip and the content of its entries, read as if it came from an enemy.
//
// Layout of records: APPNOTE.TXT 6.3.10 of PKWARE, sections 4.3 to 4.5. What is refused: docs/package.md, step 4.
package ai.pocketlm.core

import java.io.IOException
import java.io.InputStream
import java.util.zip.CRC32
import java.util.zip.DataFormatException
import java.util.zip.Inflater

private const val MAX_ENTRIES = 1000L
private const val END_BYTES = 22 // of the end record, without its comment
private const val END = 0x06054B50L
private const val END_64 = 0x06064B50L
private const val LOCATOR_64 = 0x07064B50L
private const val LOCATOR_64_BYTES = 20
private const val CENTRAL = 0x02014B50L
private const val CENTRAL_BYTES = 46
private const val LOCAL = 0x04034B50L
private const val LOCAL_BYTES = 30
private const val MAX_16 = 0xFFFFL
private const val MAX_32 = 0xFFFFFFFFL
private const val ZIP64_EXTRA = 1L
private const val ENCRYPTED = 1L
private const val STORED = 0L
private const val DEFLATED = 8L
private const val KIND_MASK = 0xF000L // of a Unix mode
private const val REGULAR = 0x8000L
private const val FOLDER = 0x4000L

/** The zip is cut off or damaged. */
internal class ZipDamage(message: String) : IOException(message)

/** One file of a zip; sizes are bytes. */
class ZipEntry internal constructor(
    val name: String,
    val size: Long,
    internal val packedSize: Long,
    internal val method: Long,
    internal val flags: Long,
    internal val mode: Long,
    internal val crc: Long,
    internal val headerAt: Long,
)

/** The entries of a zip that were looked at; throws `PocketError` with the refusal of the first hostile one. */
class ZipReader private constructor(private val source: ByteSource, val entries: List<ZipEntry>) {
    val byName: Map<String, ZipEntry> = entries.filter { !it.name.endsWith("/") }.associateBy { it.name }

    /** An entry's content: never more than `entry.size` bytes, and a `ZipDamage` when it is not that many. */
    fun open(entry: ZipEntry): InputStream {
        val header = Record(source, entry.headerAt, LOCAL_BYTES)
        if (header.u32(0) != LOCAL) throw ZipDamage("an entry has no header")
        val begin = entry.headerAt + LOCAL_BYTES + header.u16(26) + header.u16(28)
        if (entry.packedSize > source.size - begin) throw ZipDamage("an entry ends outside the file")
        val packed = SourceStream(source, begin, entry.packedSize)
        val content = if (entry.method == STORED) packed else InflatingStream(packed)
        return CheckedStream(content, entry)
    }

    companion object {
        /**
         * Reads the directory and checks every entry's name and kind.
         *
         * @throws ZipDamage the zip is cut off or damaged.
         * @throws PocketError an entry leaves the package, is a link, stands twice, is encrypted or oddly compressed.
         */
        fun open(source: ByteSource): ZipReader {
            val directory = findDirectory(source)
            if (directory.count > MAX_ENTRIES) {
                throw PocketError(
                    refusal(SentenceKey.ZIP_TOO_MANY_ENTRIES, "count" to directory.count, "most" to MAX_ENTRIES),
                )
            }
            val entries = readDirectory(source, directory)
            entries.forEach(::check)
            val twice = entries.groupingBy { it.name.lowercase() }.eachCount().entries.firstOrNull { it.value > 1 }
            if (twice != null) throw PocketError(refusal(SentenceKey.ZIP_ENTRY_TWICE, "entry" to twice.key))
            return ZipReader(source, entries)
        }
    }
}

private fun check(entry: ZipEntry) {
    val name = entry.name
    val leaves = name.startsWith("/") || ".." in name.split("/") || name.any { it in "\\:\u0000" }
    val kind = entry.mode and KIND_MASK
    val key = when {
        leaves -> SentenceKey.ZIP_ENTRY_LEAVES
        kind != 0L && kind != REGULAR && kind != FOLDER -> SentenceKey.ZIP_ENTRY_LINK
        entry.flags and ENCRYPTED != 0L -> SentenceKey.ZIP_ENTRY_ENCRYPTED
        entry.method != STORED && entry.method != DEFLATED -> SentenceKey.ZIP_ENTRY_COMPRESSION
        else -> return
    }
    throw PocketError(refusal(key, "entry" to printable(name)))
}

private fun printable(name: String): String = name.map { if (it.isISOControl()) REPLACEMENT else it }.joinToString("")

/** Where the directory lies. */
private class Directory(val count: Long, val at: Long, val bytes: Long)

private fun findDirectory(source: ByteSource): Directory {
    if (source.size < END_BYTES) throw ZipDamage("it is too short for an end record")
    val tail = minOf(source.size, END_BYTES + MAX_16).toInt()
    val begin = source.size - tail
    val record = Record(source, begin, tail)
    val at = (tail - END_BYTES downTo 0).firstOrNull { record.u32(it) == END && isEnd(record, it, tail) }
        ?: throw ZipDamage("it has no end record")
    val end = begin + at
    val plain = Directory(record.u16(at + 10), record.u32(at + 16), record.u32(at + 12))
    val directory = if (end < LOCATOR_64_BYTES) plain else wideDirectory(source, end) ?: plain
    if (directory.at < 0 || directory.bytes < 0 || directory.at > end || directory.bytes > end - directory.at) {
        throw ZipDamage("its directory lies outside the file")
    }
    return directory
}

/** Whether the comment of the end record reaches to the end of the file: else those four bytes are content. */
private fun isEnd(record: Record, at: Int, tail: Int): Boolean = at + END_BYTES + record.u16(at + 20) == tail.toLong()

/** The directory of a zip64, whose locator stands before the end record; null when there is none. */
private fun wideDirectory(source: ByteSource, end: Long): Directory? {
    val locator = Record(source, end - LOCATOR_64_BYTES, LOCATOR_64_BYTES)
    if (locator.u32(0) != LOCATOR_64) return null
    val at = locator.u64(8)
    if (at < 0 || at > end) throw ZipDamage("its zip64 record lies outside the file")
    val wide = Record(source, at, 56)
    if (wide.u32(0) != END_64) throw ZipDamage("its zip64 record is missing")
    return Directory(wide.u64(32), wide.u64(48), wide.u64(40))
}

private fun readDirectory(source: ByteSource, directory: Directory): List<ZipEntry> {
    val entries = ArrayList<ZipEntry>()
    var at = directory.at
    val end = directory.at + directory.bytes
    while (at < end) {
        if (entries.size >= directory.count || end - at < CENTRAL_BYTES) throw ZipDamage("its directory is damaged")
        val head = Record(source, at, CENTRAL_BYTES)
        if (head.u32(0) != CENTRAL) throw ZipDamage("its directory is damaged")
        val nameBytes = head.u16(28).toInt()
        val extraBytes = head.u16(30).toInt()
        val length = CENTRAL_BYTES + nameBytes + extraBytes + head.u16(32)
        if (length > end - at) throw ZipDamage("its directory is damaged")
        entries += readEntry(head, Record(source, at + CENTRAL_BYTES, nameBytes + extraBytes), nameBytes, source.size)
        at += length
    }
    if (entries.size.toLong() != directory.count) throw ZipDamage("its directory is damaged")
    return entries
}

private fun readEntry(head: Record, rest: Record, nameBytes: Int, sourceSize: Long): ZipEntry {
    val name = Utf8Joiner().let { it.push(rest.bytes(0, nameBytes)) + it.flush() }
    val wide = WideFields(rest, nameBytes)
    val size = wide.take(head.u32(24))
    val packedSize = wide.take(head.u32(20))
    val headerAt = wide.take(head.u32(42))
    val method = head.u16(10)
    if (size < 0 || packedSize < 0 || headerAt < 0 || headerAt > sourceSize - LOCAL_BYTES) {
        throw ZipDamage("an entry lies outside the file")
    }
    return ZipEntry(name, size, packedSize, method, head.u16(8), head.u32(38) ushr 16, head.u32(16), headerAt)
}

/** The 64-bit fields of an entry, which stand in the extra field 1 for those that are all ones in the record. */
private class WideFields(private val rest: Record, from: Int) {
    private var at = rest.size
    private var end = rest.size

    init {
        var field = from
        while (field + 4 <= rest.size) {
            val length = rest.u16(field + 2).toInt()
            if (rest.u16(field) == ZIP64_EXTRA) {
                at = field + 4
                end = minOf(rest.size, at + length)
                break
            }
            field += 4 + length
        }
    }

    fun take(narrow: Long): Long {
        if (narrow != MAX_32) return narrow
        if (at + 8 > end) throw ZipDamage("an entry's 64-bit size is missing")
        return rest.u64(at).also { at += 8 }
    }
}

/** Some bytes of the zip with little-endian numbers in them. */
private class Record(source: ByteSource, at: Long, val size: Int) {
    private val data = ByteArray(size)

    init {
        var done = 0
        while (done < size) {
            val count = source.read(at + done, data, done, size - done)
            if (count < 1) throw ZipDamage("it was cut off")
            done += count
        }
    }

    fun bytes(from: Int, count: Int): ByteArray = data.copyOfRange(from, from + count)

    fun u16(at: Int): Long = number(at, 2)

    fun u32(at: Int): Long = number(at, 4)

    /** Negative above 2^63 - 1: no file is that large. */
    fun u64(at: Int): Long = number(at, 8)

    private fun number(at: Int, bytes: Int): Long =
        (0 until bytes).fold(0L) { sum, i -> sum or ((data[at + i].toLong() and 0xFF) shl (8 * i)) }
}

/** A stream that is read in blocks. */
private abstract class BlockStream : InputStream() {
    override fun read(): Int {
        val one = ByteArray(1)
        return if (read(one, 0, 1) < 1) -1 else one[0].toInt() and 0xFF
    }
}

/** A part of the source. */
private class SourceStream(private val source: ByteSource, private var at: Long, bytes: Long) : BlockStream() {
    private val end = at + bytes

    override fun read(buffer: ByteArray, offset: Int, count: Int): Int {
        if (at >= end) return -1
        val read = source.read(at, buffer, offset, minOf(count.toLong(), end - at).toInt())
        if (read < 1) throw ZipDamage("it was cut off")
        at += read
        return read
    }
}

private class InflatingStream(private val packed: InputStream) : BlockStream() {
    private val inflater = Inflater(true)
    private val block = ByteArray(1 shl 16)

    override fun read(buffer: ByteArray, offset: Int, count: Int): Int {
        try {
            while (true) {
                val made = inflater.inflate(buffer, offset, count)
                if (made > 0) return made
                if (inflater.finished()) return -1
                if (inflater.needsDictionary()) throw ZipDamage("an entry wants a dictionary")
                val got = packed.read(block)
                if (got < 0) throw ZipDamage("an entry was cut off")
                inflater.setInput(block, 0, got)
            }
        } catch (error: DataFormatException) {
            throw ZipDamage("an entry is damaged: ${error.message}")
        }
    }

    override fun close() = inflater.end()
}

/** Gives exactly the agreed bytes; a content that is longer, shorter or another one is damaged. */
private class CheckedStream(private val content: InputStream, private val entry: ZipEntry) : BlockStream() {
    private val crc = CRC32()
    private var left = entry.size

    override fun read(buffer: ByteArray, offset: Int, count: Int): Int {
        if (left == 0L) {
            if (content.read() >= 0) throw ZipDamage("an entry is longer than it says")
            if (crc.value != entry.crc) throw ZipDamage("an entry's checksum is wrong")
            return -1
        }
        val read = content.read(buffer, offset, minOf(count.toLong(), left).toInt())
        if (read < 0) throw ZipDamage("an entry is shorter than it says")
        crc.update(buffer, offset, read)
        left -= read
        return read
    }

    override fun close() = content.close()
}
