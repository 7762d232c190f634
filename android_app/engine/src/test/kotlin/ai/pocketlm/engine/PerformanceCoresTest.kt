// The number of threads on phones of several makes, told by sysfs trees like theirs.
package ai.pocketlm.engine

import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class PerformanceCoresTest {
    @get:Rule val folder = TemporaryFolder()

    private fun write(file: String, values: List<Long?>): File {
        values.forEachIndexed { index, value ->
            val path = File(folder.root, "cpu$index/$file")
            path.parentFile.mkdirs()
            if (value != null) path.writeText("$value\n")
        }
        return folder.root
    }

    @Test
    fun `little cores are left out`() {
        assertEquals(4, PerformanceCores.count(write("cpu_capacity", listOf(280, 280, 280, 280, 870, 870, 870, 1024))))
    }

    @Test
    fun `a phone of fast cores alone is capped`() {
        assertEquals(6, PerformanceCores.count(write("cpu_capacity", listOf(830, 830, 830, 830, 830, 830, 1024, 1024))))
    }

    @Test
    fun `frequencies stand in where capacities are not told`() {
        val khz = listOf<Long?>(1_800_000, 1_800_000, 2_420_000, 2_420_000, 2_420_000, 2_840_000)
        assertEquals(4, PerformanceCores.count(write("cpufreq/cpuinfo_max_freq", khz)))
    }

    @Test
    fun `folders that are no cores are not counted`() {
        File(folder.root, "cpufreq").mkdirs()
        File(folder.root, "cpuidle").mkdirs()
        assertEquals(2, PerformanceCores.count(write("cpu_capacity", listOf(1024, 1024))))
    }

    @Test
    fun `one unreadable core or no tree leaves the choice to ExecuTorch`() {
        assertNull(PerformanceCores.count(write("cpu_capacity", listOf(1024, null))))
        assertNull(PerformanceCores.count(File(folder.root, "nowhere")))
    }
}
