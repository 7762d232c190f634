// What a chat screen shows, what happens to it and what it asks for. Knows no engine, no thread and no view.
package ai.pocketlm.core

/** An installed package: the lower-case hexadecimal sha256 of its manifest.json. */
@JvmInline
value class PackageId(val sha256: String) {
    /** The name of its folder: the first 16 digits. */
    val short: String get() = sha256.take(16)
}

/** Why a model was taken out of memory; its chat stays readable and comes back. */
enum class UnloadReason { MEMORY, BACKGROUND, THERMAL }

/**
 * What a user may set for a chat.
 *
 * @property system the system text, or null for the package's own.
 * @property temperature from 0 (always the likeliest token) to 1.
 * @property budget the most tokens of a reply.
 */
data class ChatSettings(
    val system: String? = null,
    val temperature: Double = DEFAULT_TEMPERATURE,
    val budget: Int = DEFAULT_NEW_TOKENS,
) {
    companion object {
        const val DEFAULT_TEMPERATURE = 0.7
    }
}

/**
 * A conversation as the screen shows it.
 *
 * @property messages the system message first if one was given, then whole turns; the last may be a user message
 *   without a reply (cancelled, failed, or the process ended).
 * @property mark where the "older messages are forgotten" line belongs.
 * @property note a sentence about the last turn or the restored chat, or "".
 * @property statistics of the last reply.
 * @property refusal why the last thing asked for was not done; null after the next success.
 */
data class Chat(
    val packageId: PackageId,
    val messages: List<Message> = emptyList(),
    val mark: Mark = Mark.NOTHING_FORGOTTEN,
    val note: String = "",
    val statistics: Statistics? = null,
    val refusal: Refusal? = null,
    val settings: ChatSettings = ChatSettings(),
)

/** Everything that a chat screen can be. */
sealed interface ChatState {
    /** No package is open. */
    data object Empty : ChatState

    /** The model is being loaded. */
    data class Loading(val packageId: PackageId) : ChatState

    data class LoadFailed(val packageId: PackageId, val refusal: Refusal) : ChatState

    /** The user may type. */
    data class Idle(val chat: Chat) : ChatState

    /** The question is being read; no text has come yet. */
    data class Prefilling(val chat: Chat, val userText: String) : ChatState

    data class Replying(val chat: Chat, val userText: String, val soFar: String) : ChatState

    /** The user has tapped stop and the engine has not ended yet. */
    data class Cancelling(val chat: Chat, val userText: String, val soFar: String) : ChatState

    /** The conversation is being read into the model again. */
    data class Restoring(val chat: Chat) : ChatState

    /** The model is out of memory; the conversation is still shown. */
    data class Unloaded(val chat: Chat, val reason: UnloadReason) : ChatState
}

/** What happens: taps, the worker's reports, the system's warnings. */
sealed interface ChatEvent {
    data class PackageOpened(val packageId: PackageId) : ChatEvent

    /** The open package is to be let go, so that it can be removed. */
    data object PackageClosed : ChatEvent

    /** The model is ready; `messages` and `settings` are what the disk holds of its chat. */
    data class Loaded(val packageId: PackageId, val messages: List<Message>, val settings: ChatSettings) : ChatEvent

    data class LoadFailed(val packageId: PackageId, val refusal: Refusal) : ChatEvent

    data class Sent(val text: String) : ChatEvent

    data class TextArrived(val text: String) : ChatEvent

    /** `messages` are the session's whole turns afterwards. */
    data class ReplyEnded(
        val reply: Reply,
        val messages: List<Message>,
        val mark: Mark,
        val statistics: Statistics?,
    ) : ChatEvent

    data class ReplyFailed(val refusal: Refusal, val messages: List<Message>) : ChatEvent

    data object StopTapped : ChatEvent

    data object RegenerateTapped : ChatEvent

    data object NewChatTapped : ChatEvent

    data class SettingsChanged(val settings: ChatSettings) : ChatEvent

    data class Restored(val messages: List<Message>, val mark: Mark, val note: String) : ChatEvent

    data object MemoryLow : ChatEvent

    data object WentToBackground : ChatEvent

    data object CameToForeground : ChatEvent

    data object ThermalCritical : ChatEvent
}

/** What the reducer asks the worker to do, in this order. */
sealed interface ChatEffect {
    data class Load(val packageId: PackageId) : ChatEffect

    data object Unload : ChatEffect

    data class Send(val text: String) : ChatEffect

    data object Regenerate : ChatEffect

    /** Asks the running reply to end soon. */
    data object Cancel : ChatEffect

    /** Reads whole turns into the model again. */
    data class Restore(val messages: List<Message>) : ChatEffect

    /** Writes the conversation to disk. */
    data class Save(val packageId: PackageId, val messages: List<Message>) : ChatEffect

    /** Begins a new conversation. */
    data object Reset : ChatEffect
}
