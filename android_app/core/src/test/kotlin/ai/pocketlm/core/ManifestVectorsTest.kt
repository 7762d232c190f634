package ai.pocketlm.core

import ai.pocketlm.e2e.at
import ai.pocketlm.e2e.flag
import ai.pocketlm.e2e.items
import ai.pocketlm.e2e.number
import ai.pocketlm.e2e.text
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

/** Good manifests are read; of bad ones the first wrong place is named, in the reference's words. */
class ManifestVectorsTest {
    private val bases = Vectors.document("manifests").at("bases")

    @Test
    fun manifests() = Vectors.check("manifests") { case ->
        val sentence = sentenceOf { read(case) }
        if (case.expected.at("is_good").flag()) {
            assertEquals(null, sentence)
        } else {
            val wanted = case.expected.at("error").text()
            assertTrue("$sentence instead of $wanted", sentence != null && same(sentence, wanted))
        }
    }

    /** What a JSON parser says of its own is not compared. */
    private fun same(sentence: String, wanted: String): Boolean =
        if (wanted.endsWith("is not valid JSON")) sentence.startsWith("$wanted (") else sentence == wanted

    private fun read(case: Case): Manifest =
        when {
            case.has("content") -> readManifest(case.text("content").toByteArray())
            case.has("content_hex") -> readManifest(hex(case.text("content_hex")))
            case.has("edit") -> {
                val edit = case.at("edit") as Json.Object
                parseManifest(edited(bases.at(case.text("base")), edit.at("path").items(), edit["value"]))
            }
            else -> parseManifest(bases.at(case.text("base")))
        }

    /** The document with another value at the path, or without the member when there is no value. */
    private fun edited(value: Json, path: List<Json>, change: Json?): Json {
        val step = path.first()
        if (value is Json.Items) {
            val index = step.number().toInt()
            val items = value.items.toMutableList()
            items[index] = inner(items[index], path, change)!!
            return Json.Items(items)
        }
        val entries = LinkedHashMap((value as Json.Object).entries)
        val changed = inner(entries[step.text()] ?: Json.Null, path, change)
        if (changed == null) entries.remove(step.text()) else entries[step.text()] = changed
        return Json.Object(entries)
    }

    private fun inner(item: Json, path: List<Json>, change: Json?): Json? =
        if (path.size == 1) change else edited(item, path.drop(1), change)
}
