package ai.pocketlm.core

import ai.pocketlm.e2e.at
import ai.pocketlm.e2e.text
import java.io.File
import java.util.Random
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

/** Thousands of damaged zips and manifests: each is read or refused with a sentence, nothing else ever happens. */
class DamageTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val document = Vectors.document("install")
    private val random = Random(7)

    private fun damaged(bytes: ByteArray): ByteArray {
        val copy = bytes.copyOf(if (random.nextInt(4) == 0) 1 + random.nextInt(bytes.size) else bytes.size)
        repeat(1 + random.nextInt(4)) { copy[random.nextInt(copy.size)] = random.nextInt(256).toByte() }
        return copy
    }

    @Test
    fun damagedZips() {
        val names = listOf("a good zip", "a deflated entry", "zip64 records", "sizes behind the content")
        val zips = Vectors.cases("install").filter { it.name in names }
            .map { bytesOf(it.at("source").at("zip"), document.at("manifests")) }
        val file = temporary.newFile("package.zip")
        val store = FixedStore(File(temporary.root, "packages"), 1L shl 40)
        val endings = mutableMapOf<String, Int>()
        repeat(1500) { round ->
            file.writeBytes(damaged(zips[round % zips.size]))
            val last = Installer(store, ANDROID).install(PackageSource.Zip(file))
            val word = (last as? InstallState.Refused)?.refusal?.key?.key ?: "installed"
            endings[word] = (endings[word] ?: 0) + 1
            store.folder.deleteRecursively()
        }
        assertTrue("$endings", endings.keys.size > 4)
    }

    @Test
    fun damagedManifests() {
        val good = document.at("manifests").at("good").text().toByteArray()
        var refused = 0
        repeat(3000) {
            val sentence = sentenceOf { readManifest(damaged(good)) }
            if (sentence != null) refused++
            assertEquals(sentence, sentence?.lines()?.joinToString(" "))
        }
        assertTrue("$refused", refused > 1000)
    }
}
