package ai.pocketlm.core

import org.junit.Assert.assertEquals
import org.junit.Test

/** Every state with every event. */
class ReducerVectorsTest {
    private val document = Vectors.document("reducer")

    @Test
    fun everyStateWithEveryEvent() = Vectors.check("reducer") { case ->
        val state = stateOf(document.at("states").at(case.text("state")))
        val event = eventOf(document.at("events").at(case.text("event")))
        val (found, effects) = ChatReducer.reduce(state, event)
        if ((case.expected["is_unchanged"] as? Json.Bool)?.value == true) {
            assertEquals(Reduced(state), Reduced(found, effects))
        } else {
            assertEquals(stateOf(case.expected.at("state")), found)
            assertEquals(case.expected.at("effects").items().map(::effectOf), effects)
        }
    }
}

fun stateOf(json: Json): ChatState {
    fun chat() = chatOf(json.at("chat"))
    fun id() = PackageId(json.at("package").text())
    fun user() = json.at("userText").text()
    fun soFar() = json.at("soFar").text()
    return when (val kind = json.at("state").text()) {
        "empty" -> ChatState.Empty
        "loading" -> ChatState.Loading(id())
        "loadFailed" -> ChatState.LoadFailed(id(), refusalOf(json.at("refusal")))
        "idle" -> ChatState.Idle(chat())
        "prefilling" -> ChatState.Prefilling(chat(), user())
        "replying" -> ChatState.Replying(chat(), user(), soFar())
        "cancelling" -> ChatState.Cancelling(chat(), user(), soFar())
        "restoring" -> ChatState.Restoring(chat())
        "unloaded" -> ChatState.Unloaded(chat(), UnloadReason.valueOf(json.at("reason").text().uppercase()))
        else -> error("unknown state $kind")
    }
}

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
            json.at("statistics").orNull()?.let(::statisticsOf),
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

private fun effectOf(json: Json): ChatEffect {
    fun id() = PackageId(json.at("package").text())
    fun messages() = messagesOf(json.at("messages"))
    return when (val kind = json.at("effect").text()) {
        "load" -> ChatEffect.Load(id())
        "unload" -> ChatEffect.Unload
        "send" -> ChatEffect.Send(json.at("text").text())
        "regenerate" -> ChatEffect.Regenerate
        "cancel" -> ChatEffect.Cancel
        "restore" -> ChatEffect.Restore(messages())
        "save" -> ChatEffect.Save(id(), messages())
        "reset" -> ChatEffect.Reset
        else -> error("unknown effect $kind")
    }
}

private fun chatOf(json: Json) = Chat(
    packageId = PackageId(json.at("package").text()),
    messages = messagesOf(json.at("messages")),
    mark = markOf(json.at("mark")),
    note = json.at("note").text(),
    statistics = json.at("statistics").orNull()?.let(::statisticsOf),
    refusal = json.at("refusal").orNull()?.let(::refusalOf),
    settings = settingsOf(json.at("settings")),
)

fun settingsOf(json: Json) = ChatSettings(
    system = json.at("system").orNull()?.text(),
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
    timeToFirstTokenS = json.at("time_to_first_token_s").orNull()?.real(),
    decodeTokensPerS = json.at("decode_tokens_per_s").orNull()?.real(),
    prefillTokensPerS = json.at("prefill_tokens_per_s").orNull()?.real(),
)

fun replyOf(json: Json) = Reply(
    text = json.at("text").text(),
    end = Ending.entries.first { it.word == json.at("end").text() },
    promptTokens = json.at("prompt_tokens").number(),
    newTokens = json.at("new_tokens").number(),
    timeToFirstTokenS = json.at("time_to_first_token_s").orNull()?.real(),
    decodeTokensPerS = json.at("decode_tokens_per_s").orNull()?.real(),
    note = json.at("note").text(),
)

fun refusalOf(json: Json) = Refusal(
    json.at("key").orNull()?.text()?.let { key -> SentenceKey.entries.first { it.key == key } },
    json.at("text").text(),
)
