// How hot the phone is. Android 10 and newer tell; older phones slow down by themselves.
package ai.pocketlm.app

import android.content.Context
import android.os.Build
import android.os.PowerManager
import java.util.concurrent.Executor

private const val API_WITH_THERMAL_STATUS = 29

// PowerManager.THERMAL_STATUS_NONE = 0 and what follows it; the first has the word that iOS uses for it.
private val WORDS = listOf("nominal", "light", "moderate", "severe", "critical", "emergency", "shutdown")

/** Calls `onCritical` on `executor` each time the phone's thermal status becomes critical or worse. */
fun watchHeat(context: Context, executor: Executor, onCritical: () -> Unit) {
    if (Build.VERSION.SDK_INT < API_WITH_THERMAL_STATUS) return
    context.getSystemService(PowerManager::class.java).addThermalStatusListener(executor) { status ->
        if (status >= PowerManager.THERMAL_STATUS_CRITICAL) onCritical()
    }
}

/** The phone's thermal status in a word, or "unknown" where it does not tell. */
fun heatWord(context: Context): String {
    if (Build.VERSION.SDK_INT < API_WITH_THERMAL_STATUS) return "unknown"
    return WORDS.getOrElse(context.getSystemService(PowerManager::class.java).currentThermalStatus) { "unknown" }
}
