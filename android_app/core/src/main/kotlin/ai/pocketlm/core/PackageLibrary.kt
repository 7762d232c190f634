// The packages on the device: what is listed, removed, and cleaned up after a process that was killed.
package ai.pocketlm.core

import java.io.File

private const val REMOVING_PREFIX = ".removing-"
private val PACKAGE_FOLDER = Regex("[0-9a-f]{16}")

class PackageLibrary(private val store: PackageStore) {
    /** Every whole package, by name, target and folder. Hashes of the files were checked when they were installed. */
    fun list(): List<InstalledPackage> =
        folders().filter { PACKAGE_FOLDER.matches(it.name) }.mapNotNull(::read).filter(::isWhole)
            .sortedWith(compareBy({ it.name }, { it.manifest.target }, { it.folder.name }))

    /** The package of that id, if it is there. */
    fun find(id: PackageId): InstalledPackage? =
        read(File(store.folder, id.short))?.takeIf { it.id == id && isWhole(it) }

    /** Names of staging folders that an installation can go on with. */
    fun unfinished(): List<String> = folders().filter(::isResumable).map { it.name }.sorted()

    /** Removes what killed installations and removals left and nothing can go on with. Not while one runs. */
    fun cleanUp() {
        for (folder in folders()) {
            val isLeftover = folder.name.startsWith(STAGING_PREFIX) && !isResumable(folder)
            if (isLeftover || folder.name.startsWith(REMOVING_PREFIX)) folder.deleteRecursively()
        }
        File(store.folder, PROBE_NAME).delete()
    }

    /** Removes a package; null, or why it is still there. Its chat must be closed. */
    fun remove(id: PackageId): Refusal? {
        val folder = File(store.folder, id.short)
        val leaving = File(store.folder, REMOVING_PREFIX + id.short)
        leaving.deleteRecursively()
        if (!folder.renameTo(leaving)) { // in one step: a package is never half there
            val reason = if (folder.exists()) "its folder cannot be moved" else "it is not there"
            return refusal(SentenceKey.REMOVAL_FAILED, "name" to id.short, "reason" to reason)
        }
        leaving.deleteRecursively()
        return null
    }

    private fun folders(): List<File> = store.folder.listFiles { file -> file.isDirectory }.orEmpty().toList()

    private fun isResumable(folder: File): Boolean =
        folder.name.startsWith(STAGING_PREFIX) && manifestId(folder)?.short == folder.name.removePrefix(STAGING_PREFIX)

    private fun read(folder: File): InstalledPackage? {
        val id = manifestId(folder)?.takeIf { it.short == folder.name } ?: return null
        return try {
            InstalledPackage(id, folder, readManifest(File(folder, MANIFEST_NAME).readBytes()))
        } catch (_: ManifestError) {
            null
        }
    }

    private fun manifestId(folder: File): PackageId? {
        val manifest = File(folder, MANIFEST_NAME)
        return if (manifest.isFile && manifest.length() <= MAX_MANIFEST_BYTES) PackageId(Sha256.of(manifest)) else null
    }
}
