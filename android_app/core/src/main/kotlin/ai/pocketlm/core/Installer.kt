// Puts a package on the device: checks it against its manifest, copies what is missing, and moves it into its place.
//
// The order of the checks is docs/package.md's. A killed installation leaves a staging folder, which the next one goes
// on with; the finished folder appears in one step.
package ai.pocketlm.core

import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.io.InputStream

private const val MAX_EXPANSION = 100L // times the zip's own size; tokenizer files compress about 6 times
internal const val STAGING_PREFIX = ".partial-"
internal const val PROBE_NAME = ".probe"

/** Refusals after which the staged files are kept: starting again goes on with them. */
private val RESUMABLE = setOf(SentenceKey.INSTALL_STOPPED, SentenceKey.STORAGE_FAILED, SentenceKey.SOURCE_UNREADABLE)

/** Installs packages into one folder; one installation at a time. */
class Installer(private val store: PackageStore, private val platform: Platform) {
    /**
     * Goes through the states of an installation on the calling thread.
     *
     * @param isCancelled asked often; when it says yes the installation stops, and the next one goes on from there.
     * @param onState told every state, the last one included.
     * @return the last state: `Installed` or `Refused`.
     */
    fun install(
        source: PackageSource,
        isCancelled: () -> Boolean = { false },
        onState: (InstallState) -> Unit = {},
    ): InstallState {
        val last = Installation(store, platform, isCancelled, onState).run(source)
        onState(last)
        return last
    }
}

