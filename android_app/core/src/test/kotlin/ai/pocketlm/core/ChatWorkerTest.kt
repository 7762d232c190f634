package ai.pocketlm.core

import java.io.File
import java.util.concurrent.CountDownLatch
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

/** The worker's threads, batches, files and cancellations, over an engine that waits when it is told to. */
class ChatWorkerTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val states = LinkedBlockingQueue<ChatState>()
    private val engines = mutableListOf<WaitingEngine>()
    private val id = Manifests.id
    private var manifest = Manifests.withSystem
    private var timeS = 0.0
    private var make: () -> WaitingEngine = { WaitingEngine() }
    private var settings = ChatSettings(temperature = 0.5)
    private val worker by lazy(::newWorker)
    private val history: File by lazy { temporary.newFolder() }

    private fun newWorker() = ChatWorker(
        factory = { make().also { engine -> engines += engine } },
        find = { wanted -> InstalledPackage(wanted, temporary.root, manifest).takeIf { wanted == id } },
        historyFolder = history,
        newChatSettings = { settings },
        onState = states::put,
        clock = { timeS },
    )

    @After
    fun close() = worker.close()

    private inline fun <reified T : ChatState> await(): T {
        while (true) {
            val state = states.poll(10, TimeUnit.SECONDS) ?: error("no ${T::class}; it is ${worker.state}")
            if (state is T) return state
        }
    }

    private fun opened(): WaitingEngine {
        worker.send(ChatEvent.PackageOpened(id))
        await<ChatState.Idle>()
        return engines.last()
    }

    private fun said(vararg texts: String): List<Message> =
        texts.mapIndexed { index, text -> Message(if (index % 2 == 0) "user" else "assistant", text) }

    @Test
    fun aReplyIsStreamedAndSaved() {
        val engine = opened()
        worker.send(ChatEvent.Sent("Hi"))
        val idle = await<ChatState.Idle>()
        assertEquals(said("Hi", "Hello."), idle.chat.messages)
        assertEquals(7L, idle.chat.statistics?.newTokens)
        assertEquals(0.5, engine.temperature, 0.0)
        worker.flush()
        assertEquals(said("Hi", "Hello."), loadChat(File(history, "${id.short}.json")).messages)
    }

    @Test
    fun textReachesTheScreenInBatches() {
        val engine = opened()
        engine.reply = List(20) { "$it " }
        engine.onPiece = { timeS += 0.02 }
        worker.send(ChatEvent.Sent("Hi"))
        val replying = mutableListOf<ChatState.Replying>()
        while (true) {
            val state = states.poll(10, TimeUnit.SECONDS) ?: error("it is ${worker.state}")
            if (state is ChatState.Replying) replying += state
            if (state is ChatState.Idle) break
        }
        assertEquals("0 ", replying.first().soFar) // at once
        assertEquals(engine.reply.joinToString(""), replying.last().soFar)
        assertTrue("${replying.size} batches", replying.size in 6..9) // 400 ms by 50 ms, in steps of 20
    }

    @Test
    fun aChatComesBackAfterTheProcessHasDied() {
        saveChat(SavedChat(id.sha256, said("A", "one", "B")), File(history, "${id.short}.json"))
        val engine = opened()
        assertEquals(said("A", "one", "B"), chatOf(worker.state)?.messages)
        assertEquals(listOf("prefill"), engine.calls.filter { it == "prefill" })
        worker.send(ChatEvent.RegenerateTapped)
        assertEquals(said("A", "one", "B", "Hello."), await<ChatState.Idle>().chat.messages)
    }

    @Test
    fun aDamagedChatIsPutAsideAndTold() {
        File(history, "${id.short}.json").writeText("{")
        worker.send(ChatEvent.PackageOpened(id))
        val failed = await<ChatState.LoadFailed>()
        assertEquals(SentenceKey.HISTORY_DAMAGED, failed.refusal.key)
        val begin = "The saved chat cannot be read: it is not valid JSON (a key was expected at character 1). A new"
        assertTrue(failed.refusal.text, failed.refusal.text.startsWith(begin))
        assertTrue(failed.refusal.text, "${id.short}.damaged.json" in failed.refusal.text)
        assertEquals(listOf("${id.short}.damaged.json"), pathsBelow(history))
        opened()
    }

    @Test
    fun aCancelBeforeTheTurnBeginsIsNotLost() {
        val engine = opened()
        val hold = CountDownLatch(1)
        worker.execute { hold.await(10, TimeUnit.SECONDS) }
        worker.send(ChatEvent.Sent("Hi"))
        worker.send(ChatEvent.StopTapped)
        hold.countDown()
        val idle = await<ChatState.Idle>()
        assertEquals(said("Hi"), idle.chat.messages) // unanswered
        assertFalse("stream" in engine.calls)
    }

    @Test
    fun aCancelInTheMiddleKeepsWhatWasSaid() {
        val engine = opened()
        engine.onPiece = { if (it == 2) worker.send(ChatEvent.StopTapped) }
        worker.send(ChatEvent.Sent("Hi"))
        val idle = await<ChatState.Idle>()
        assertEquals(said("Hi", "Hel"), idle.chat.messages)
        engine.onPiece = {}
        worker.send(ChatEvent.Sent("On"))
        assertEquals(said("Hi", "Hel", "On", "Hello."), await<ChatState.Idle>().chat.messages)
    }

    @Test
    fun nothingIsHeardOfATurnAfterItsModelWasLetGo() {
        val engine = opened()
        val reached = CountDownLatch(1)
        val release = CountDownLatch(1)
        engine.onPiece = {
            if (it == 3) {
                reached.countDown()
                release.await(10, TimeUnit.SECONDS)
            }
        }
        timeS = 1.0
        worker.send(ChatEvent.Sent("Hi"))
        assertTrue(reached.await(10, TimeUnit.SECONDS))
        worker.send(ChatEvent.WentToBackground)
        val unloaded = await<ChatState.Unloaded>()
        release.countDown()
        worker.execute {}
        worker.close()
        assertEquals(UnloadReason.BACKGROUND, unloaded.reason)
        assertTrue(unloaded.chat.messages.last().content.isNotEmpty())
        assertEquals(emptyList<ChatState>(), states.filter { it !is ChatState.Empty })
        assertEquals("close", engine.calls.last())
    }

    @Test
    fun aModelThatCameBackRemembersTheChat() {
        opened()
        worker.send(ChatEvent.Sent("Hi"))
        await<ChatState.Idle>()
        worker.send(ChatEvent.MemoryLow)
        await<ChatState.Unloaded>()
        worker.send(ChatEvent.CameToForeground)
        val idle = await<ChatState.Idle>()
        assertEquals(said("Hi", "Hello."), idle.chat.messages)
        assertEquals(2, engines.size)
        assertTrue("prefill" in engines[1].calls)
    }

    @Test
    fun aMissingLibraryIsAFailedLoad() {
        make = { throw UnsatisfiedLinkError("no executorch in java.library.path") }
        worker.send(ChatEvent.PackageOpened(id))
        val refusal = await<ChatState.LoadFailed>().refusal
        assertEquals(SentenceKey.ENGINE_FAILED, refusal.key)
        assertTrue(refusal.text, "no executorch in java.library.path" in refusal.text)
    }

    @Test
    fun aPackageThatIsNotThereIsAFailedLoad() {
        worker.send(ChatEvent.PackageOpened(PackageId("cd".repeat(32))))
        assertEquals(SentenceKey.NOT_A_PACKAGE_FOLDER, await<ChatState.LoadFailed>().refusal.key)
    }

    @Test
    fun aFailedReplyLeavesTheQuestionUnanswered() {
        val engine = opened()
        engine.onPiece = { throw PocketError("the device is gone") }
        worker.send(ChatEvent.Sent("Hi"))
        val idle = await<ChatState.Idle>()
        assertEquals(said("Hi"), idle.chat.messages)
        assertEquals(Refusal(null, "The device is gone."), idle.chat.refusal)
    }

    @Test
    fun aTaskRunsWhenTheModelIsGone() {
        val engine = opened()
        val calls = LinkedBlockingQueue<List<String>>()
        worker.send(ChatEvent.PackageClosed)
        worker.execute { calls.put(engine.calls.toList()) }
        assertEquals("close", calls.poll(10, TimeUnit.SECONDS)?.last())
    }

    @Test
    fun anotherSystemTextBeginsTheModelAnew() {
        val engine = opened()
        worker.send(ChatEvent.SettingsChanged(settings.copy(system = "Rhyme.")))
        assertEquals(listOf(Message("system", "Rhyme.")), await<ChatState.Idle>().chat.messages)
        worker.send(ChatEvent.Sent("Hi"))
        await<ChatState.Idle>()
        assertTrue(engine.sent.last(), "Rhyme." in engine.sent.last())
    }

    @Test
    fun aSystemTextThatThePackageDoesNotTakeIsTold() {
        manifest = Manifests.endless
        settings = settings.copy(system = "Rhyme.")
        opened()
        assertEquals(emptyList<Message>(), chatOf(worker.state)?.messages) // the setting of other packages is left out
        worker.send(ChatEvent.SettingsChanged(settings))
        await<ChatState.Idle>()
        worker.send(ChatEvent.Sent("Hi"))
        val refusal = await<ChatState.Idle>().chat.refusal
        assertEquals(
            "This model takes no system message; leave it out or put it into the first question.",
            refusal?.text,
        )
    }

    @Test
    fun anEventAfterTheEndIsDropped() {
        opened()
        worker.close()
        worker.send(ChatEvent.PackageOpened(id))
        assertEquals(ChatState.Empty, worker.state)
    }

    @Test
    fun aNewChatRemovesTheSavedOne() {
        opened()
        worker.send(ChatEvent.Sent("Hi"))
        await<ChatState.Idle>()
        worker.send(ChatEvent.NewChatTapped)
        assertEquals(emptyList<Message>(), await<ChatState.Idle>().chat.messages)
        worker.flush()
        assertEquals(emptyList<String>(), pathsBelow(history))
    }

    @Test
    fun aReplyIsNeverLongerThanTheContext() {
        settings = settings.copy(budget = 1_000_000)
        val engine = opened()
        worker.send(ChatEvent.Sent("Hi"))
        await<ChatState.Idle>()
        assertTrue("${engine.wanted}", engine.wanted <= 64)
    }
}
