// The runtime's failures as sentences with a next step.
package ai.pocketlm.core

/**
 * What a runner or module of the runtime failed with.
 *
 * @property code ExecuTorch's number, or null where there is none.
 * @property detail the runtime's own words.
 */
class RunnerFailure(val code: Int?, val detail: String) : Exception("$detail (error $code)")

object EngineError {
    /** By its code, else by its own words. */
    fun refusal(code: Int?, detail: String): Refusal {
        if (code != null && code != 0) return refusal(CODES[code] ?: SentenceKey.ENGINE_UNKNOWN, "code" to code)
        val reason = detail.trim().trimEnd('.').ifEmpty { "no reason was given" }
        return refusal(SentenceKey.ENGINE_FAILED, "reason" to reason)
    }

    fun refusal(failure: RunnerFailure): Refusal = refusal(failure.code, failure.detail)

    /** Runs `block`; a `RunnerFailure` becomes a `PocketError`. */
    internal fun <T> told(block: () -> T): T =
        try {
            block()
        } catch (failure: RunnerFailure) {
            throw PocketError(refusal(failure))
        }
}

// runtime/core/error.h of ExecuTorch 1.5.1
private val CODES = mapOf(
    0x01 to SentenceKey.ENGINE_INTERNAL,
    0x02 to SentenceKey.ENGINE_INVALID_STATE,
    0x03 to SentenceKey.ENGINE_END_OF_METHOD,
    0x04 to SentenceKey.ENGINE_ALREADY_LOADED,
    0x10 to SentenceKey.ENGINE_NOT_SUPPORTED,
    0x11 to SentenceKey.ENGINE_NOT_IMPLEMENTED,
    0x12 to SentenceKey.ENGINE_INVALID_ARGUMENT,
    0x13 to SentenceKey.ENGINE_INVALID_TYPE,
    0x14 to SentenceKey.ENGINE_OPERATOR_MISSING,
    0x15 to SentenceKey.ENGINE_TOO_MANY_KERNELS,
    0x16 to SentenceKey.ENGINE_KERNEL_TWICE,
    0x20 to SentenceKey.ENGINE_NOT_FOUND,
    0x21 to SentenceKey.ENGINE_MEMORY,
    0x22 to SentenceKey.ENGINE_ACCESS,
    0x23 to SentenceKey.ENGINE_INVALID_PROGRAM,
    0x24 to SentenceKey.ENGINE_EXTERNAL_DATA,
    0x25 to SentenceKey.ENGINE_RESOURCES,
    0x30 to SentenceKey.ENGINE_DELEGATE_VERSION,
    0x31 to SentenceKey.ENGINE_DELEGATE_MEMORY,
    0x32 to SentenceKey.ENGINE_DELEGATE_HANDLE,
)
