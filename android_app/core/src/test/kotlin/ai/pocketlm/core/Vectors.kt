// The test vectors of tests/vectors, which Python, Kotlin and Swift read.
package ai.pocketlm.core

import ai.pocketlm.e2e.at
import ai.pocketlm.e2e.items
import ai.pocketlm.e2e.number
import ai.pocketlm.e2e.text
import ai.pocketlm.e2e.texts
import java.io.File
import org.junit.Assert.fail

/** One vector: its members by name. */
class Case(val json: Json.Object) {
    val name: String get() = text("name")
    val expected: Json.Object get() = at("expected") as Json.Object

    /** The sentence that is expected in place of a result, or null. */
    val error: String? get() = (expected["error"] as? Json.Text)?.value

    fun has(key: String): Boolean = key in json.entries

    fun at(key: String): Json = json[key] ?: error("the vector has no $key")

    fun text(key: String): String = at(key).text()

    fun texts(key: String): List<String> = at(key).texts()

    fun number(key: String): Long = at(key).number()
}

object Vectors {
    /** The folder tests/vectors, named by the system property pocketlm.vectors. */
    val folder = File(System.getProperty("pocketlm.vectors") ?: "../../tests/vectors")

    fun document(name: String): Json = Json.read(File(folder, "$name.json").readBytes())

    fun cases(name: String): List<Case> = document(name).at("cases").items().map { Case(it as Json.Object) }

    /** Runs `check` on every vector and fails once with all those that differ. */
    fun check(name: String, check: (Case) -> Unit) = check(cases(name), check)

    fun check(cases: List<Case>, check: (Case) -> Unit) {
        check(cases.isNotEmpty()) { "there are no vectors" }
        val failures = cases.mapNotNull { case ->
            runCatching { check(case) }.exceptionOrNull()?.let { "${case.name}: $it" }
        }
        if (failures.isNotEmpty()) fail("${failures.size} of ${cases.size}:\n${failures.joinToString("\n")}")
    }
}

/** The sentence of the PocketError that `block` throws, or null. */
fun sentenceOf(block: () -> Unit): String? =
    try {
        block()
        null
    } catch (error: PocketError) {
        error.message
    }

fun hex(text: String): ByteArray = text.chunked(2).map { it.toInt(16).toByte() }.toByteArray()
