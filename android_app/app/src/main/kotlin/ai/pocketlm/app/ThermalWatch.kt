// Says when the phone is too hot to go on. Android 10 and newer tell; older phones slow down by themselves.
package ai.pocketlm.app

import android.content.Context
import android.os.Build
import android.os.PowerManager
import java.util.concurrent.Executor

private const val API_WITH_THERMAL_STATUS = 29

/** Calls `onCritical` on `executor` each time the phone's thermal status becomes critical or worse. */
fun watchHeat(context: Context, executor: Executor, onCritical: () -> Unit) {
    if (Build.VERSION.SDK_INT < API_WITH_THERMAL_STATUS) return
    context.getSystemService(PowerManager::class.java).addThermalStatusListener(executor) { status ->
        if (status >= PowerManager.THERMAL_STATUS_CRITICAL) onCritical()
    }
}
