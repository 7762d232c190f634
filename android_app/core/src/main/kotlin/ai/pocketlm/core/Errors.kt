// What goes wrong, as a sentence for the user.
package ai.pocketlm.core

/** A failure whose message is a sentence for the user: what was given, what is allowed, what to do. */
open class PocketError(message: String, val key: SentenceKey? = null) : Exception(message) {
    override val message: String get() = super.message ?: ""

    constructor(refusal: Refusal) : this(refusal.text, refusal.key)
}

/** What should be sent does not fit into a bounded context; nothing was sent. */
class ContextFullError(message: String) : PocketError(message)
