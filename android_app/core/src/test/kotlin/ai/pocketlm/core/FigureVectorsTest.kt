package ai.pocketlm.core

import ai.pocketlm.e2e.at
import ai.pocketlm.e2e.flag
import ai.pocketlm.e2e.items
import ai.pocketlm.e2e.number
import ai.pocketlm.e2e.orNull
import ai.pocketlm.e2e.real
import ai.pocketlm.e2e.refusalOf
import ai.pocketlm.e2e.statisticsOf
import ai.pocketlm.e2e.text
import ai.pocketlm.e2e.texts
import org.junit.Assert.assertEquals
import org.junit.Test

/** Statistics, the runtime's errors, the self-test's verdicts, benchmark plans and documents, hashes. */
class FigureVectorsTest {
    @Test
    fun statistics() = Vectors.check("statistics") { case ->
        val figures = when (case.text("call")) {
            "of_report" -> Statistics.ofReport(case.text("report"))
            else -> Statistics.of(partialReply(case.at("reply")))
        }
        assertEquals((case.json["expected"])?.orNull()?.let(::statisticsOf), figures)
    }

    private fun partialReply(json: Json) = Reply(
        text = "",
        end = Ending.STOP,
        promptTokens = json.at("prompt_tokens").number(),
        newTokens = json.at("new_tokens").number(),
        timeToFirstTokenS = json.at("time_to_first_token_s").orNull()?.real(),
        decodeTokensPerS = json.at("decode_tokens_per_s").orNull()?.real(),
        note = "",
    )

    @Test
    fun engineErrors() = Vectors.check("engine_errors") { case ->
        val code = case.at("code").orNull()?.number()?.toInt()
        assertEquals(refusalOf(case.expected), EngineError.refusal(code, case.text("detail")))
    }

    @Test
    fun selfTests() = Vectors.check("selftest") { case ->
        val found = case.at("found") as Json.Object
        val golden = goldenOf(case.at("golden"))
        val ids = found["ids"]
        val state = when {
            ids != null -> SelfTest.byIds(golden, ids.items().map { it.number() })
            else -> SelfTest.byText(golden, found.at("pieces_hex").texts().map(::hex))
        }
        val (key, text) = refusalOf(case.expected)
        val expected = when (case.expected.at("verdict").text()) {
            "passed" -> SelfTestState.Passed(key, text)
            "unsure" -> SelfTestState.Unsure(key, text)
            else -> SelfTestState.Failed(key, text)
        }
        assertEquals(expected, state)
    }

    private fun goldenOf(json: Json) = Golden(
        prompt = "x",
        promptIds = listOf(1),
        ids = json.at("ids").items().map { it.number() },
        text = json.at("text").text(),
        margins = emptyList(),
        noiseFloor = 0.0,
        compared = json.at("compared").number(),
    )

    @Test
    fun benchmarks() = Vectors.check("benchmark") { case ->
        if (case.text("call") == "plan") {
            val plan = BenchmarkPlan.of(contextOf(case))
            assertEquals(case.expected.at("new_tokens").number(), plan.newTokens)
            val runs = case.expected.at("runs").items()
            val expected = runs.map { BenchmarkRun(it.at("prompt_tokens").number(), it.at("is_warm_up").flag()) }
            assertEquals(expected, plan.runs)
        } else {
            val results = case.at("runs").items().map(::resultOf)
            val document = BenchmarkReport.export(case.at("about") as Json.Object, case.number("new_tokens"), results)
            assertEquals(case.expected, document)
        }
    }

    private fun resultOf(json: Json) = BenchmarkResult(
        promptTokens = json.at("prompt_tokens").number(),
        newTokens = json.at("new_tokens").number(),
        isWarmUp = json.at("is_warm_up").flag(),
        timeToFirstTokenS = json.at("time_to_first_token_s").orNull()?.real(),
        prefillTokensPerS = json.at("prefill_tokens_per_s").orNull()?.real(),
        decodeTokensPerS = json.at("decode_tokens_per_s").orNull()?.real(),
        memoryBytes = json.at("memory_bytes").orNull()?.number(),
        thermal = json.at("thermal").text(),
    )

    @Test
    fun hashes() = Vectors.check("sha256") { case ->
        val bytes = hex(case.text("hex"))
        val whole = (0 until case.number("times")).flatMap { bytes.asIterable() }.toByteArray()
        assertEquals(case.expected.at("sha256").text(), Sha256.of(whole))
        var told = 0L
        assertEquals(case.expected.at("sha256").text(), Sha256.of(whole.inputStream()) { told += it })
        assertEquals(whole.size.toLong(), told)
    }
}
