// A saved chat: one JSON file that survives the end of the process, read strictly. Port of chat/history.py.
//
// It holds what was said and for which package (by the sha256 of its manifest), never token ids or a cache: after an
// update of the app, or with another package, the text is still good.
package ai.pocketlm.core

import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.util.UUID

private const val HISTORY_VERSION = 1L
private val CHAT_KEYS = setOf("schema_version", "package_id", "messages")
private val MESSAGE_KEYS = setOf("role", "content")

/**
 * A conversation and the package that it was held with.
 *
 * The last message may be the user's: the process ended before the reply did. A package id that is no sha256, or
 * messages that do not take turns, are a `PocketError`.
 *
 * @property packageId lower-case hexadecimal sha256 of the package's manifest.json.
 */
data class SavedChat(val packageId: String, val messages: List<Message>) {
    init {
        if (packageId.length != 64 || packageId.any { it !in '0'..'9' && it !in 'a'..'f' }) {
            throw PocketError("package_id ${quoted(packageId)} is not a sha256; give 64 lower-case hexadecimal digits")
        }
        checkOrder(messages)
    }

    /** The user's last message when no reply follows it. */
    val unanswered: String? get() = messages.lastOrNull()?.takeIf { it.role == "user" }?.content

    /** The chat as the JSON value that [fromJson] reads. */
    fun toJson(): Json.Object =
        Json.of(
            "schema_version" to Json.Whole(HISTORY_VERSION),
            "package_id" to Json.Text(packageId),
            "messages" to Json.Items(
                messages.map { Json.of("role" to Json.Text(it.role), "content" to Json.Text(it.content)) },
            ),
        )

    companion object {
        /** Reads what [toJson] gave, strictly; a `PocketError` names a newer schema or the wrong key. */
        fun fromJson(value: Json): SavedChat {
            if (value !is Json.Object) throw PocketError("a saved chat must be a JSON object, not ${kind(value)}")
            val version = value["schema_version"] ?: Json.Null
            if (version !is Json.Whole || version.value < 1) {
                throw PocketError("schema_version is ${shown(version)}; it must be a whole number from 1 on")
            }
            if (version.value > HISTORY_VERSION) {
                throw PocketError(
                    "this chat was saved by a newer version (schema ${version.value}, this program reads " +
                        "$HISTORY_VERSION); update the program",
                )
            }
            checkKeys(value, CHAT_KEYS, "a saved chat")
            val id = value["package_id"] as? Json.Text
                ?: throw PocketError("package_id must be a text, not ${kind(value["package_id"])}")
            val items = value["messages"] as? Json.Items
                ?: throw PocketError("messages must be a list, not ${kind(value["messages"])}")
            return SavedChat(id.value, items.items.mapIndexed(::message))
        }

        private fun message(index: Int, value: Json): Message {
            if (value !is Json.Object) throw PocketError("message $index must be a JSON object, not ${kind(value)}")
            checkKeys(value, MESSAGE_KEYS, "message $index")
            val (role, content) = listOf("role", "content").map { key ->
                (value[key] as? Json.Text)?.value
                    ?: throw PocketError("message $index: $key must be a text, not ${kind(value[key])}")
            }
            return Message(role, content)
        }
    }
}

/** Writes the chat beside its place and renames it there, so that a crash leaves the old or the new file whole. */
fun saveChat(chat: SavedChat, file: File) = writeAtomically(file, chat.toJson().write(pretty = true) + "\n")

/** Reads a saved chat; a missing file, one that is not JSON or no saved chat is a `PocketError` that names it. */
fun loadChat(file: File): SavedChat {
    if (file.exists() && !file.isFile) {
        throw PocketError("$file is not a file; name one that the chat is saved in") // a device may never end
    }
    if (!file.exists()) throw PocketError("$file is missing; there is no saved chat of that name")
    return try {
        SavedChat.fromJson(Json.read(file.readBytes()))
    } catch (error: JsonError) {
        throw PocketError("$file is not valid JSON (${error.message}); remove it to start a new chat")
    } catch (error: PocketError) {
        throw PocketError("$file: ${error.message}")
    }
}

/** Replaces a file's content in one step; throws `IOException` and leaves the old file when it cannot. */
internal fun writeAtomically(file: File, text: String) {
    val partial = File(file.absoluteFile.parentFile, ".${file.name}.partial-${UUID.randomUUID().toString().take(8)}")
    try {
        FileOutputStream(partial).use {
            it.write(replaceLoneSurrogates(text).toByteArray()) // halves have no UTF-8 form; the rest must not be lost
            it.fd.sync()
        }
        if (!partial.renameTo(file)) throw IOException("$partial cannot be renamed to ${file.name}")
    } finally {
        partial.delete()
    }
}

private fun checkKeys(value: Json.Object, known: Set<String>, what: String) {
    val missing = (known - value.entries.keys).sorted()
    if (missing.isNotEmpty()) throw PocketError("$what lacks ${missing.joinToString(", ")}")
    val unknown = (value.entries.keys - known).minOrNull() ?: return
    throw PocketError("$what has the unknown key ${quoted(unknown)}; known: ${known.sorted().joinToString(", ")}")
}

private fun kind(value: Json?): String =
    when (value) {
        null, Json.Null -> "null"
        is Json.Object -> "an object"
        is Json.Items -> "a list"
        is Json.Text -> "a text"
        is Json.Bool -> "true or false"
        is Json.Whole, is Json.Huge, is Json.Fraction -> "a number"
    }
