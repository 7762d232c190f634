// Listens to a chat worker's states and waits until the chat is at rest.
package ai.pocketlm.e2e

import ai.pocketlm.core.ChatEvent
import ai.pocketlm.core.ChatState
import ai.pocketlm.core.ChatWorker
import ai.pocketlm.core.Json
import java.util.concurrent.LinkedBlockingQueue

class Recorder {
    private val states = LinkedBlockingQueue<ChatState>()

    fun record(state: ChatState) = states.put(state)

    /**
     * Sends an event and waits.
     *
     * @param stopAfter taps stop when so many scalars of the reply are there; null: never.
     * @return the state at rest, how the text grew, and each change of the state's kind.
     */
    fun until(worker: ChatWorker, event: ChatEvent, stopAfter: Int?): Json {
        states.clear()
        val kinds = mutableListOf<String>()
        val texts = mutableListOf<String>()
        var soFar = ""
        var toStopAt = stopAfter
        worker.send(event)
        var isOver = isAtRest(worker.state) && states.isEmpty() // the event changed nothing
        while (!isOver) {
            val state = states.take()
            isOver = isAtRest(state)
            if (kinds.lastOrNull() != kindOf(state)) kinds += kindOf(state)
            val shown = soFarOf(state) ?: continue
            if (shown.length > soFar.length) texts += shown.substring(soFar.length)
            soFar = shown
            if (toStopAt != null && shown.codePointCount(0, shown.length) >= toStopAt) {
                toStopAt = null
                worker.send(ChatEvent.StopTapped)
            }
        }
        return Json.of(
            "state" to jsonOf(worker.state),
            "texts" to Json.Items(texts.map { Json.Text(it) }),
            "states" to Json.Items(kinds.map { Json.Text(it) }),
        )
    }

    private fun isAtRest(state: ChatState): Boolean =
        when (state) {
            is ChatState.Empty, is ChatState.LoadFailed, is ChatState.Idle, is ChatState.Unloaded -> true
            else -> false
        }

    private fun soFarOf(state: ChatState): String? =
        when (state) {
            is ChatState.Prefilling -> ""
            is ChatState.Replying -> state.soFar
            is ChatState.Cancelling -> state.soFar
            else -> null
        }
}
