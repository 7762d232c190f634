// Owns the engine and the session on one thread: turns the reducer's effects into work, and the work into events.
package ai.pocketlm.core

import java.io.File
import java.util.concurrent.Executors
import java.util.concurrent.TimeUnit

/**
 * One chat screen's worker. Every function may be called from any thread.
 *
 * @param factory makes engines; a `PocketError` of it becomes a failed load.
 * @param find the installed package of an id.
 * @param historyFolder holds a file for each package's chat.
 * @param newChatSettings for a package that is opened; without its system text where the package takes none.
 * @param onState told every new state in order, on whatever thread made it; it hands the state over and does not wait.
 * @param onStorageFailed told when a chat could not be saved.
 * @param clock seconds; replaced in tests.
 */
class ChatWorker(
    private val factory: EngineFactory,
    private val find: (PackageId) -> InstalledPackage?,
    historyFolder: File,
    private val newChatSettings: () -> ChatSettings,
    private val onState: (ChatState) -> Unit,
    onStorageFailed: (Refusal) -> Unit = {},
    private val clock: () -> Double = { System.nanoTime() / 1e9 },
) {
    private val files = ChatFiles(historyFolder, onStorageFailed)
    private val thread = Executors.newSingleThreadExecutor { Thread(it, "engine") }
    private val lock = Any()
    private var epoch = 0 // counts loads and unloads: what began before one reports nothing after it
    private var turn = TurnHandle()

    @Volatile private var current: ChatState = ChatState.Empty

    private var open: OpenPackage? = null // the engine thread's

    val state: ChatState get() = current

    fun send(event: ChatEvent) = dispatch(event, null)

    /** Runs a task on the engine's thread after everything that was asked for before. */
    fun execute(task: () -> Unit) = thread.execute(task)

    /** Waits until everything that was to be saved is on disk; for the moment before the process may be ended. */
    fun flush() = files.flush()

    /** Ends the reply, lets the model go and saves; waits for all of it. Events after it are dropped. */
    fun close() {
        synchronized(lock) {
            send(ChatEvent.PackageClosed)
            thread.shutdown()
        }
        thread.awaitTermination(CLOSE_SECONDS, TimeUnit.SECONDS)
        files.close()
    }

    /** Reduces an event and starts its effects, unless it belongs to work of an earlier epoch. */
    private fun dispatch(event: ChatEvent, ofEpoch: Int?) {
        synchronized(lock) {
            if (thread.isShutdown || ofEpoch != null && ofEpoch != epoch) return
            val before = current
            val (after, effects) = ChatReducer.reduce(before, event)
            current = after
            effects.forEach { start(it, chatOf(after)?.settings) }
            if (after != before) onState(after)
        }
    }

    private fun start(effect: ChatEffect, settings: ChatSettings?) {
        when (effect) {
            is ChatEffect.Load -> {
                epoch++
                onEngine { load(effect.packageId, it) }
            }
            ChatEffect.Unload -> {
                epoch++
                thread.execute { unload() }
            }
            is ChatEffect.Send ->
                startTurn(settings) { session, budget, wasCancelled, onText ->
                    session.send(effect.text, budget, wasCancelled, onText)
                }
            ChatEffect.Regenerate ->
                startTurn(settings) { session, budget, wasCancelled, onText ->
                    session.regenerate(budget, wasCancelled, onText)
                }
            ChatEffect.Cancel -> turn.cancel()
            is ChatEffect.Restore -> onEngine { restore(effect.messages, settings, it) }
            is ChatEffect.Save -> files.save(effect.packageId, effect.messages)
            ChatEffect.Reset -> thread.execute { open?.session = null }
        }
    }

    private fun onEngine(work: (Int) -> Unit) {
        val begun = epoch
        thread.execute { work(begun) }
    }

    private fun load(id: PackageId, begun: Int) {
        val event = try {
            unload()
            val installed = find(id)
                ?: throw PocketError(refusal(SentenceKey.NOT_A_PACKAGE_FOLDER, "name" to id.short))
            val messages = files.load(id)
            val engine = factory.make(installed)
            open = OpenPackage(engine, installed.manifest)
            engine.load()
            val settings = newChatSettings()
            val system = settings.system.takeIf { installed.manifest.takesSystem }
            ChatEvent.Loaded(id, messages, settings.copy(system = system))
        } catch (error: Throwable) { // a missing library or no memory is an Error; the user is told all the same
            unload()
            ChatEvent.LoadFailed(id, Refusal.of(error))
        }
        dispatch(event, begun)
    }

    private fun unload() {
        val engine = open?.engine
        open = null
        engine?.close()
    }

    private fun restore(messages: List<Message>, settings: ChatSettings?, begun: Int) {
        val opened = open ?: return // the load before has failed and said so
        val event = try {
            val session = opened.freshSession(settings, clock)
            if (messages.isEmpty()) {
                ChatEvent.Restored(session.messages, Mark.NOTHING_FORGOTTEN, "")
            } else {
                val note = session.restore(messages).note
                ChatEvent.Restored(session.messages, session.mark, Sentences.asSentence(note))
            }
        } catch (error: Throwable) { // as in `load`
            ChatEvent.ReplyFailed(Refusal.of(error), opened.session?.messages.orEmpty())
        }
        dispatch(event, begun)
    }

    private fun startTurn(settings: ChatSettings?, run: RunTurn) {
        val handle = TurnHandle()
        turn = handle
        onEngine { begun ->
            val opened = open ?: return@onEngine
            dispatch(runTurn(opened, settings ?: ChatSettings(), handle, begun, run), begun)
        }
    }

    private fun runTurn(
        opened: OpenPackage,
        settings: ChatSettings,
        handle: TurnHandle,
        begun: Int,
        run: RunTurn,
    ): ChatEvent =
        try {
            val session = opened.session ?: opened.freshSession(settings, clock)
            opened.engine.temperature = settings.temperature
            val budget = minOf(settings.budget.toLong(), opened.context.tokens).toInt()
            val batch = TextBatch(clock) { dispatch(ChatEvent.TextArrived(it), begun) }
            handle.begin(session)
            val reply = run(session, budget, { handle.isCancelled }, batch::add)
            batch.flush()
            val report = opened.engine.lastStatistics.takeIf { reply.newTokens > 0 }
            val figures = report?.let(Statistics::ofReport) ?: Statistics.of(reply)
            val statistics = figures.takeIf { reply.newTokens > 0 }
            val spoken = reply.copy(note = Sentences.asSentence(reply.note))
            ChatEvent.ReplyEnded(spoken, session.messages, session.mark, statistics)
        } catch (error: Throwable) { // as in `load`
            ChatEvent.ReplyFailed(Refusal.of(error), opened.session?.messages.orEmpty())
        } finally {
            handle.end()
        }

    private companion object {
        const val CLOSE_SECONDS = 30L
    }
}

