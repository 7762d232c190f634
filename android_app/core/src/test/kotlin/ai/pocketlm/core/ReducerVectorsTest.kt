package ai.pocketlm.core

import ai.pocketlm.e2e.at
import ai.pocketlm.e2e.eventOf
import ai.pocketlm.e2e.items
import ai.pocketlm.e2e.markOf
import ai.pocketlm.e2e.messagesOf
import ai.pocketlm.e2e.orNull
import ai.pocketlm.e2e.refusalOf
import ai.pocketlm.e2e.settingsOf
import ai.pocketlm.e2e.statisticsOf
import ai.pocketlm.e2e.text
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
