package ai.pocketlm.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

/** Strict JSON: what is read, what is refused, what is written. */
class JsonTest {
    @Test
    fun numbersAreKeptApart() {
        val text = "[0, -0, 9223372036854775807, 9223372036854775808, -9223372036854775809, 1.0, 1e2, 1E400]"
        val items = (Json.read(text) as Json.Items).items
        val expected = listOf(
            Json.Whole(0),
            Json.Whole(0),
            Json.Whole(Long.MAX_VALUE),
            Json.Huge("9223372036854775808"),
            Json.Huge("-9223372036854775809"),
            Json.Fraction(1.0),
            Json.Fraction(100.0),
            Json.Fraction(Double.POSITIVE_INFINITY),
        )
        assertEquals(expected, items)
    }

    @Test
    fun whatIsNotJsonIsRefused() {
        val bad = listOf(
            "", " ", "{", "[1,]", "{\"a\":1,}", "01", "1.", ".5", "+1", "--1", "1e", "\"a", "\"\u0001\"", "\"\\x\"",
            "\"\\u12g4\"", "tru", "nul", "'a'", "[1 2]", "{1:2}", "{\"a\" 1}", "1 1", "\ufeff1", "Nan",
        )
        for (text in bad) assertThrows(text, JsonError.Malformed::class.java) { Json.read(text) }
    }

    @Test
    fun constantsAndDoubleKeysAreNamed() {
        for (name in listOf("NaN", "Infinity", "-Infinity")) {
            assertEquals(name, assertThrows(JsonError.Constant::class.java) { Json.read("[$name]") }.name)
        }
        val twice = assertThrows(JsonError.DuplicateKey::class.java) { Json.read("{\"a\": {\"b\": 1, \"b\": 2}}") }
        assertEquals("b", twice.key)
    }

    @Test
    fun aDeepDocumentIsAnErrorAndNoOverflow() {
        assertThrows(JsonError.Malformed::class.java) { Json.read("[".repeat(100_000)) }
    }

    @Test
    fun bytesThatAreNotUtf8AreRefused() {
        assertThrows(JsonError.Malformed::class.java) { Json.read(byteArrayOf(0x22, 0xFF.toByte(), 0x22)) }
    }

    @Test
    fun escapesAreReadAndWritten() {
        val value = Json.read("\"\\u00e9\\ud83d\\ude00\\n\\/\\\\\\\"\\u0007\"")
        assertEquals(Json.Text("é😀\n/\\\"\u0007"), value)
        assertEquals("\"é😀\\n/\\\\\\\"\\u0007\"", value.write())
    }

    @Test
    fun aPrettyObjectHasSortedKeys() {
        val value = Json.read("{\"b\": [], \"a\": {\"d\": [1, null], \"c\": true}}")
        val text = "{\n  \"a\": {\n    \"c\": true,\n    \"d\": [\n      1,\n      null\n    ]\n  },\n  \"b\": []\n}"
        assertEquals(text, value.write(pretty = true))
        assertEquals("{\"b\": [], \"a\": {\"d\": [1, null], \"c\": true}}", value.write())
    }

    @Test
    fun whatIsDroppedTakesNoMemoryAndMustStillBeJson() {
        val text = "{\"merges\": [1, {\"x\": 2}], \"a\": 1}".toByteArray()
        assertEquals(Json.of("merges" to Json.Null, "a" to Json.Whole(1)), Json.readWithout(setOf("merges"), text))
        val bad = "{\"merges\": [1,], \"a\": 1}".toByteArray()
        assertThrows(JsonError.Malformed::class.java) { Json.readWithout(setOf("merges"), bad) }
    }

    @Test
    fun aSlipOfTheFingerIsNamed() {
        assertEquals("window", nearest("widow", listOf("chunk", "window")))
        assertEquals(null, nearest("hologram", listOf("chunk", "window")))
    }
}
