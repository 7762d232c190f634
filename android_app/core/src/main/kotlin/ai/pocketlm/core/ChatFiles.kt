// Where the chats of all packages are kept: one file for each, written on a thread of its own.
package ai.pocketlm.core

import java.io.File
import java.io.IOException
import java.util.concurrent.Executors
import java.util.concurrent.TimeUnit

/** Any thread may call it; what is asked for is done in that order. */
internal class ChatFiles(private val folder: File, private val onFailed: (Refusal) -> Unit) {
    private val thread = Executors.newSingleThreadExecutor { Thread(it, "chat files") }

    /** Writes a chat soon; one in which nothing was said is removed. */
    fun save(id: PackageId, messages: List<Message>) {
        thread.execute {
            try {
                if (messages.isEmpty()) {
                    file(id).delete()
                } else {
                    if (!folder.isDirectory && !folder.mkdirs()) throw IOException("${folder.name} cannot be made")
                    saveChat(SavedChat(id.sha256, messages), file(id))
                }
            } catch (error: IOException) {
                val reason = "reason" to (error.message ?: error.javaClass.simpleName)
                onFailed(refusal(SentenceKey.STORAGE_FAILED, reason))
            }
        }
    }

    /**
     * The saved chat, empty when there is none; what was to be saved is written before.
     *
     * @throws PocketError the file is damaged: it was put aside, and the next load finds none.
     */
    fun load(id: PackageId): List<Message> {
        flush()
        val file = file(id)
        if (!file.exists()) return emptyList()
        return try {
            loadChat(file).messages
        } catch (error: PocketError) {
            val aside = File(folder, "${id.short}.damaged.json")
            file.renameTo(aside)
            val said = arrayOf("reason" to reason(error.message.removePrefix(file.path)), "file" to aside.name)
            throw PocketError(refusal(SentenceKey.HISTORY_DAMAGED, *said))
        } catch (error: IOException) {
            val reason = "reason" to (error.message ?: error.javaClass.simpleName)
            throw PocketError(refusal(SentenceKey.STORAGE_FAILED, reason))
        }
    }

    /** Of `: its reason` or ` is not ...; advice` what the sentence about the file needs. */
    private fun reason(said: String): String =
        if (said.startsWith(": ")) said.drop(2) else "it" + said.substringBefore("; remove it")

    /** Waits until everything that was to be saved is on disk. */
    fun flush() {
        if (!thread.isShutdown) thread.submit {}.get()
    }

    fun close() {
        thread.shutdown()
        thread.awaitTermination(10, TimeUnit.SECONDS)
    }

    private fun file(id: PackageId) = File(folder, "${id.short}.json")
}
