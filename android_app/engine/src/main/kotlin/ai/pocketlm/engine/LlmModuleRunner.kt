// ExecuTorch's text runner on Android: LlmModule behind the core's TextRunner. The only file that imports org.pytorch.
//
// What it stands on was read in pytorch/executorch, extension/android (LlmModule.kt, Module.kt, jni/jni_layer_llama.cpp,
// jni/jni_layer.cpp), main of 2026-08-22:
// * A piece comes only when it is whole UTF-8: the JNI layer joins tokens until it is, and drops what never becomes so.
// * Only seqLen reaches the native code; maxNewTokens does not. On a ring it is the number of new tokens of the call.
// * numBos is asked for once, in the config; the JNI layer puts the ids before the first text after load or reset.
// * A callback may call stop() and nothing else; what it throws comes back as error 1, its own words lost.
// * LlmModule sizes the process's thread pool to the performance cores less one; Module.load with a number sizes it anew.
package ai.pocketlm.engine

import ai.pocketlm.core.RunnerFailure
import ai.pocketlm.core.TextRunner
import java.io.File
import org.pytorch.executorch.ExecutorchRuntimeException
import org.pytorch.executorch.Module
import org.pytorch.executorch.extension.llm.LlmCallback
import org.pytorch.executorch.extension.llm.LlmGenerationConfig
import org.pytorch.executorch.extension.llm.LlmModule
import org.pytorch.executorch.extension.llm.LlmModuleConfig

/**
 * One program and its tokenizer in memory, mapped and not copied.
 *
 * One thread owns it; only [stop] may be called from another one.
 *
 * @param numBos ids that the runner puts before a chat's first text.
 * @param threads of the process's pool, or null for ExecuTorch's own choice.
 */
class LlmModuleRunner(
    private val program: File,
    private val tokenizer: File,
    private val numBos: Int,
    private val threads: Int?,
) : TextRunner {
    @Volatile private var module: LlmModule? = null

    override fun load() {
        if (module != null) return
        naming {
            val loaded = LlmModule(
                LlmModuleConfig.create()
                    .modulePath(program.absolutePath)
                    .tokenizerPath(tokenizer.absolutePath)
                    .temperature(0f)
                    .numBos(numBos)
                    .loadMode(LlmModuleConfig.LOAD_MODE_MMAP)
                    .build(),
            )
            try {
                sizeThreadPool()
                loaded.load()
            } catch (error: Throwable) {
                loaded.close()
                throw error
            }
            module = loaded
        }
    }

    override fun prefill(text: String) = naming { loaded().prefillPrompt(text) }

    override fun generate(text: String, maxNewTokens: Int, temperature: Double, onPiece: (String) -> Unit): String? {
        val module = loaded()
        val answers = Answers(module, onPiece)
        val config = LlmGenerationConfig.create()
            .seqLen(maxNewTokens)
            .temperature(temperature.toFloat())
            .echo(false)
            .build()
        try {
            naming { module.generate(text, config, answers) }
        } catch (failure: RunnerFailure) {
            throw answers.thrown ?: failure
        }
        answers.thrown?.let { throw it }
        return answers.statistics
    }

    override fun stop() {
        module?.stop()
    }

    override fun reset() = naming { loaded().resetContext() }

    override fun close() {
        val open = module ?: return
        module = null
        naming { open.close() }
    }

    private fun loaded(): LlmModule = module ?: throw RunnerFailure(INVALID_STATE, "the model is not loaded")

    /** Opens the program a second time, which maps its header only, because that call takes the number of threads. */
    private fun sizeThreadPool() {
        if (threads != null) Module.load(program.absolutePath, Module.LOAD_MODE_MMAP, threads).close()
    }

    private companion object {
        const val INVALID_STATE = 0x02 // runtime/core/error.h
    }
}

/** Hands pieces on; keeps what a callback threw, which the native code would turn into error 1. */
private class Answers(private val module: LlmModule, private val onPiece: (String) -> Unit) : LlmCallback {
    var statistics: String? = null
        private set
    var thrown: Throwable? = null
        private set

    override fun onResult(result: String) {
        if (thrown != null) {
            module.stop()
            return
        }
        try {
            onPiece(result)
        } catch (error: Throwable) {
            thrown = error
            module.stop()
        }
    }

    override fun onStats(stats: String) {
        statistics = stats
    }

    // The same error is thrown by `generate` itself, with its code.
    override fun onError(errorCode: Int, message: String) = Unit
}

/** Runs a call into ExecuTorch; its failures become `RunnerFailure`s with the runtime's code where there is one. */
private inline fun <T> naming(call: () -> T): T =
    try {
        call()
    } catch (error: ExecutorchRuntimeException) {
        throw RunnerFailure(error.errorCode, error.message ?: error.toString())
    } catch (error: IllegalArgumentException) {
        throw RunnerFailure(null, error.message ?: error.toString())
    } catch (error: IllegalStateException) {
        throw RunnerFailure(null, error.message ?: error.toString())
    } catch (error: LinkageError) {
        throw RunnerFailure(null, "ExecuTorch's library does not load on this phone: ${error.message}")
    }
