// What is said of this phone beside a benchmark's figures.
package ai.pocketlm.app

import ai.pocketlm.core.BenchmarkAbout
import ai.pocketlm.core.DeviceProbe
import ai.pocketlm.engine.ExecuTorchEngines
import android.content.Context
import android.os.Build

/** The app and the phone, for the exported document. */
fun benchmarkAbout(context: Context, memory: DeviceMemory, threads: Int?) = BenchmarkAbout(
    appName = context.getString(R.string.app_name),
    appVersion = context.packageManager.getPackageInfo(context.packageName, 0).versionName ?: "",
    runtime = "executorch ${ExecuTorchEngines.RUNTIME}",
    model = "${Build.MANUFACTURER} ${Build.MODEL}",
    system = "Android ${Build.VERSION.RELEASE}",
    memoryBytes = memory.totalBytes,
    threads = threads,
)

/** What changes between two runs. */
class PhoneProbe(private val context: Context, private val memory: DeviceMemory) : DeviceProbe {
    override fun memoryBytes(): Long? = memory.residentBytes.takeIf { it > 0 }

    override fun thermal(): String = heatWord(context)
}
