package ai.pocketlm.core

import ai.pocketlm.e2e.at
import ai.pocketlm.e2e.items
import ai.pocketlm.e2e.jsonOf
import ai.pocketlm.e2e.orNull
import ai.pocketlm.e2e.text
import ai.pocketlm.e2e.texts
import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

/** What is listed, cleaned up and removed. */
class PackageLibraryTest {
    @get:Rule
    val temporary = TemporaryFolder()

    @Test
    fun libraries() {
        val manifests = Vectors.document("library").at("manifests")
        Vectors.check("library") { case ->
            val folder = temporary.newFolder()
            writeFiles(folder, case.at("before"), manifests)
            val library = PackageLibrary(FixedStore(folder, 0))
            assertEquals(case.expected.at("packages").items(), library.list().map(::jsonOf))
            library.cleanUp()
            assertEquals(case.expected.at("unfinished").texts(), library.unfinished())
            case.at("remove").orNull()?.let { assertEquals(null, library.remove(PackageId(it.text()))) }
            assertEquals(case.expected.at("remaining").texts(), folder.list().orEmpty().sorted())
        }
    }

    @Test
    fun whatIsNotThereCannotBeRemoved() {
        val refusal = PackageLibrary(FixedStore(temporary.newFolder(), 0)).remove(PackageId("ab".repeat(32)))
        assertEquals(SentenceKey.REMOVAL_FAILED, refusal?.key)
    }

    @Test
    fun aRemovalThatWasKilledIsFinished() {
        val folder = temporary.newFolder()
        File(folder, ".removing-0123456789abcdef").mkdirs()
        PackageLibrary(FixedStore(folder, 0)).cleanUp()
        assertEquals(emptyList<String>(), folder.list().orEmpty().toList())
    }
}
