// ExecuTorch's text runner as the engine uses it: signatures only, bodies never run.
//
// [llm] pytorch/executorch extension/android/executorch_android/src/main/java/org/pytorch/executorch/extension/llm/LlmModule.kt @ cff6f4dd32e630945b7188512c1f2b4f102b05ad
// [callback] pytorch/executorch extension/android/executorch_android/src/main/java/org/pytorch/executorch/extension/llm/LlmCallback.kt @ cff6f4dd32e630945b7188512c1f2b4f102b05ad
// [config] pytorch/executorch extension/android/executorch_android/src/main/java/org/pytorch/executorch/extension/llm/LlmModuleConfig.kt @ cff6f4dd32e630945b7188512c1f2b4f102b05ad
// [generation] pytorch/executorch extension/android/executorch_android/src/main/java/org/pytorch/executorch/extension/llm/LlmGenerationConfig.kt @ cff6f4dd32e630945b7188512c1f2b4f102b05ad
@file:Suppress("UNUSED_PARAMETER")

package org.pytorch.executorch.extension.llm

import java.io.Closeable

class LlmModule(config: LlmModuleConfig) : Closeable { // [llm]
    fun load(): Unit = TODO() // [llm]

    fun generate(prompt: String, config: LlmGenerationConfig, llmCallback: LlmCallback): Unit = TODO() // [llm]

    fun prefillPrompt(prompt: String): Unit = TODO() // [llm]

    fun resetContext(): Unit = TODO() // [llm]

    fun stop(): Unit = TODO() // [llm]

    override fun close(): Unit = TODO() // [llm]
}

interface LlmCallback { // [callback]
    fun onResult(result: String) // [callback]

    fun onStats(stats: String) {} // [callback]

    fun onError(errorCode: Int, message: String) {} // [callback]
}

class LlmModuleConfig private constructor() { // [config]
    companion object { // [config]
        const val LOAD_MODE_MMAP = 1 // [config]

        @JvmStatic
        fun create(): Builder = TODO() // [config]
    }

    class Builder internal constructor() { // [config]
        fun modulePath(modulePath: String): Builder = TODO() // [config]

        fun tokenizerPath(tokenizerPath: String): Builder = TODO() // [config]

        fun temperature(temperature: Float): Builder = TODO() // [config]

        fun numBos(numBos: Int): Builder = TODO() // [config]

        fun loadMode(loadMode: Int): Builder = TODO() // [config]

        fun build(): LlmModuleConfig = TODO() // [config]
    }
}

class LlmGenerationConfig private constructor() { // [generation]
    companion object { // [generation]
        @JvmStatic
        fun create(): Builder = TODO() // [generation]
    }

    class Builder internal constructor() { // [generation]
        fun echo(echo: Boolean): Builder = TODO() // [generation]

        fun seqLen(seqLen: Int): Builder = TODO() // [generation]

        fun temperature(temperature: Float): Builder = TODO() // [generation]

        fun build(): LlmGenerationConfig = TODO() // [generation]
    }
}
