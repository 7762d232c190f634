// How many threads the model gets: as many as the phone has fast cores. Reads Linux's sysfs, which apps may read.
package ai.pocketlm.engine

import java.io.File
import java.io.IOException

/**
 * The fast cores of this machine.
 *
 * Slow cores hold a parallel step up: the fast ones wait for them at its end. Linux says how strong each core is
 * (`cpu_capacity`, 1024 for the strongest; Documentation/ABI/testing/sysfs-devices-system-cpu of the kernel); where it
 * does not, the highest frequencies are compared.
 */
object PerformanceCores {
    private val SYSFS = File("/sys/devices/system/cpu")
    private val CORE = Regex("cpu[0-9]+")
    private const val FAST_SHARE = 0.5 // of the strongest core's capacity; little cores have a quarter to 0.4 of it
    private const val FAST_FREQUENCY_SHARE = 0.75 // of the highest frequency
    private const val MAX_THREADS = 6 // reading weights from memory is what takes the time, and few cores saturate it

    /** The number of threads to use, or null when the machine does not say how its cores differ. */
    fun count(folder: File = SYSFS): Int? {
        val cores = folder.listFiles { file -> CORE.matches(file.name) } ?: return null
        val fast = fast(cores.map { number(File(it, "cpu_capacity")) }, FAST_SHARE)
            ?: fast(cores.map { number(File(it, "cpufreq/cpuinfo_max_freq")) }, FAST_FREQUENCY_SHARE)
        return fast?.coerceAtMost(MAX_THREADS)
    }

    private fun fast(strengths: List<Long?>, share: Double): Int? {
        val known = strengths.filterNotNull()
        if (known.isEmpty() || known.size < strengths.size) return null
        val least = known.max() * share
        return known.count { it >= least }
    }

    private fun number(file: File): Long? =
        try {
            file.readText().trim().toLongOrNull()
        } catch (unreadable: IOException) {
            null
        }
}
