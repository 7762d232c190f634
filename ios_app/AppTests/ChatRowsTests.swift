import PocketCore
import XCTest

@testable import PocketLM

final class ChatRowsTests: XCTestCase {
    private let id = PackageId(String(repeating: "a", count: 64))

    private func chat(_ turns: Int, forgotten: Int = 0, system: String? = nil) -> Chat {
        var messages = system.map { [Message(role: "system", content: $0)] } ?? []
        for turn in 0..<turns {
            messages.append(Message(role: "user", content: "question \(turn)"))
            messages.append(Message(role: "assistant", content: "answer \(turn)"))
        }
        let mark = Mark(firstVisiblePosition: 0, firstVisibleTurn: forgotten, isPartial: false)
        return Chat(packageId: id, messages: messages, mark: mark)
    }

    private func texts(_ state: ChatState) -> [String] {
        chatRows(state).map { row in
            switch row.content {
            case .message(let message): "\(message.role): \(message.content)"
            case .reply(let text): "reply: \(text)"
            case .forgotten(let sentence): "--- \(sentence)"
            case .waiting: "waiting"
            }
        }
    }

    func testAChatWithoutAForgottenTurnHasNoLine() {
        XCTAssertEqual(texts(.idle(chat(1, system: "Be brief."))), ["user: question 0", "assistant: answer 0"])
    }

    func testTheLineStandsBeforeTheOldestTurnThatIsSeen() {
        let one = texts(.idle(chat(3, forgotten: 1)))
        XCTAssertEqual(one[2], "--- The model no longer sees the first turn above.")
        XCTAssertEqual(one[3], "user: question 1")
        let two = texts(.idle(chat(3, forgotten: 2, system: "Be brief.")))
        XCTAssertEqual(two[4], "--- The model no longer sees the first 2 turns above.")
        XCTAssertEqual(two[5], "user: question 2")
    }

    func testTheLineStandsLastWhenNothingIsSeen() {
        XCTAssertEqual(
            texts(.idle(chat(2, forgotten: 2))).last, "--- The model no longer sees the first 2 turns above.")
    }

    func testAReplyKeepsItsRowWhileItGrowsAndWhenItEnds() {
        let before = chat(1)
        let waiting = chatRows(.prefilling(before, userText: "question 1"))
        XCTAssertEqual(waiting.last?.content, .waiting)
        let growing = chatRows(.replying(before, userText: "question 1", soFar: "answer"))
        XCTAssertEqual(growing.last?.content, .reply("answer"))
        let ended = chatRows(.idle(chat(2)))
        XCTAssertEqual(waiting.map(\.id), growing.map(\.id))
        XCTAssertEqual(growing.map(\.id), ended.map(\.id))
    }

    func testRowsOfAllStatesHaveDifferentIds() {
        let rows = chatRows(.replying(chat(4, forgotten: 3), userText: "question", soFar: "text"))
        XCTAssertEqual(Set(rows.map(\.id)).count, rows.count)
    }

    func testWithoutAChatThereAreNoRows() {
        XCTAssertEqual(chatRows(.empty), [])
        XCTAssertEqual(chatRows(.loading(id)), [])
    }
}