/** One installation. */
private class Installation(
    private val store: PackageStore,
    private val platform: Platform,
    private val isCancelled: () -> Boolean,
    private val onState: (InstallState) -> Unit,
) {
    private var staging: File? = null
    private var hasMoved = false
    private var name = ""

    fun run(source: PackageSource): InstallState =
        try {
            InstallState.Installed(install(source))
        } catch (error: PocketError) {
            if (error.key !in RESUMABLE) staging?.deleteRecursively()
            InstallState.Refused(Refusal(error.key, error.message))
        }

    private fun install(source: PackageSource): InstalledPackage {
        onState(InstallState.CheckingSpace)
        name = nameOf(source)
        val contents = reading { PackageContents.of(source) }
        val bytes = readManifestBytes(contents)
        val manifest = checkedManifest(bytes)
        val id = PackageId(Sha256.of(bytes))
        val target = File(store.folder, id.short)
        val staging = File(store.folder, STAGING_PREFIX + id.short)
        checkFiles(contents, manifest)
        val installed = InstalledPackage(id, target, manifest)
        if (isWhole(installed)) return installed
        this.staging = staging
        checkSpace(contents, manifest, bytes.size.toLong(), staging)
        unpack(contents, manifest, bytes, staging)
        verify(manifest, staging)
        onState(InstallState.Moving)
        storing {
            target.deleteRecursively()
            if (!staging.renameTo(target)) throw IOException("${staging.name} cannot be renamed")
        }
        if (hasMoved) contents.clear()
        return installed
    }

    private fun readManifestBytes(contents: PackageContents): ByteArray {
        val size = contents.size(MANIFEST_NAME) ?: 0
        if (size > MAX_MANIFEST_BYTES) {
            val reason = "manifest.json has $size bytes; at most $MAX_MANIFEST_BYTES are read"
            throw PocketError(refusal(SentenceKey.MANIFEST_INVALID, "reason" to reason))
        }
        return reading { contents.open(MANIFEST_NAME).use { it.readBytes() } }
    }

    private fun checkedManifest(bytes: ByteArray): Manifest {
        val manifest = try {
            readManifest(bytes)
        } catch (error: ManifestError) {
            val newer = error.newerSchema
            throw PocketError(
                if (newer == null) {
                    refusal(SentenceKey.MANIFEST_INVALID, "reason" to error.reason)
                } else {
                    refusal(SentenceKey.NEWER_SCHEMA, "found" to newer, "known" to SCHEMA_VERSION)
                },
            )
        }
        return manifest
    }

    private fun checkFiles(contents: PackageContents, manifest: Manifest) {
        for (file in manifest.files) {
            val size = contents.size(file.path)
                ?: throw PocketError(refusal(SentenceKey.FILE_MISSING, "file" to file.path))
            if (size != file.bytes) {
                throw PocketError(
                    refusal(SentenceKey.FILE_SIZE, "file" to file.path, "found" to size, "wanted" to file.bytes),
                )
            }
        }
        platform.refusal(manifest)?.let { throw PocketError(it) }
        val total = manifest.files.sumOf { it.bytes }
        val packed = contents.zipBytes ?: return
        if (total > MAX_EXPANSION * packed) {
            val sizes = arrayOf("packed" to Sentences.size(packed), "total" to Sentences.size(total))
            throw PocketError(refusal(SentenceKey.ZIP_BOMB, *sizes))
        }
    }

    /** What is staged with the right size takes no more space, nor does what can be moved. */
    private fun checkSpace(contents: PackageContents, manifest: Manifest, manifestBytes: Long, staging: File) {
        val files = manifest.files.filterNot { isStaged(staging, it.path, it.bytes) }.sumOf { it.bytes }
        val own = if (isStaged(staging, MANIFEST_NAME, manifestBytes)) 0 else manifestBytes
        val needed = own + if (canMove(contents)) 0 else files
        val free = store.freeBytes()
        if (needed > free) throw noSpace(needed, free)
    }

    /** Whether the source lies on the same volume and may be taken apart: tried with an empty file. */
    private fun canMove(contents: PackageContents): Boolean {
        val probe = File(store.folder, PROBE_NAME)
        store.folder.mkdirs()
        return contents.canMove(probe).also { probe.delete() }
    }

    private fun unpack(contents: PackageContents, manifest: Manifest, manifestBytes: ByteArray, staging: File) {
        val progress = Progress(manifest.files.sumOf { it.bytes }, InstallState::Unpacking)
        progress.add(0)
        storing { if (!staging.isDirectory && !staging.mkdirs()) throw IOException("${staging.name} cannot be made") }
        copy(manifestBytes.inputStream(), File(staging, MANIFEST_NAME)) {}
        for (file in manifest.files) {
            val target = File(staging, file.path)
            if (target.length() == file.bytes && target.isFile && Sha256.of(target) { stopIfAsked() } == file.sha256) {
                progress.add(file.bytes)
                continue
            }
            storing { target.absoluteFile.parentFile?.mkdirs() }
            if (isMoved(contents, file, target)) {
                progress.add(file.bytes)
            } else {
                reading { contents.open(file.path) }.use { input -> copy(input, target, progress::add) }
            }
        }
        removeStrays(manifest, staging)
    }

    /** Moves a file whose hash is right; a damaged one stays where it is. */
    private fun isMoved(contents: PackageContents, file: PackageFile, target: File): Boolean {
        if (!contents.isMovable) return false
        val hash = reading { contents.open(file.path).use { input -> Sha256.of(input) { stopIfAsked() } } }
        if (hash != file.sha256) throw PocketError(refusal(SentenceKey.FILE_DAMAGED, "file" to file.path))
        target.delete()
        return contents.move(file.path, target).also { hasMoved = hasMoved || it }
    }

    private fun copy(input: InputStream, target: File, onBytes: (Long) -> Unit) {
        val block = ByteArray(BLOCK_BYTES)
        val output = storing { FileOutputStream(target) }
        output.use {
            while (true) {
                val count = reading { input.read(block) }
                if (count < 0) break
                storing { output.write(block, 0, count) }
                onBytes(count.toLong())
            }
            storing { output.fd.sync() }
        }
    }

    private fun removeStrays(manifest: Manifest, staging: File) {
        val listed = manifest.files.map { File(staging, it.path) }.toSet() + File(staging, MANIFEST_NAME)
        staging.walkBottomUp().filter { it.isFile && it !in listed }.forEach { it.delete() }
    }

    private fun verify(manifest: Manifest, staging: File) {
        val progress = Progress(manifest.files.sumOf { it.bytes }, InstallState::Verifying)
        progress.add(0)
        for (file in manifest.files) {
            val hash = storing { Sha256.of(File(staging, file.path), progress::add) }
            if (hash != file.sha256) throw PocketError(refusal(SentenceKey.FILE_DAMAGED, "file" to file.path))
        }
        val content = storing { File(staging, manifest.tokenizer.file).readBytes() }
        TokenizerCheck.refusal(manifest.tokenizer, content)?.let { throw PocketError(it) }
    }

    private fun stopIfAsked() {
        if (isCancelled()) throw PocketError(refusal(SentenceKey.INSTALL_STOPPED))
    }

    /** Bytes done of a phase; every report is a chance to stop. */
    private inner class Progress(private val total: Long, private val state: (Long, Long) -> InstallState) {
        private var done = 0L

        fun add(bytes: Long) {
            done += bytes
            onState(state(done, total))
            stopIfAsked()
        }
    }

    /** Does what only reads the source: its failures are the source's. */
    private fun <T> reading(block: () -> T): T =
        try {
            block()
        } catch (_: ZipDamage) {
            throw PocketError(refusal(SentenceKey.ZIP_DAMAGED, "name" to name))
        } catch (error: IOException) {
            throw PocketError(refusal(SentenceKey.SOURCE_UNREADABLE, "name" to name, "reason" to reason(error)))
        }

    /** Does what only touches our own folder: its failures are the storage's. */
    private fun <T> storing(block: () -> T): T =
        try {
            block()
        } catch (error: IOException) {
            throw PocketError(refusal(SentenceKey.STORAGE_FAILED, "reason" to reason(error)))
        }
}

private fun noSpace(needed: Long, free: Long) = PocketError(
    refusal(
        SentenceKey.NO_SPACE,
        "needed" to Sentences.size(needed),
        "free" to Sentences.size(free),
        "missing" to Sentences.size(needed - free),
    ),
)

private fun reason(error: IOException): String = error.message ?: error.javaClass.simpleName

private fun isStaged(staging: File, path: String, bytes: Long): Boolean =
    File(staging, path).let { it.isFile && it.length() == bytes }

/** Whether the finished folder holds the manifest of that name and every file at its size; hashes were checked then. */
internal fun isWhole(installed: InstalledPackage): Boolean {
    val manifest = File(installed.folder, MANIFEST_NAME)
    return manifest.isFile && Sha256.of(manifest) == installed.id.sha256 &&
        installed.manifest.files.all { isStaged(installed.folder, it.path, it.bytes) }
}
