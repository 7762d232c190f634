package ai.pocketlm.core

import ai.pocketlm.e2e.at
import ai.pocketlm.e2e.messagesOf
import ai.pocketlm.e2e.orNull
import ai.pocketlm.e2e.text
import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

/** Saved chats are read strictly and written whole. */
class HistoryTest {
    @get:Rule
    val temporary = TemporaryFolder()

    @Test
    fun savedChats() = Vectors.check("history") { case ->
        when (case.text("call")) {
            "from_json" -> checkRead(case)
            "load" -> {
                val file = temporary.newFile().apply { writeText(case.text("text")) }
                val sentence = sentenceOf { loadChat(file) }
                assertTrue(sentence, sentence != null && sentence.startsWith("$file is not valid JSON ("))
            }
            else -> {
                val file = File(temporary.newFolder(), "chat.json")
                saveChat(SavedChat(case.text("package_id"), messagesOf(case.at("messages"))), file)
                assertEquals(case.expected.at("text").text(), file.readText())
                assertEquals(listOf("chat.json"), pathsBelow(file.parentFile))
            }
        }
    }

    private fun checkRead(case: Case) {
        var chat: SavedChat? = null
        assertEquals(case.error, sentenceOf { chat = SavedChat.fromJson(case.at("data")) })
        val read = chat ?: return
        assertEquals(case.expected.at("package_id").text(), read.packageId)
        assertEquals(messagesOf(case.expected.at("messages")), read.messages)
        assertEquals(case.expected.at("unanswered").orNull()?.text(), read.unanswered)
        assertEquals(case.at("data"), read.toJson())
    }

    @Test
    fun aMissingFileAndAFolderAreNamed() {
        val missing = File(temporary.root, "none.json")
        assertEquals("$missing is missing; there is no saved chat of that name", sentenceOf { loadChat(missing) })
        val folder = temporary.newFolder()
        assertEquals("$folder is not a file; name one that the chat is saved in", sentenceOf { loadChat(folder) })
    }

    @Test
    fun halfASurrogatePairDoesNotLoseTheRest() {
        val file = File(temporary.root, "chat.json")
        saveChat(SavedChat("ab".repeat(32), listOf(Message("user", "a\ud83db"))), file)
        assertEquals(listOf(Message("user", "a\ufffdb")), loadChat(file).messages)
    }
}
