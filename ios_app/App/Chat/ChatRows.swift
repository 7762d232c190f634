// A chat's state as the rows of a list. Pure: it is tested without a screen.
import PocketCore

/// One row of a chat.
struct ChatRow: Identifiable, Equatable {
    enum Content: Equatable {
        case message(Message)
        /// The line above which the model sees nothing any more; the sentence for it.
        case forgotten(String)
        /// A reply that is still being written.
        case reply(String)
        /// The question is being read.
        case waiting
    }

    /// Keeps its value when a reply that was written becomes a message.
    let id: Int
    let content: Content
}

/// The rows of a state, oldest first. A system message is shown by the settings, not here.
func chatRows(_ state: ChatState) -> [ChatRow] {
    switch state {
    case .empty, .loading, .loadFailed:
        return []
    case .idle(let chat), .restoring(let chat), .unloaded(let chat, _):
        return said(chat)
    case .prefilling(let chat, let userText):
        return said(chat) + underWay(chat, userText, "")
    case .replying(let chat, let userText, let soFar), .cancelling(let chat, let userText, let soFar):
        return said(chat) + underWay(chat, userText, soFar)
    }
}

private func said(_ chat: Chat) -> [ChatRow] {
    let forgotten = chat.mark.firstVisibleTurn
    let line = ChatRow.Content.forgotten(
        forgotten == 1
            ? Sentences.text(.forgottenOne) : Sentences.text(.forgottenMany, ["count": String(forgotten)]))
    var rows: [ChatRow] = []
    var turn = 0
    for (index, message) in chat.messages.enumerated() where message.role != "system" {
        if message.role == "user" {
            if turn == forgotten, forgotten > 0 { rows.append(ChatRow(id: 2 * index + 1, content: line)) }
            turn += 1
        }
        rows.append(ChatRow(id: 2 * index, content: .message(message)))
    }
    if turn == forgotten, forgotten > 0 { rows.append(ChatRow(id: 2 * chat.messages.count + 1, content: line)) }
    return rows
}

private func underWay(_ chat: Chat, _ userText: String, _ soFar: String) -> [ChatRow] {
    let index = chat.messages.count
    return [
        ChatRow(id: 2 * index, content: .message(Message(role: "user", content: userText))),
        ChatRow(id: 2 * (index + 1), content: soFar.isEmpty ? .waiting : .reply(soFar)),
    ]
}
