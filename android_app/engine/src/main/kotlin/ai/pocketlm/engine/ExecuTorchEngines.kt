// Makes the engine of a package: the core's RunnerEngine over LlmModule.
package ai.pocketlm.engine

import ai.pocketlm.core.EngineFactory
import ai.pocketlm.core.InstalledPackage
import ai.pocketlm.core.LlmEngine
import ai.pocketlm.core.RunnerEngine

/** Engines for packages of the kind `text-llm`, which is what the installer lets in on Android. */
class ExecuTorchEngines : EngineFactory {
    /** Threads of the model, or null where ExecuTorch chooses. */
    val threads: Int? = PerformanceCores.count()

    override fun make(installed: InstalledPackage): LlmEngine =
        RunnerEngine(LlmModuleRunner(installed, threads), installed.manifest)

    companion object {
        /** The release that `gradle/libs.versions.toml` pins; a package may ask for at least some release. */
        const val RUNTIME = "1.5.1"

        /** The values of `runner.kind` that [make] can drive. */
        val RUNNER_KINDS: Set<String> = setOf("text-llm")
    }
}
