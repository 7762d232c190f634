package ai.pocketlm.core

import ai.pocketlm.e2e.at
import ai.pocketlm.e2e.flag
import ai.pocketlm.e2e.items
import ai.pocketlm.e2e.number
import ai.pocketlm.e2e.orNull
import ai.pocketlm.e2e.phaseOf
import ai.pocketlm.e2e.text
import ai.pocketlm.e2e.texts
import java.io.ByteArrayOutputStream
import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

/** Installations: what they say on their way and leave on the disk. */
class InstallerTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val manifests = Vectors.document("install").at("manifests")

    @Test
    fun installations() = Vectors.check("install") { case ->
        val root = temporary.newFolder()
        val store = FixedStore(File(root, "packages"), case.number("free_bytes"))
        writeFiles(store.folder, case.at("before"), manifests)
        val wanted = (case.at("cancel_in").orNull())?.text()
        val phases = mutableListOf<String>()
        val last = Installer(store, platformOf(case.at("platform"))).install(
            source(case.at("source"), root),
            isCancelled = { wanted != null && phases.lastOrNull() == wanted },
            onState = { state -> phaseOf(state)?.let { if (it !in phases) phases += it } },
        )
        assertEquals(case.expected.at("phases").texts(), phases)
        checkLast(case.expected.at("final"), last, store.folder)
        assertEquals(case.expected.at("paths").texts(), pathsBelow(store.folder))
    }

    private fun source(json: Json, root: File): PackageSource {
        val place = File(root, "source/${json.at("name").text()}")
        if ((json as Json.Object)["zip"] != null) {
            place.parentFile.mkdirs()
            place.writeBytes(bytesOf(json.at("zip"), manifests))
            return PackageSource.Zip(place)
        }
        writeFiles(place, json.at("files"), manifests)
        return PackageSource.Folder(place, isMovable = false)
    }

    private fun checkLast(expected: Json, last: InstallState, folder: File) {
        if (expected.at("state").text() == "installed") {
            val installed = (last as? InstallState.Installed ?: error("$last")).installed
            assertEquals(expected.at("id").text(), installed.id.sha256)
            assertEquals(File(folder, expected.at("folder").text()), installed.folder)
            assertTrue(installed.program.isFile && installed.tokenizer.isFile)
            return
        }
        val refusal = (last as? InstallState.Refused ?: error("$last")).refusal
        assertEquals(expected.at("key").text(), refusal.key?.key)
        val text = (expected as Json.Object)["text"]
        if (text != null) {
            assertEquals(text.text(), refusal.text)
        } else {
            assertTrue(refusal.text, expected.at("place").text() in refusal.text)
        }
    }

    @Test
    fun aFolderOnTheSameVolumeIsMoved() {
        val case = Vectors.cases("install").first { it.name == "a good folder" }
        val root = temporary.newFolder()
        val store = FixedStore(File(root, "packages"), freeBytes = 100_000)
        val place = File(root, "nano")
        writeFiles(place, case.at("source").at("files"), manifests)
        val program = File(place, "model.pte")
        val last = Installer(store, ANDROID).install(PackageSource.Folder(place, isMovable = true))
        val installed = (last as InstallState.Installed).installed
        assertTrue(installed.program.isFile && !program.exists())
        assertFalse(place.exists())
        assertEquals(emptyList<String>(), pathsBelow(store.folder).filter { "probe" in it })
    }

    @Test
    fun aDamagedFileOfAMovableFolderStaysWhereItIs() {
        val case = Vectors.cases("install").first { it.name == "a folder with a damaged program" }
        val root = temporary.newFolder()
        val place = File(root, "nano")
        writeFiles(place, case.at("source").at("files"), manifests)
        val source = PackageSource.Folder(place, isMovable = true)
        val last = Installer(FixedStore(File(root, "packages"), 1L shl 40), ANDROID).install(source)
        assertEquals(SentenceKey.FILE_DAMAGED, (last as InstallState.Refused).refusal.key)
        assertTrue(File(place, "model.pte").isFile)
    }

    @Test
    fun progressCountsEveryByteOnce() {
        val case = Vectors.cases("install").first { it.name == "a good zip" }
        val root = temporary.newFolder()
        val states = mutableListOf<InstallState>()
        Installer(FixedStore(File(root, "packages"), 1L shl 40), ANDROID)
            .install(source(case.at("source"), root), onState = { states += it })
        val unpacked = states.filterIsInstance<InstallState.Unpacking>()
        val verified = states.filterIsInstance<InstallState.Verifying>()
        assertEquals(unpacked.last().total, unpacked.last().done)
        assertEquals(verified.last().total, verified.last().done)
        assertEquals(unpacked.map { it.done }.sorted(), unpacked.map { it.done })
    }
}

val ANDROID = Platform(setOf("text-llm"), hasCoreMl = false, runtime = "1.5.1")

class FixedStore(override val folder: File, private val freeBytes: Long) : PackageStore {
    override fun freeBytes(): Long = freeBytes
}

fun platformOf(json: Json) = Platform(
    json.at("runner_kinds").texts().toSet(),
    json.at("has_core_ml").flag(),
    json.at("runtime").text(),
)

fun pathsBelow(folder: File): List<String> =
    folder.walkTopDown().filter { it.isFile }.map { it.relativeTo(folder).path }.sorted().toList()

/** Writes a folder as vectors spell it: path -> pieces. */
fun writeFiles(folder: File, files: Json, manifests: Json) {
    folder.mkdirs()
    for ((path, pieces) in (files as Json.Object).entries) {
        val file = File(folder, path)
        file.parentFile.mkdirs()
        file.writeBytes(bytesOf(pieces, manifests))
    }
}

/** A row of pieces: bytes, perhaps repeated, or a manifest by its name. */
fun bytesOf(pieces: Json, manifests: Json): ByteArray {
    val out = ByteArrayOutputStream()
    for (piece in pieces.items()) {
        val manifest = (piece as Json.Object)["manifest"]
        if (manifest != null) {
            out.write(manifests.at(manifest.text()).text().toByteArray())
        } else {
            val bytes = hex(piece.at("hex").text())
            repeat(piece.at("times").number().toInt()) { out.write(bytes) }
        }
    }
    return out.toByteArray()
}
