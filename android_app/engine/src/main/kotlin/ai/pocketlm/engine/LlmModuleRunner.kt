// ExecuTorch's text runner on Android: LlmModule behind the core's TextRunner. The only file that imports org.pytorch.
//
// What it stands on was read in pytorch/executorch, main of 2026-08-22, extension/android: LlmModule.kt, Module.kt,
// jni/jni_layer_llama.cpp, jni/jni_layer.cpp:
// * A piece comes only when it is whole UTF-8: the JNI layer joins tokens until it is, and drops what never becomes so.
// * Only seqLen reaches the native code; maxNewTokens does not. Where a chunk is smaller than the context it is the
//   number of new tokens of the call, else the end of the whole sequence (extension/llm/runner/text_llm_runner.cpp).
// * numBos is asked for once, in the config; the JNI layer puts the ids before the first text after load or reset.
// * A callback may call stop() and nothing else; what it throws comes back as error 1, its own words lost.
// * LlmModule sizes the process's thread pool to the performance cores less one; Module.load with a number of threads
//   sizes it anew.
package ai.pocketlm.engine

import ai.pocketlm.core.InstalledPackage
import ai.pocketlm.core.RunnerFailure
import ai.pocketlm.core.TextRunner
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
 * @param threads of the process's pool, or null for ExecuTorch's own choice.
 */
class LlmModuleRunner(private val installed: InstalledPackage, private val threads: Int?) : TextRunner {
    private val manifest = installed.manifest
    private val budgetsAreOfTheCall = manifest.chunk < manifest.context.tokens
    @Volatile private var module: LlmModule? = null

    override fun load() {
        if (module != null) return
        naming {
            val loaded = LlmModule(
                LlmModuleConfig.create()
                    .modulePath(installed.program.absolutePath)
                    .tokenizerPath(installed.tokenizer.absolutePath)
                    .temperature(0f)
                    .numBos(manifest.tokenizer.numBos.toInt())
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

    // The JNI layer knows by itself which text is the first.
    override fun prefill(text: String, first: Boolean) = naming { loaded().prefillPrompt(text) }

    override fun generate(
        text: String,
        first: Boolean,
        maxNewTokens: Int,
        temperature: Double,
        onPiece: (ByteArray) -> Unit,
    ): String? {
        val module = loaded()
        val gate = PieceGate(if (budgetsAreOfTheCall) Int.MAX_VALUE else maxNewTokens, module::stop, onPiece)
        val answers = Answers(gate)
        val config = LlmGenerationConfig.create()
            .seqLen(if (budgetsAreOfTheCall) maxNewTokens else manifest.context.tokens.toInt())
            .temperature(temperature.toFloat())
            .echo(false)
            .build()
        try {
            naming { module.generate(text, config, answers) }
        } catch (failure: RunnerFailure) {
            throw gate.thrown ?: failure
        }
        gate.thrown?.let { throw it }
        return answers.statistics
    }

    override fun stop() {
        module?.stop()
    }

    override fun reset() = naming { loaded().resetContext() }

    override fun close() {
        val loaded = module ?: return
        module = null
        naming { loaded.close() }
    }

    private fun loaded(): LlmModule = module ?: throw RunnerFailure(INVALID_STATE, "the model is not loaded")

    /** Opens the program a second time, which maps its header only, because that call takes the number of threads. */
    private fun sizeThreadPool() {
        if (threads != null) {
            Module.load(installed.program.absolutePath, Module.LOAD_MODE_MMAP, threads).close()
        }
    }

    private companion object {
        const val INVALID_STATE = 0x02 // runtime/core/error.h
    }
}

/** The runner's callbacks of one call. */
private class Answers(private val gate: PieceGate) : LlmCallback {
    var statistics: String? = null
        private set

    override fun onResult(result: String) = gate.take(result)

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
