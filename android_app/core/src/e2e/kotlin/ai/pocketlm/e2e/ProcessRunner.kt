// The phones' text runner as a process: tests/apps/engine_process.py --kind text-llm, lines of JSON.
package ai.pocketlm.e2e

import ai.pocketlm.core.Json
import ai.pocketlm.core.RunnerFailure
import ai.pocketlm.core.TextRunner
import java.io.File
import java.util.Base64

/** One thread owns it, save [stop]. `command` is what the process is started by, without the package. */
class ProcessRunner(private val command: List<String>, private val packageFolder: File) : TextRunner {
    private var process: Process? = null
    private val writing = Any()

    override fun load() {
        val whole = command + listOf("--kind", "text-llm", packageFolder.path)
        process = ProcessBuilder(whole).redirectError(ProcessBuilder.Redirect.INHERIT).start()
        ask("load")
    }

    fun count(text: String, first: Boolean): Long = ask("count", *said(text, first)).at("count").number()

    override fun prefill(text: String, first: Boolean) {
        ask("prefill", *said(text, first))
    }

    override fun generate(
        text: String,
        first: Boolean,
        maxNewTokens: Int,
        temperature: Double,
        onPiece: (ByteArray) -> Unit,
    ): String? {
        send(
            "generate",
            *said(text, first),
            "max_new_tokens" to Json.Whole(maxNewTokens.toLong()),
            "temperature" to Json.Fraction(temperature),
            "lockstep" to Json.Bool(true),
        )
        while (true) {
            val answer = receive()
            val piece = answer.find("piece_base64") ?: return answer.find("stats")?.write()
            onPiece(Base64.getDecoder().decode(piece.text()))
            send("go")
        }
    }

    override fun stop() = send("stop")

    override fun reset() {
        ask("reset")
    }

    override fun close() {
        process?.destroy()
        process?.waitFor()
        process = null
    }

    private fun said(text: String, first: Boolean): Array<Pair<String, Json>> =
        arrayOf("text" to Json.Text(text), "first" to Json.Bool(first))

    private fun ask(op: String, vararg more: Pair<String, Json>): Json {
        send(op, *more)
        return receive()
    }

    private fun send(op: String, vararg more: Pair<String, Json>) {
        val line = Json.of("op" to Json.Text(op), *more).write() + "\n"
        synchronized(writing) {
            val output = (process ?: throw RunnerFailure(null, "the process was not started")).outputStream
            output.write(line.toByteArray())
            output.flush()
        }
    }

    private val reader by lazy { process!!.inputStream.bufferedReader() }

    private fun receive(): Json {
        val line = reader.readLine() ?: throw RunnerFailure(null, "the process ended")
        val answer = Json.read(line)
        val error = answer.find("error") ?: return answer
        throw RunnerFailure(answer.find("code")?.number()?.toInt(), error.text())
    }
}
