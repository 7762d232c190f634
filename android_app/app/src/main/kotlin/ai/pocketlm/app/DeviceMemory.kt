// What the phone's memory looks like now, and how much of it this app holds.
package ai.pocketlm.app

import android.app.ActivityManager
import android.content.Context
import android.system.Os
import android.system.OsConstants
import java.io.File
import java.io.IOException

/** Memory of the phone and of this process; all in bytes. */
class DeviceMemory(context: Context) {
    private val manager = context.getSystemService(ActivityManager::class.java)
    private val pageBytes = Os.sysconf(OsConstants._SC_PAGESIZE) // 4096, or 16384 on newer phones

    private fun info() = ActivityManager.MemoryInfo().also { manager.getMemoryInfo(it) }

    /** Of the whole phone, as the kernel counts it. */
    val totalBytes: Long get() = info().totalMem

    /** Free now, without forcing other apps out. */
    val availableBytes: Long get() = info().availMem

    /** The most that an app in the foreground gets before the system ends it: everything but the system's reserve. */
    val mostBytes: Long get() = info().let { it.totalMem - it.threshold }

    /** What this process holds of it, mapped files included; 0 when the kernel does not say (proc(5), statm). */
    val residentBytes: Long
        get() = try {
            val pages = File("/proc/self/statm").readText().split(' ').getOrNull(1)?.toLongOrNull() ?: 0
            pages * pageBytes
        } catch (unreadable: IOException) {
            0
        }
}
