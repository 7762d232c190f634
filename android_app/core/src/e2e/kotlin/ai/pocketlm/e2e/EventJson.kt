// Events of a chat, read as tests/vectors/reducer.json spells them.
package ai.pocketlm.e2e

import ai.pocketlm.core.ChatEvent
import ai.pocketlm.core.ChatSettings
import ai.pocketlm.core.Ending
import ai.pocketlm.core.Json
import ai.pocketlm.core.Mark
import ai.pocketlm.core.Message
import ai.pocketlm.core.PackageId
import ai.pocketlm.core.Refusal
import ai.pocketlm.core.Reply
import ai.pocketlm.core.SentenceKey
import ai.pocketlm.core.Statistics

fun eventOf(json: Json): ChatEvent {
    fun id() = PackageId(json.at("package").text())
    fun messages() = messagesOf(json.at("messages"))
    fun refusal() = refusalOf(json.at("refusal"))
    return when (val kind = json.at("event").text()) {
        "packageOpened" -> ChatEvent.PackageOpened(id())
        "packageClosed" -> ChatEvent.PackageClosed
        "loaded" -> ChatEvent.Loaded(id(), messages(), settingsOf(json.at("settings")))
        "loadFailed" -> ChatEvent.LoadFailed(id(), refusal())
        "sent" -> ChatEvent.Sent(json.at("text").text())
        "textArrived" -> ChatEvent.TextArrived(json.at("text").text())
        "replyEnded" -> ChatEvent.ReplyEnded(
            replyOf(json.at("reply")),
            messages(),
            markOf(json.at("mark")),
            json.find("statistics")?.let(::statisticsOf),
        )
        "replyFailed" -> ChatEvent.ReplyFailed(refusal(), messages())
        "stopTapped" -> ChatEvent.StopTapped
        "regenerateTapped" -> ChatEvent.RegenerateTapped
        "newChatTapped" -> ChatEvent.NewChatTapped
        "settingsChanged" -> ChatEvent.SettingsChanged(settingsOf(json.at("settings")))
        "restored" -> ChatEvent.Restored(messages(), markOf(json.at("mark")), json.at("note").text())
        "memoryLow" -> ChatEvent.MemoryLow
        "wentToBackground" -> ChatEvent.WentToBackground
        "cameToForeground" -> ChatEvent.CameToForeground
        "thermalCritical" -> ChatEvent.ThermalCritical
        else -> error("unknown event $kind")
    }
}

fun messagesOf(json: Json): List<Message> =
    json.items().map { Message(it.at("role").text(), it.at("content").text()) }

fun settingsOf(json: Json) = ChatSettings(
    system = json.find("system")?.text(),
    temperature = json.at("temperature").real(),
    budget = json.at("budget").number().toInt(),
)

fun markOf(json: Json) = Mark(
    json.at("first_visible_position").number(),
    json.at("first_visible_turn").number().toInt(),
    json.at("is_partial").flag(),
)

fun statisticsOf(json: Json) = Statistics(
    promptTokens = json.at("prompt_tokens").number(),
    newTokens = json.at("new_tokens").number(),
    timeToFirstTokenS = json.find("time_to_first_token_s")?.real(),
    decodeTokensPerS = json.find("decode_tokens_per_s")?.real(),
    prefillTokensPerS = json.find("prefill_tokens_per_s")?.real(),
)

fun replyOf(json: Json) = Reply(
    text = json.at("text").text(),
    end = Ending.entries.first { it.word == json.at("end").text() },
    promptTokens = json.at("prompt_tokens").number(),
    newTokens = json.at("new_tokens").number(),
    timeToFirstTokenS = json.find("time_to_first_token_s")?.real(),
    decodeTokensPerS = json.find("decode_tokens_per_s")?.real(),
    note = json.at("note").text(),
)

fun refusalOf(json: Json) = Refusal(
    json.find("key")?.text()?.let { key -> SentenceKey.entries.first { it.key == key } },
    json.at("text").text(),
)
