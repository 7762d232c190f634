// What the core says, written as tests/vectors spells it.
package ai.pocketlm.e2e

import ai.pocketlm.core.Chat
import ai.pocketlm.core.ChatSettings
import ai.pocketlm.core.ChatState
import ai.pocketlm.core.Context
import ai.pocketlm.core.InstallState
import ai.pocketlm.core.InstalledPackage
import ai.pocketlm.core.Json
import ai.pocketlm.core.Mark
import ai.pocketlm.core.MemoryVerdict
import ai.pocketlm.core.PackageId
import ai.pocketlm.core.Refusal
import ai.pocketlm.core.SelfTestState
import ai.pocketlm.core.SentenceKey
import ai.pocketlm.core.Statistics

/** A state's name in the vectors. */
fun kindOf(state: ChatState): String =
    when (state) {
        ChatState.Empty -> "empty"
        is ChatState.Loading -> "loading"
        is ChatState.LoadFailed -> "loadFailed"
        is ChatState.Idle -> "idle"
        is ChatState.Prefilling -> "prefilling"
        is ChatState.Replying -> "replying"
        is ChatState.Cancelling -> "cancelling"
        is ChatState.Restoring -> "restoring"
        is ChatState.Unloaded -> "unloaded"
    }

fun jsonOf(state: ChatState): Json {
    val kind = "state" to Json.Text(kindOf(state))
    fun said(chat: Chat, userText: String, vararg more: Pair<String, Json>) =
        Json.of(kind, "chat" to jsonOf(chat), "userText" to Json.Text(userText), *more)
    return when (state) {
        ChatState.Empty -> Json.of(kind)
        is ChatState.Loading -> Json.of(kind, jsonOf(state.packageId))
        is ChatState.LoadFailed -> Json.of(kind, jsonOf(state.packageId), "refusal" to jsonOf(state.refusal))
        is ChatState.Idle -> Json.of(kind, "chat" to jsonOf(state.chat))
        is ChatState.Prefilling -> said(state.chat, state.userText)
        is ChatState.Replying -> said(state.chat, state.userText, "soFar" to Json.Text(state.soFar))
        is ChatState.Cancelling -> said(state.chat, state.userText, "soFar" to Json.Text(state.soFar))
        is ChatState.Restoring -> Json.of(kind, "chat" to jsonOf(state.chat))
        is ChatState.Unloaded ->
            Json.of(kind, "chat" to jsonOf(state.chat), "reason" to Json.Text(state.reason.name.lowercase()))
    }
}

private fun jsonOf(id: PackageId) = "package" to Json.Text(id.sha256)

private fun jsonOf(chat: Chat) = Json.of(
    jsonOf(chat.packageId),
    "messages" to Json.Items(
        chat.messages.map { Json.of("role" to Json.Text(it.role), "content" to Json.Text(it.content)) },
    ),
    "mark" to jsonOf(chat.mark),
    "note" to Json.Text(chat.note),
    "statistics" to (chat.statistics?.let(::jsonOf) ?: Json.Null),
    "refusal" to (chat.refusal?.let(::jsonOf) ?: Json.Null),
    "settings" to jsonOf(chat.settings),
)

private fun jsonOf(mark: Mark) = Json.of(
    "first_visible_position" to Json.Whole(mark.firstVisiblePosition),
    "first_visible_turn" to Json.Whole(mark.firstVisibleTurn.toLong()),
    "is_partial" to Json.Bool(mark.isPartial),
)

private fun jsonOf(settings: ChatSettings) = Json.of(
    "system" to orNull(settings.system),
    "temperature" to Json.Fraction(settings.temperature),
    "budget" to Json.Whole(settings.budget.toLong()),
)

private fun jsonOf(figures: Statistics) = Json.of(
    "prompt_tokens" to Json.Whole(figures.promptTokens),
    "new_tokens" to Json.Whole(figures.newTokens),
    "time_to_first_token_s" to orNull(figures.timeToFirstTokenS),
    "decode_tokens_per_s" to orNull(figures.decodeTokensPerS),
    "prefill_tokens_per_s" to orNull(figures.prefillTokensPerS),
)

private fun jsonOf(refusal: Refusal) =
    Json.of("key" to orNull(refusal.key?.key), "text" to Json.Text(refusal.text))

/** An installation's state on the way, by its name; null for the last ones. */
fun phaseOf(state: InstallState): String? =
    when (state) {
        InstallState.CheckingSpace -> "checkingSpace"
        is InstallState.Unpacking -> "unpacking"
        is InstallState.Verifying -> "verifying"
        InstallState.Moving -> "moving"
        is InstallState.Installed, is InstallState.Refused -> null
    }

/** The last state of an installation. */
fun jsonOf(last: InstallState): Json =
    when (last) {
        is InstallState.Installed -> Json.of(
            "state" to Json.Text("installed"),
            "id" to Json.Text(last.installed.id.sha256),
            "folder" to Json.Text(last.installed.folder.name),
        )
        is InstallState.Refused -> Json.of(
            "state" to Json.Text("refused"),
            "key" to orNull(last.refusal.key?.key),
            "text" to Json.Text(last.refusal.text),
        )
        else -> error("$last is not a last state")
    }

/** What the library shows of a package. */
fun jsonOf(installed: InstalledPackage): Json {
    val manifest = installed.manifest
    val licences = installed.licences.map { Json.Text(it.relativeTo(installed.folder).invariantSeparatorsPath) }
    return Json.of(
        "bytes" to Json.Whole(installed.bytes),
        "context" to jsonOf(manifest.context),
        "folder" to Json.Text(installed.folder.name),
        "id" to Json.Text(installed.id.sha256),
        "licences" to Json.Items(licences),
        "name" to Json.Text(installed.name),
        "parameters" to Json.Whole(manifest.model.parameters),
        "recipe" to Json.Text(manifest.recipe.name),
        "source_sha256" to Json.Text(manifest.origin.sourceSha256),
        "target" to Json.Text(manifest.target),
    )
}

private fun jsonOf(context: Context) =
    Json.of("kind" to Json.Text(context.kind), "tokens" to Json.Whole(context.tokens))

fun jsonOf(verdict: MemoryVerdict): Json =
    when (verdict) {
        MemoryVerdict.Fits -> Json.of("verdict" to Json.Text("fits"), "text" to Json.Text(""))
        is MemoryVerdict.Tight -> Json.of("verdict" to Json.Text("tight"), "text" to Json.Text(verdict.text))
        is MemoryVerdict.TooLarge -> Json.of("verdict" to Json.Text("tooLarge"), "text" to Json.Text(verdict.text))
    }

/** The last state of a self-test. */
fun jsonOf(last: SelfTestState): Json {
    fun verdict(word: String, key: SentenceKey?, text: String) =
        Json.of("verdict" to Json.Text(word), "key" to orNull(key?.key), "text" to Json.Text(text))
    return when (last) {
        is SelfTestState.Passed -> verdict("passed", last.key, last.text)
        is SelfTestState.Unsure -> verdict("unsure", last.key, last.text)
        is SelfTestState.Failed -> verdict("failed", last.key, last.text)
        else -> error("$last is not a last state")
    }
}
