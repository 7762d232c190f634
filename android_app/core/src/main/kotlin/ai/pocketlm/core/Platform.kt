// What this app can run, and why a package is not for it.
package ai.pocketlm.core

/**
 * What this app can run.
 *
 * @property runnerKinds kinds of runner that it drives: `text-llm`, `static-kv`.
 * @property hasCoreMl whether Core ML is there.
 * @property runtime the ExecuTorch release that it is linked with.
 */
data class Platform(val runnerKinds: Set<String>, val hasCoreMl: Boolean, val runtime: String) {
    /** Why the package cannot run here, or null. */
    fun refusal(manifest: Manifest): Refusal? {
        val needed = manifest.runner.minRuntime
        return when {
            manifest.target.startsWith("coreml-") && !hasCoreMl ->
                refusal(SentenceKey.NEEDS_CORE_ML, "target" to manifest.target)
            manifest.runner.kind !in runnerKinds -> refusal(SentenceKey.OTHER_RUNNER, "kind" to manifest.runner.kind)
            isNewer(needed, runtime) -> refusal(SentenceKey.NEWER_RUNTIME, "needed" to needed, "present" to runtime)
            else -> null
        }
    }
}

/** Whether a release like 1.10 is newer than one like 1.5.1; a part that is missing is 0. */
private fun isNewer(release: String, than: String): Boolean {
    val (left, right) = listOf(release, than).map { text -> text.split(".").map { it.toLongOrNull() ?: 0 } }
    for (i in 0 until maxOf(left.size, right.size)) {
        val difference = (left.getOrNull(i) ?: 0).compareTo(right.getOrNull(i) ?: 0)
        if (difference != 0) return difference > 0
    }
    return false
}
