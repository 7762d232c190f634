// The self-test and the benchmark of a package: each loads a model of its own, on the thread that drives all models.
package ai.pocketlm.app

import ai.pocketlm.core.Benchmark
import ai.pocketlm.core.BenchmarkState
import ai.pocketlm.core.ChatWorker
import ai.pocketlm.core.DeviceProbe
import ai.pocketlm.core.EngineFactory
import ai.pocketlm.core.InstalledPackage
import ai.pocketlm.core.SelfTest
import ai.pocketlm.core.SelfTestState
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.setValue
import java.util.concurrent.atomic.AtomicBoolean

/**
 * One measurement at a time; a new one stops the one before. States change on the main thread only.
 *
 * @param worker whose thread runs them, after everything that was asked of the chat before.
 * @param post runs a change on the main thread.
 */
class Measurements(
    private val engines: EngineFactory,
    private val worker: ChatWorker,
    private val probe: DeviceProbe,
    private val post: (() -> Unit) -> Unit,
) {
    /** Of the package that was tested last; null before the first. */
    var selfTest: SelfTestState? by mutableStateOf(null)
        private set
    var benchmark: BenchmarkState? by mutableStateOf(null)
        private set

    /** Whether the newest measurement is stopped; older ones report nothing more. */
    private var newest = AtomicBoolean()

    fun startSelfTest(installed: InstalledPackage) {
        selfTest = SelfTestState.Loading
        start { stopped ->
            SelfTest(engines).run(installed, stopped::get) { state ->
                post { if (stopped === newest) selfTest = state }
            }
        }
    }

    fun startBenchmark(installed: InstalledPackage) {
        benchmark = BenchmarkState.Loading
        start { stopped ->
            Benchmark(engines, probe).run(installed, stopped::get) { state ->
                post { if (stopped === newest) benchmark = state }
            }
        }
    }

    /** Forgets the figures of another package. */
    fun clear() {
        stop()
        newest = AtomicBoolean()
        selfTest = null
        benchmark = null
    }

    /** Ends what runs soon. A benchmark keeps the figures that it has. */
    fun stop() = newest.set(true)

    private fun start(work: (AtomicBoolean) -> Unit) {
        stop()
        val stopped = AtomicBoolean()
        newest = stopped
        worker.execute { work(stopped) }
    }
}
