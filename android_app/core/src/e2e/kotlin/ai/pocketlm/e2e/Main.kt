// Drives the core as an app does, over lines of JSON: the end-to-end tests of tests/apps. One answer a command.
//
// Use: --packages FOLDER --chats FOLDER --platform android --count exact|bound [--system TEXT] [--budget N] --
// COMMAND...
package ai.pocketlm.e2e

import ai.pocketlm.core.Benchmark
import ai.pocketlm.core.BenchmarkReport
import ai.pocketlm.core.BenchmarkState
import ai.pocketlm.core.ChatSettings
import ai.pocketlm.core.ChatWorker
import ai.pocketlm.core.DEFAULT_NEW_TOKENS
import ai.pocketlm.core.DeviceProbe
import ai.pocketlm.core.EngineFactory
import ai.pocketlm.core.Installer
import ai.pocketlm.core.Json
import ai.pocketlm.core.MemoryCheck
import ai.pocketlm.core.PackageId
import ai.pocketlm.core.PackageLibrary
import ai.pocketlm.core.PackageSource
import ai.pocketlm.core.PackageStore
import ai.pocketlm.core.Platform
import ai.pocketlm.core.RunnerEngine
import ai.pocketlm.core.SelfTest
import java.io.File
import java.io.PrintStream
import kotlin.system.exitProcess

private val ANDROID = Platform(setOf("text-llm"), hasCoreMl = false, runtime = "1.5.1")

fun main(arguments: Array<String>) {
    val app = App(optionsOf(arguments.takeWhile { it != "--" }), arguments.dropWhile { it != "--" }.drop(1))
    val out = PrintStream(System.out, true, "UTF-8")
    generateSequence(System.`in`.bufferedReader()::readLine).forEach { line ->
        val command = Json.read(line)
        if (command.at("do").text() == "quit") exitProcess(0)
        val answer = runCatching { app.obey(command) }
            .getOrElse { Json.of("error" to Json.Text(it.message ?: it.toString())) }
        out.println(answer.write())
    }
    exitProcess(0)
}

private fun optionsOf(arguments: List<String>): Map<String, String> =
    arguments.chunked(2).associate { (name, value) -> name.removePrefix("--") to value }

private class FolderStore(override val folder: File) : PackageStore {
    override fun freeBytes(): Long = folder.usableSpace
}

/** The JVM has no such sensors; the figures of the runs are what is tested. */
private object HostProbe : DeviceProbe {
    override fun memoryBytes(): Long? = null

    override fun thermal(): String = "nominal"
}

private class App(options: Map<String, String>, private val command: List<String>) {
    private val store = FolderStore(File(options.getValue("packages")))
    private val library = PackageLibrary(store)
    private val isExact = options["count"] == "exact"
    private val settings = ChatSettings(
        system = options["system"],
        temperature = 0.0,
        budget = options["budget"]?.toInt() ?: DEFAULT_NEW_TOKENS,
    )
    private val factory = EngineFactory { installed ->
        val runner = ProcessRunner(command, installed.folder)
        RunnerEngine(runner, installed.manifest, if (isExact) runner::count else null)
    }
    private val recorder = Recorder()
    private val worker =
        ChatWorker(factory, library::find, File(options.getValue("chats")), { settings }, recorder::record)

    init {
        check(options["platform"] == "android") { "Kotlin's core is Android's; give --platform android" }
        library.cleanUp()
    }

    fun obey(command: Json): Json =
        when (val what = command.at("do").text()) {
            "install" -> install(File(command.at("source").text()))
            "library" -> Json.of(
                "packages" to Json.Items(library.list().map(::jsonOf)),
                "unfinished" to Json.Items(library.unfinished().map { Json.Text(it) }),
            )
            "remove" -> {
                library.remove(idOf(command))?.let { error(it.text) }
                Json.of("removed" to Json.Bool(true))
            }
            "event" -> event(command)
            "self_test" -> jsonOf(onEngine { SelfTest(factory).run(installed(command)) })
            "benchmark" -> benchmark(command)
            "memory" -> jsonOf(
                MemoryCheck.judge(
                    installed(command).manifest.memory.estimatedPeakBytes,
                    command.at("available_bytes").number(),
                    command.at("most_bytes").number(),
                ),
            )
            else -> error("unknown command $what")
        }

    private fun install(file: File): Json {
        val source = if (file.isDirectory) PackageSource.Folder(file, isMovable = false) else PackageSource.Zip(file)
        val phases = LinkedHashSet<String>()
        val last = Installer(store, ANDROID).install(source, onState = { state -> phaseOf(state)?.let(phases::add) })
        return Json.of("phases" to Json.Items(phases.map { Json.Text(it) }), "final" to jsonOf(last))
    }

    private fun event(command: Json): Json {
        val event = eventOf(command.at("event"))
        val heard = recorder.until(worker, event, command.find("stop_after")?.number()?.toInt())
        worker.flush()
        return heard
    }

    private fun benchmark(command: Json): Json {
        val state = onEngine { Benchmark(factory, HostProbe).run(installed(command)) }
        val report = (state as? BenchmarkState.Ended ?: error("$state")).report
        return BenchmarkReport.export(command.at("about") as Json.Object, report.newTokens, report.results)
    }

    private fun <T> onEngine(task: () -> T): T {
        val done = java.util.concurrent.CompletableFuture<T>()
        worker.execute { runCatching(task).fold(done::complete, done::completeExceptionally) }
        return done.get()
    }

    private fun idOf(command: Json) = PackageId(command.at("id").text())

    private fun installed(command: Json) = library.find(idOf(command)) ?: error("no package ${idOf(command).short}")
}