/** A session's way to a reply: the budget in tokens, whether it was cancelled before it began, where text goes. */
private typealias RunTurn = (Session, Int, () -> Boolean, (String) -> Unit) -> Reply

/** A loaded package. The engine's thread owns it. */
private class OpenPackage(val engine: LlmEngine, manifest: Manifest) {
    val context = manifest.context
    private val turns = manifest.turns()
    var session: Session? = null

    fun freshSession(settings: ChatSettings?, clock: () -> Double): Session =
        Session(engine, turns, context, settings?.system, clock).also { session = it }
}

/** A turn that may be cancelled before, while and after it runs. */
private class TurnHandle {
    private var session: Session? = null

    @Volatile
    var isCancelled = false
        private set

    @Synchronized
    fun begin(session: Session) {
        this.session = session
    }

    @Synchronized
    fun end() {
        session = null
    }

    @Synchronized
    fun cancel() {
        isCancelled = true
        session?.cancel()
    }
}

/** Text for the screen, at most every 50 ms; the first comes at once. */
private class TextBatch(private val clock: () -> Double, private val onText: (String) -> Unit) {
    private val held = StringBuilder()
    private var lastS = Double.NEGATIVE_INFINITY

    fun add(text: String) {
        held.append(text)
        val nowS = clock()
        if (nowS - lastS >= BATCH_S) {
            lastS = nowS
            flush()
        }
    }

    fun flush() {
        if (held.isEmpty()) return
        val text = held.toString()
        held.setLength(0)
        onText(text)
    }

    private companion object {
        const val BATCH_S = 0.05
    }
}
